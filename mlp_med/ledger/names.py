"""What the runs are made of: the names of tags and artifacts, and the states of a cell."""

from typing import Literal

State = Literal["planned", "running", "done", "failed", "infeasible"]

TAG_PREFIX = "mlp_med."
KIND = TAG_PREFIX + "kind"
STUDY = TAG_PREFIX + "study"
STUDY_HASH = TAG_PREFIX + "study_hash"
LAST_STARTED = TAG_PREFIX + "last_started"
STATE = TAG_PREFIX + "state"
CELL_HASH = TAG_PREFIX + "cell_hash"
CELL_PARAMS = TAG_PREFIX + "cell_params"  # JSON: MLflow's own params are text
CELL_START = TAG_PREFIX + "cell_start"  # names one start of a cell, so that none is told twice
ARM = TAG_PREFIX + "arm"
HOLDER = TAG_PREFIX + "holder"  # the sweep that runs the cell
LEASE = TAG_PREFIX + "lease"  # its number among the cell's leases
HOLDER_PREFIX = TAG_PREFIX + "holder."
LEASES_RUN = "leases_run"
FAILURE_KIND = TAG_PREFIX + "failure_kind"
FAILURE_MESSAGE = TAG_PREFIX + "failure_message"
PREDICTIONS_DIGEST = TAG_PREFIX + "predictions_sha256"

# Names that MLflow itself gives a meaning to.
PARENT_RUN = "mlflow.parentRunId"
GIT_COMMIT = "mlflow.source.git.commit"
NOTE = "mlflow.note.content"
EXPERIMENT_KIND = "mlflow.experimentKind"
DATASET_CONTEXT = "mlflow.data.context"

PLAN_ARTIFACT = "study.json"
PREDICTIONS_ARTIFACT = "predictions.parquet"
CROPS_ARTIFACT = "crops.png"
REPORT_DIRECTORY = "report"

# Params that people sort and plot by are logged as metrics too: MLflow sorts params as text.
AXES = ("resolution", "grid", "global_batch_size", "learning_rate", "budget_examples", "seed")
