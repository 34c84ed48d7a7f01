import subprocess
import sys


def test_a_study_is_found_and_reported_without_the_seconds_that_tensorflow_takes_to_import():
    code = "import experiments, sys; print({'tensorflow', 'keras'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
