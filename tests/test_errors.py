import pickle

import pytest

from mlp_med import errors


def subclasses(of):
    return [of, *(deeper for direct in of.__subclasses__() for deeper in subclasses(direct))]


@pytest.mark.parametrize("error", subclasses(errors.MlpMedError))
def test_every_error_crosses_a_process_border(error):
    words = ("kind", "message") if error is errors.TrainingError else ("message",)
    sent = error(*words)
    arrived = pickle.loads(pickle.dumps(sent))
    assert (type(arrived), str(arrived), vars(arrived)) == (error, "message", vars(sent))
