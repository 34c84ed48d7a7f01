"""Adam through TensorFlow's fused kernel, one operation a variable.

Keras' own Adam is a dozen operations a variable: at 8³ voxels they cost more than the network, and
they make up half the time in which a step is traced.
"""

from collections.abc import Sequence

import tensorflow as tf

from mlp_med.training.schedule import WarmupCosine

BETA_1, BETA_2 = 0.9, 0.999


class Adam(tf.Module):
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019).

    Must be made under the scope of the strategy that the variables were made under.

    Args:
        variables: to be trained, float32.
        schedule: learning rate of each step.
        weight_decay: taken off the kernels (variables of two axes and more) at every step, as a
            fraction that is scaled by the learning rate.
        window_scale: the decay rates 0.9 and 0.999 are raised to it. Of a batch that is x times
            another, x makes the moments average over as many examples as at the other. To first
            order these are the rates of Malladi et al. 2022 (arXiv:2205.10287), where the learning
            rate goes with √x.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        schedule: WarmupCosine,
        weight_decay: float = 0.0,
        window_scale: float = 1.0,
    ):
        super().__init__(name="adam")
        self.variables_trained = list(variables)
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.beta_1, self.beta_2 = BETA_1**window_scale, BETA_2**window_scale
        self.epsilon = 1e-7
        self.first_moments = [_zeros_beside(variable) for variable in variables]
        self.second_moments = [_zeros_beside(variable) for variable in variables]
        self.step = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    @property
    def state(self) -> list[tf.Variable]:
        """Everything that the next step depends on beside the variables themselves."""
        return [*self.first_moments, *self.second_moments, self.step]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Takes one step; called by every replica with its part of the gradients' sum."""
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
        context.merge_call(self._update, args=(summed,))
        self.step.assign_add(1)

    def _update(self, strategy: tf.distribute.Strategy, gradients: Sequence[tf.Tensor]) -> None:
        done = tf.convert_to_tensor(self.step)
        taken = tf.cast(done + 1, tf.float32)
        scalars = (
            self.schedule(done),
            tf.pow(self.beta_1, taken),
            tf.pow(self.beta_2, taken),
        )
        slots = zip(self.first_moments, self.second_moments, strict=True)
        for variable, moments, gradient in zip(
            self.variables_trained, slots, gradients, strict=True
        ):
            strategy.extended.update(
                variable, self._update_one, args=(*moments, gradient, *scalars), group=False
            )

    def _update_one(
        self,
        variable: tf.Variable,
        first_moment: tf.Variable,
        second_moment: tf.Variable,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
        beta_1_power: tf.Tensor,
        beta_2_power: tf.Tensor,
    ) -> None:
        if self.weight_decay and variable.shape.rank > 1:
            variable.assign_sub(variable * (learning_rate * self.weight_decay))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=first_moment.handle,
            v=second_moment.handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


def _zeros_beside(variable: tf.Variable) -> tf.Variable:
    """A variable of zeros of the same shape, on the same devices."""
    strategy = tf.distribute.get_strategy()
    with strategy.extended.colocate_vars_with(variable):
        return tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
