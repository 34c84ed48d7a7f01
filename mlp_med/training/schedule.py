"""Learning rate over the budget."""

import math
from typing import Any

import keras
import tensorflow as tf


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to the peak, then half a cosine down to zero (Loshchilov & Hutter 2017).

    Args:
        peak: the highest learning rate.
        num_steps: optimiser steps in the whole budget.
        warmup_fraction: of the steps, spent on the way up.
    """

    def __init__(self, peak: float, num_steps: int, warmup_fraction: float = 0.05):
        self.peak = peak
        self.num_steps = num_steps
        self.warmup_fraction = warmup_fraction

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate of optimiser step `step`, counted from 0."""
        # The first step counts as one taken, or it would be wasted on a rate of zero.
        done = tf.cast(step, tf.float32) + 1.0
        warmup = max(1.0, self.warmup_fraction * self.num_steps)
        down = tf.clip_by_value((done - warmup) / max(1.0, self.num_steps - warmup), 0.0, 1.0)
        cosine = 0.5 * (1.0 + tf.cos(math.pi * down))
        return self.peak * tf.minimum(done / warmup, cosine)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "peak": self.peak,
            "num_steps": self.num_steps,
            "warmup_fraction": self.warmup_fraction,
        }
