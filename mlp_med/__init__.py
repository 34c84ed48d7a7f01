"""What image resolution, batch size and splitting are worth in medical deep learning."""

import os

# Before TensorFlow is imported anywhere: without AVX-512 it leaves its fast convolutions switched
# off unless told otherwise (a 3D step then takes four times as long), and rounding depends on it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
