"""One cell from start to end, in a process of its own."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import psutil
import tensorflow as tf

from mlp_med.errors import DatasetError, StudyError, TrainingError
from mlp_med.imaging.lesion_tiles import count_lesions
from mlp_med.models.presets import preset_arguments
from mlp_med.models.residual import build_model
from mlp_med.pipelines.arrays import Examples
from mlp_med.pipelines.batches import distributed_training_batches, evaluation_batches
from mlp_med.pipelines.datasets import DatasetDescription, describe, octaves_to_coarsest
from mlp_med.pipelines.folds import load_splits
from mlp_med.pipelines.fractions import take_fraction
from mlp_med.pipelines.tile_labels import require_lesions
from mlp_med.studies.cell import Cell
from mlp_med.studies.cell_result import CellResult, curve_of, figures_of, predictions_of
from mlp_med.studies.minimum import Minimum
from mlp_med.studies.orders import Order, Progress, SendProgress
from mlp_med.studies.resume import open_checkpoints
from mlp_med.training.checkpoints import Checkpoints
from mlp_med.training.evaluation import Evaluation, evaluate_logits
from mlp_med.training.loop import fit
from mlp_med.training.memory import peak_gpu_memory_bytes, peak_memory_bytes, reset_peak_memory
from mlp_med.training.predict import make_scorer, probabilities
from mlp_med.training.strategy import from_all_workers, make_strategy
from mlp_med.training.threads import configure_threads
from mlp_med.training.tiles import BAG_RULE, POOLING_RULES, best_rule

# At most, and no more than twice a micro-batch: scoring must not need more memory than training.
EVALUATION_BATCH_SIZE = 64


def train(order: Order, send: SendProgress) -> CellResult:
    """Trains one cell: validation picks the weights, the scored split is read once, at the end.

    Of a cell that stops at a training loss the last weights are scored.

    Raises:
        DatasetError: the dataset is not there, or is not the one that the cell was planned on, or
            keeps no lesions that tiles could be labelled by.
        StudyError: tiles of a dataset of more than two classes.
        TrainingError: see `mlp_med.training.loop.fit`; or kind "indivisible_batch" where there are
            too many replicas for the batch, "unequal_checkpoints" where workers found not the same.
    """
    cell, began = order.cell, order.launched_at
    configure_threads(cell.intra_op_threads)
    keras.config.set_dtype_policy(cell.precision)
    strategy = make_strategy()  # before anything is read: a group of workers must meet first
    checkpoints = open_checkpoints(order, strategy)
    _require_agreement(cell, strategy, checkpoints)
    send(Progress(checkpoints.examples_seen))
    description = describe(cell.dataset, Path(order.data_dir))
    if cell.split > 1 and description.num_classes > 2:
        raise StudyError(
            f"tiles are pooled to one score an image, which {description.num_classes} classes do "
            f"not have; train {cell.dataset} whole, or build it for a task of two classes"
        )
    training, validation, scored = load_splits(
        cell.dataset, Path(order.data_dir), cell.resolution, cell.fold, scored=cell.scored_split
    )
    _require_planned_data(cell, scored)
    if cell.control == "permuted":
        training, validation = (_with_permuted_labels(cell, s) for s in (training, validation))
    training = take_fraction(
        training, cell.training_fraction, seed=cell.seed_for("training fraction")
    )
    labels_needed = _labels_needed(cell, training)
    peak_before = peak_memory_bytes()
    reset_peak_memory()
    base = psutil.Process().memory_info().rss
    with strategy.scope():
        model = build_model(
            spatial_dims=description.spatial_dims,
            num_channels=description.num_channels,
            num_classes=description.num_classes,
            num_extra_stages=_num_extra_stages(cell, description),
            norm=cell.norm,
            recompute=cell.recompute,
            stream_tile=cell.stream_tile,
            seed=cell.seed_for("initialisation"),
            **preset_arguments(cell.model),
        )
    score = make_scorer(model, split=cell.split)
    micro_batch_size = cell.global_batch_size // cell.accumulation_steps

    def logits_of(examples: Examples) -> np.ndarray:
        return score(
            evaluation_batches(
                examples,
                min(EVALUATION_BATCH_SIZE, 2 * micro_batch_size, len(examples)),
                resolution=cell.resolution,
                grid=cell.grid,
                description=description,
            )
        )

    batches = distributed_training_batches(
        strategy,
        training,
        global_batch_size=micro_batch_size,
        seed=cell.seed_for("order"),
        start=checkpoints.examples_seen,
        budget_examples=cell.budget_examples,
        resolution=cell.resolution,
        grid=cell.grid,
        description=description,
        augment=cell.augment,
        tile_split=cell.split if cell.tile_labels == "lesion" else 0,
    )
    minimum = None
    if cell.stop_at_training_loss:
        stages = _num_extra_stages(cell, description)
        minimum = Minimum(cell, model, stages, training, description)
        checkpoints.carry(minimum)
    seconds_startup = time.time() - began
    history = fit(
        model,
        strategy,
        batches,
        lambda: _evaluate(cell, logits_of(validation), validation.labels),
        budget_examples=cell.budget_examples,
        global_batch_size=cell.global_batch_size,
        learning_rate=cell.learning_rate,
        num_evaluations=cell.num_evaluations,
        accumulation_steps=cell.accumulation_steps,
        moment_window_batch=cell.moment_window_batch,
        should_stop=_stops(cell, minimum, strategy) if minimum else None,
        split=cell.split,
        tile_labels=cell.tile_labels,
        on_progress=lambda examples_seen, auc: send(Progress(examples_seen)),
        checkpoints=checkpoints,
    )
    # Of the weights that validated best, which the model now has.
    rule = _pooling_rule(cell, logits_of(validation), validation.labels) if cell.split > 1 else ""
    logits = _of_images(logits_of(scored), rule)
    metrics = {
        f"{cell.scored_split}_auc": evaluate_logits(logits, scored.labels).auc,
        "num_parameters": float(model.count_params()),
        "seconds_total": time.time() - began + checkpoints.seconds_before,
        "seconds_startup": seconds_startup,
        "base_memory_bytes": float(base),
        "peak_memory_bytes": float(max(peak_before, peak_memory_bytes())),
        "peak_memory_above_base_bytes": float(peak_memory_bytes() - base),
        **labels_needed,
        **figures_of(history),
        **checkpoints.figures(),
    }
    if order.restarts:
        metrics["worker_restarts"] = float(order.restarts)
    if rule:
        metrics[f"pooled_by_{rule}"] = 1.0
    if (gpu := peak_gpu_memory_bytes()) is not None:
        metrics["peak_gpu_memory_bytes"] = float(gpu)
    curve = curve_of(history)
    if minimum is not None:
        metrics |= minimum.figures()
        seen = [point.examples_seen for point in history.validation]
        curve = curve.merge(minimum.curve(seen), on="examples_seen", how="outer")
    predictions = predictions_of(cell, scored, probabilities(logits))
    return CellResult(predictions, curve, metrics, checkpoints.words())


def _require_agreement(
    cell: Cell, strategy: tf.distribute.Strategy, checkpoints: Checkpoints
) -> None:
    """All replicas take equal shares of every batch, and all workers as many steps."""
    num_replicas = strategy.num_replicas_in_sync
    micro_batch_size = cell.global_batch_size // cell.accumulation_steps
    if micro_batch_size % num_replicas:
        raise TrainingError(
            "indivisible_batch",
            f"expected batches that {num_replicas} replicas can share evenly, got "
            f"{micro_batch_size} examples at once; hide devices (CUDA_VISIBLE_DEVICES) or take "
            "another batch",
        )
    if cell.num_workers == 1:
        return
    starts = sorted(set(from_all_workers(strategy, checkpoints.examples_seen).tolist()))
    if len(starts) > 1:
        raise TrainingError(
            "unequal_checkpoints",
            f"expected all workers to go on from the same checkpoint, got {starts} examples seen; "
            f"{checkpoints.path} must be one file that every worker sees",
        )


def _stops(cell: Cell, minimum: Minimum, strategy: tf.distribute.Strategy) -> Callable[[], bool]:
    """Whether training ends; workers of unlike processors may differ in the last digit."""
    if cell.num_workers == 1:
        return minimum.is_reached
    return lambda: bool(from_all_workers(strategy, int(minimum.is_reached())).any())


def _evaluate(cell: Cell, logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    rule = _pooling_rule(cell, logits, labels) if cell.split > 1 else ""
    return evaluate_logits(_of_images(logits, rule), labels)


def _pooling_rule(cell: Cell, logits: np.ndarray, labels: np.ndarray) -> str:
    """How tiles' logits [num_images, tiles] become the image's: as trained, else what fits best."""
    return BAG_RULE if cell.tile_labels == "bag" else best_rule(logits, labels)


def _of_images(logits: np.ndarray, rule: str) -> np.ndarray:
    """One logit an image; without a rule they are that already."""
    return POOLING_RULES[rule](logits) if rule else logits


def _labels_needed(cell: Cell, training: Examples) -> dict[str, float]:
    """What someone has to label for this cell: every training image, and each lesion to draw."""
    needed = {"num_image_labels": float(len(training)), "num_drawn_lesions": 0.0}
    if cell.tile_labels == "lesion":
        lesions = require_lesions(training, cell.dataset)
        needed["num_drawn_lesions"] = float(count_lesions(lesions))
    return needed


def _require_planned_data(cell: Cell, test: Examples) -> None:
    if test.digest != cell.dataset_digest:
        raise DatasetError(
            f"expected {cell.dataset} with digest {cell.dataset_digest}, as the cell was planned, "
            f"got {test.digest}; the dataset was built again from other scans or with other code"
        )


def _with_permuted_labels(cell: Cell, examples: Examples) -> Examples:
    """Each split's own labels in another order, so that the share of positives stays."""
    rng = np.random.default_rng(cell.seed_for("permutation"))
    return replace(examples, labels=rng.permutation(examples.labels))


def _num_extra_stages(cell: Cell, description: DatasetDescription) -> int:
    """Stages that keep the receptive field in mm when the grid is finer than the coarsest."""
    return 0 if cell.depth == "fixed" else octaves_to_coarsest(description, cell.grid)
