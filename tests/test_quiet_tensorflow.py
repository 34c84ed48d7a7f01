import os
import subprocess
import sys

import pytest


def run(code):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_tensorflow_is_imported_late_and_without_a_word():
    done = run(
        "import sys, mlp_med.quiet_tensorflow, tensorflow_datasets as tfds\n"
        "print('tensorflow' in sys.modules)\n"
        "tfds.as_numpy({})  # which imports it by a way of its own\n"
        "print('tensorflow' in sys.modules)\n"
    )
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


def test_what_is_no_notice_passes_even_where_the_import_fails():
    code = (
        "from mlp_med.quiet_tensorflow import without_notices\n"
        "import os\n"
        "with without_notices():\n"
        "    os.write(2, b'I0000 00:00 port.cc: a notice\\nW0000 a warning\\n')\n"
        "    raise SystemExit('no such library')\n"
    )
    assert run(code).stderr == "W0000 a warning\nno such library\n"


@pytest.mark.parametrize("first", ["tensorflow", "keras"])
def test_what_nobody_asked_for_is_not_imported_and_can_be_afterwards(first):
    done = run(
        f"import sys, mlp_med.quiet_tensorflow, {first}, tensorflow, keras\n"
        "print([name for name in ('matplotlib', 'sklearn') if name in sys.modules])\n"
        "import matplotlib.pyplot, sklearn.metrics\n"
        "print(matplotlib.pyplot.figure, sklearn.metrics.roc_auc_score)\n"
    )
    assert done.stdout.startswith("[]\n<function figure"), done.stderr


def test_what_was_imported_before_stays_as_it_was():
    done = run(
        "import sys, mlp_med.quiet_tensorflow, sklearn\n"
        "before = sklearn\n"
        "import tensorflow\n"
        "print(sys.modules['sklearn'] is before, 'matplotlib' in sys.modules)\n"
    )
    assert done.stdout == "True False\n", done.stderr
