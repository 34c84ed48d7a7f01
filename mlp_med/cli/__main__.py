"""`python -m mlp_med.cli` is `mlp-med`."""

from mlp_med.cli import main

main()
