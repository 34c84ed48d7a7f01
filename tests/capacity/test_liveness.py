import keras
import pytest

from mlp_med.capacity.liveness import forward_peak, training_peak
from mlp_med.capacity.network import layer_calls
from mlp_med.errors import CapacityError
from mlp_med.models.normalization import FusedBatchNormalization, NoNormalization
from mlp_med.models.pooled_normalization import PooledNormalization
from mlp_med.models.recomputation import RecomputedConvolutions
from mlp_med.models.residual import build_model

VALUE = 4  # bytes of a float32
IMAGE = 8 * 8 * VALUE


def chain(*layers, channels=1):
    inputs = x = keras.Input((None, None, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def convolution(width=1):
    return keras.layers.Conv2D(width, 3, padding="same", use_bias=False)


def calls(model, batch=1, channels=1):
    return layer_calls(model, (batch, 8, 8, channels))


def test_shapes_are_those_that_the_network_makes():
    model = chain(convolution(3), keras.layers.MaxPooling2D(2, padding="same"))
    shapes = [call.output.shape for call in layer_calls(model, (2, 7, 5, 1))]
    assert shapes == [tuple(model.layers[1](keras.ops.zeros((2, 7, 5, 1))).shape), (2, 4, 3, 3)]


def test_a_convolution_keeps_its_input_and_a_norm_both():
    # input of the convolution, its output (the norm's input), the norm's output
    peak = training_peak(calls(chain(convolution(), FusedBatchNormalization())))
    assert peak.kept_bytes == 3 * IMAGE


def test_what_two_layers_keep_is_kept_once():
    # the norm's output is the next convolution's input
    model = chain(convolution(), FusedBatchNormalization(), convolution())
    assert training_peak(calls(model)).kept_bytes == 3 * IMAGE


def test_a_rectifier_needs_its_output_alone():
    # The convolution's input, and the rectifier's output; what lies between is given back.
    assert training_peak(calls(chain(convolution(), NoNormalization()))).kept_bytes == 2 * IMAGE


def test_a_sum_keeps_nothing_and_passes_its_gradient_on():
    inputs = keras.Input((None, None, 1))
    x = convolution()(inputs)
    branch = convolution()(x)
    model = keras.Model(inputs, keras.layers.Add()([x, branch]))
    peak = training_peak(calls(model))
    assert peak.kept_bytes == 2 * IMAGE  # the inputs of both convolutions
    # the sum's gradient is both terms'; beside it the branch's own, before they are added up
    assert peak.num_bytes == 4 * IMAGE


def test_gradients_of_weights_wait_where_one_gradient_goes_to_two_convolutions():
    def network(joined):
        inputs = keras.Input((None, None, 1))
        x = FusedBatchNormalization(relu=False)(convolution()(inputs))
        first, second = convolution()(x), convolution()(x)
        x = keras.layers.Add()([first, second]) if joined else second
        return training_peak(calls(keras.Model(inputs, x)))

    # Kept: the inputs of the first convolution, of the norm, and of the two. At the norm there are
    # its upstream gradient and its own; and where two wait, what both of them came from.
    alone, two = network(False), network(True)
    assert alone.kept_bytes == two.kept_bytes == 3 * IMAGE
    assert alone.num_bytes == 5 * IMAGE
    assert two.num_bytes == 6 * IMAGE


def test_the_gradient_of_a_rectifier_is_written_over_what_came_in():
    model = chain(convolution(), NoNormalization(), convolution())
    # The inputs of both convolutions, and the gradient that goes back from the second.
    assert training_peak(calls(model)).num_bytes == 4 * IMAGE


def test_what_is_computed_again_is_not_kept_but_there_while_it_is_needed():
    plain = chain(convolution(), FusedBatchNormalization(), convolution())
    inputs = keras.Input((None, None, 1))
    x = convolution()(inputs)
    (y,) = RecomputedConvolutions(FusedBatchNormalization(), [convolution()])(x)
    again = keras.Model(inputs, y)
    kept, recomputed = (training_peak(calls(model)) for model in (plain, again))
    assert kept.kept_bytes - recomputed.kept_bytes == IMAGE
    assert recomputed.num_bytes == kept.num_bytes  # of so short a network


@pytest.mark.parametrize("recompute", [False, True])
def test_a_normalised_tensor_that_is_pooled_is_not_kept(recompute):
    inputs = keras.Input((None, None, 1))
    x = convolution()(inputs)
    pool = keras.layers.MaxPooling2D(2, padding="same")
    norm = PooledNormalization(FusedBatchNormalization(relu=False), pool)
    if recompute:
        (y,) = RecomputedConvolutions(norm, [convolution()])(x)
    else:
        y = convolution()(norm(x))
    peak = training_peak(calls(keras.Model(inputs, y)))
    # The inputs of the first convolution and of the norm; that of the second, unless made again.
    assert peak.kept_bytes == 2 * IMAGE + (0 if recompute else IMAGE // 4)
    # At the norm's gradient: these two, what came back through the pooling, and the norm's own.
    assert peak.num_bytes == 4 * IMAGE


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_network_that_recomputes_has_the_same_tensors(norm):
    arguments = {"spatial_dims": 2, "num_channels": 1, "widths": (4, 6), "norm": norm}
    found = {}
    for recompute in (False, True):
        model = build_model(**arguments, recompute=recompute)
        found[recompute] = layer_calls(model, (2, 16, 16, 1))
    shapes = {flag: sorted(call.output.shape for call in made) for flag, made in found.items()}
    assert shapes[True] == shapes[False]
    peaks = {flag: training_peak(made) for flag, made in found.items()}
    assert peaks[True].kept_bytes < peaks[False].kept_bytes
    assert forward_peak(found[True]) == forward_peak(found[False])


def test_a_norm_without_relu_keeps_its_input_alone():
    model = chain(convolution(), FusedBatchNormalization(relu=False))
    assert training_peak(calls(model)).kept_bytes == 2 * IMAGE


def test_what_does_nothing_takes_nothing():
    model = chain(convolution(), NoNormalization(relu=False), convolution())
    assert training_peak(calls(model)).kept_bytes == 2 * IMAGE


def test_predicting_keeps_nothing():
    deep = chain(*(convolution() for _ in range(6)))
    assert forward_peak(calls(deep)) == 2 * IMAGE
    assert training_peak(calls(deep)).kept_bytes == 6 * IMAGE


def test_an_unknown_layer_is_named_and_not_guessed_at():
    with pytest.raises(CapacityError, match=r"Softmax.*footprints\.py"):
        training_peak(calls(chain(convolution(), keras.layers.Softmax())))
