"""Networks and layers: residual CNNs in 2D and 3D that take any grid with the same weights."""
