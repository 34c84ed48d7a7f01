"""`make audit` where pip-audit finds something, finds nothing, and where nobody answers it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / "requirements" / "audit.py"
SOUND = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([SOUND], 0, "1 packages looked up, 0 vulnerable"),
        ([SOUND, VULNERABLE], 1, "b 2: CVE-1, fixed: 3"),
        ([SOUND, SKIPPED], 3, "NOT AUDITED: 1 of 2 packages, the first c"),
        ([VULNERABLE, SKIPPED], 1, "NOT AUDITED"),
        ([], 3, "0 packages looked up"),
        (None, 3, "NOT AUDITED: no route to the service"),
    ],
)
def test_the_exit_code_says_whether_all_was_looked_up(packages, code, told, tmp_path):
    """pip-audit itself ends with 0 where its service knows none of the packages."""
    answer = tmp_path / "answer.json"
    answer.write_text("" if packages is None else json.dumps({"dependencies": packages}))
    stub = tmp_path / "bin" / "pip-audit"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\ncat {answer}\necho no route to the service >&2\n")
    stub.chmod(0o755)
    python = stub.with_name("python")  # whose neighbour the stub is
    code_of = "import sys, runpy; sys.executable = sys.argv[1]; sys.argv = sys.argv[2:]; "
    code_of += "runpy.run_path(sys.argv[0], run_name='__main__')"
    ended = subprocess.run(
        [sys.executable, "-c", code_of, str(python), str(AUDIT), "study.txt"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert told in ended.stdout
    assert ended.returncode == code
