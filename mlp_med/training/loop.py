"""The one training loop: `strategy.run` in a `tf.function`, for any number of replicas.

The batches are whatever the strategy hands out: for one device a tf.data.Dataset, for several the
result of `strategy.distribute_datasets_from_function`, whose elements are per-replica batches of
(image float32 [batch, *grid, channels], label float32 [batch], weight float32 [batch]). Together
they make up the global batch, over which the loss is the mean.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import keras
import tensorflow as tf

from mlp_med.errors import TrainingError
from mlp_med.training.allocator import keep_freed_memory
from mlp_med.training.checkpoints import Checkpoints, TrainingState
from mlp_med.training.evaluation import Evaluation
from mlp_med.training.history import History, LossPoint, ValidationPoint
from mlp_med.training.step import compile_training_steps
from mlp_med.training.tiles import TileLabels

Batches = Iterable[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


Progress = Callable[[int, float | None], None]


def fit(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    training_batches: Batches,
    evaluate: Callable[[], Evaluation],
    *,
    budget_examples: int,
    global_batch_size: int,
    learning_rate: float,
    num_evaluations: int,
    weight_decay: float = 0.0,
    warmup_fraction: float = 0.05,
    accumulation_steps: int = 1,
    moment_window_batch: int = 0,
    split: int = 1,
    tile_labels: TileLabels = "image",
    steps_per_call: int = 8,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
) -> History:
    """Trains `model` on the budget and leaves it with the weights that validated best.

    With `should_stop` it is left with its last weights instead, since these are what was asked for.

    Args:
        model: built under `strategy.scope()`; from images to logits [batch, 1] or [batch, classes].
        strategy: decides devices and replicas.
        training_batches: at least the budget's worth of batches; see the module's docstring. With
            accumulation each element is a micro-batch: global_batch_size / accumulation_steps
            examples over all replicas. Where a checkpoint was found they begin with the example
            after it.
        evaluate: scores the validation split with the model as it is. On several workers every
            worker evaluates, and must come to the same figures.
        budget_examples: training examples to see; a multiple of the global batch size.
        global_batch_size: examples in one optimiser step, over all replicas.
        learning_rate: peak of the warm-up and cosine schedule of Adam.
        num_evaluations: how often to evaluate, evenly spaced, the last at the end.
        weight_decay: decoupled (AdamW, Loshchilov & Hutter 2019), on convolution and dense kernels.
        warmup_fraction: of the budget, spent raising the learning rate.
        accumulation_steps: micro-batches whose gradients are summed before one optimiser step.
        moment_window_batch: global batch at which Adam's usual decay rates hold, so that its
            moments average over as many examples as they would there; 0 for the usual rates.
        split: tiles along each axis that an image is trained as, one after the other; 1 for the
            whole image.
        tile_labels: what a tile's label is (`mlp_med.training.tiles`).
        steps_per_call: optimiser steps between two looks at the loss.
        should_stop: asked after each evaluation; True ends the training before its budget.
        on_progress: called with the examples seen and, after an evaluation, the validation AUC.
        checkpoints: where the run begins, if one was found, and where it is kept on the way.

    Returns:
        Curves and times. The best point is that of highest validation AUC, the earliest of equals.

    Raises:
        ValueError: budget, batch or counts do not fit together.
        TrainingError: kind "non_finite_loss" when the loss becomes NaN or infinite, "out_of_data"
            when the batches end before the budget, "no_validation_auc" when it was always NaN.
    """
    num_steps = _num_steps(budget_examples, global_batch_size, num_evaluations, accumulation_steps)
    if steps_per_call < 1:
        raise ValueError(f"expected at least one step a call, got {steps_per_call}")
    iterator = iter(training_batches)
    keep_freed_memory()  # after the iterator, which sets the contrary
    began = time.perf_counter()
    run_steps = compile_training_steps(
        model,
        strategy,
        iterator,
        num_steps=num_steps,
        global_batch_size=global_batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_fraction=warmup_fraction,
        accumulation_steps=accumulation_steps,
        moment_window_batch=moment_window_batch,
        split=split,
        tile_labels=tile_labels,
    )
    state = TrainingState(model, run_steps.optimizer_variables)
    if checkpoints is not None:
        checkpoints.restore(state)
    history = state.history
    history.seconds_tracing += time.perf_counter() - began
    done = history.examples_seen // global_batch_size
    for step, count, is_evaluation in _calls(done, num_steps, num_evaluations, steps_per_call):
        began = time.perf_counter()
        loss = _run(run_steps, count, seen=step * global_batch_size)
        history.seconds_training += time.perf_counter() - began
        history.examples_seen = (step + count) * global_batch_size
        history.training.append(LossPoint(history.examples_seen, loss))
        _require_finite(loss, "training", history.examples_seen, learning_rate)
        auc = None
        if is_evaluation:
            point = _evaluate(evaluate, history)
            _require_finite(point.loss, "validation", history.examples_seen, learning_rate)
            if point.auc > (history.best.auc if history.best else -math.inf):
                history.best = point
                state.best_weights = model.get_weights()
            auc = point.auc
        if on_progress is not None:
            on_progress(history.examples_seen, auc)
        if is_evaluation and should_stop is not None and _timed(should_stop, history):
            break
        if checkpoints is not None and history.examples_seen < budget_examples:
            checkpoints.save_if_due(state)
    if history.best is None:
        raise TrainingError(
            "no_validation_auc",
            "expected a validation AUC, got NaN every time; the validation split holds one class",
        )
    if should_stop is None:
        model.set_weights(state.best_weights)
    return history


def _num_steps(
    budget_examples: int, global_batch_size: int, num_evaluations: int, accumulation_steps: int
) -> int:
    if global_batch_size < 1 or budget_examples < 1 or budget_examples % global_batch_size:
        raise ValueError(
            "expected a budget that is a positive multiple of the global batch size, got "
            f"{budget_examples} examples in batches of {global_batch_size}"
        )
    num_steps = budget_examples // global_batch_size
    if not 1 <= num_evaluations <= num_steps:
        raise ValueError(
            f"expected between 1 and {num_steps} evaluations, as many as there are steps, got "
            f"{num_evaluations}"
        )
    if accumulation_steps < 1 or global_batch_size % accumulation_steps:
        raise ValueError(
            f"expected accumulation steps that divide the global batch size {global_batch_size}, "
            f"got {accumulation_steps}"
        )
    return num_steps


def _calls(
    done: int, num_steps: int, num_evaluations: int, steps_per_call: int
) -> Iterator[tuple[int, int, bool]]:
    """(steps done before, steps to do, whether to evaluate after) for each call into the graph.

    The same calls follow whether `done` is 0 or where a former run was between two of them.
    """
    for index in range(1, num_evaluations + 1):
        end = round(index * num_steps / num_evaluations)
        while done < end:
            count = min(steps_per_call, end - done)
            yield done, count, done + count == end
            done += count


def _run(run_steps: Callable[[int], float], count: int, seen: int) -> float:
    try:
        return run_steps(count)
    except tf.errors.OutOfRangeError as error:
        raise TrainingError(
            "out_of_data",
            f"expected batches for the whole budget, but they ended between {seen} examples and "
            "the next look; give training_batches the same budget_examples as fit",
        ) from error


def _timed(should_stop: Callable[[], bool], history: History) -> bool:
    began = time.perf_counter()
    stop = should_stop()
    history.seconds_evaluation += time.perf_counter() - began
    return stop


def _evaluate(evaluate: Callable[[], Evaluation], history: History) -> ValidationPoint:
    began = time.perf_counter()
    result = evaluate()
    history.seconds_evaluation += time.perf_counter() - began
    point = ValidationPoint(
        history.examples_seen, history.seconds_training, result.auc, result.loss
    )
    history.validation.append(point)
    return point


def _require_finite(loss: float, kind: str, examples_seen: int, learning_rate: float) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            "non_finite_loss",
            f"the {kind} loss was {loss} when {examples_seen} examples had been seen; expected a "
            f"finite number; try a learning rate below {learning_rate:g} or look for non-finite "
            "voxels",
        )
