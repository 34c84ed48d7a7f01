"""The only truth: what was planned, what ran and what came of it, kept by MLflow.

`store` opens the tracking store, `write` puts a study and its cells into it, `read` gets them back.
Nothing here knows what a cell means: a cell is a mapping of params, named by its hash.
"""
