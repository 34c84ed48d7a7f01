"""What has to run before what, in a graph of TensorFlow's."""

import tensorflow as tf


def ancestors(operation: tf.Operation) -> set[tf.Operation]:
    """Every operation whose output or end `operation` waits for, however far back."""
    found, waiting = set(), [operation]
    while waiting:
        latest = waiting.pop()
        before = {*(tensor.op for tensor in latest.inputs), *latest.control_inputs} - found
        found |= before
        waiting += before
    return found
