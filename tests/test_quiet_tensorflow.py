import os
import subprocess
import sys


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
