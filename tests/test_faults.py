"""The table of faults, made by a pytest of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import FAULTS, fault

TESTS = """
import pytest
from tests.faults import fault

def of(name):
    return fault(name, sees="a message", lost="nothing", goes_on="the same command")

@of("SIGKILL of a cell")
def test_a(): pass

@of("SIGKILL of a cell")
@pytest.mark.parametrize("x", [1, 2])
def test_b(x): pass

@of("disk full at logging")
def test_c(): assert False

@of("corrupted checkpoint")
def test_d(): pytest.skip("no disk")

@of("SIGKILL of a sweep")
@pytest.mark.skip(reason="no")
def test_e(): pass

@pytest.fixture
def broken(): raise OSError

@of("clock going backwards")
def test_f(broken): pass

def test_of_no_fault(): assert False
"""


def make_table(tmp_path, tests, *options):
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = fault\n")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "fault", *options]
    command += ["-p", "no:cacheprovider", "--fault-table", "table.md", "test_it.py"]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    lines = (tmp_path / "table.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {row[0]: row[1:] for row in rows}, done


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_table_has_every_fault_with_what_its_tests_came_to(tmp_path, options):
    table, done = make_table(tmp_path, TESTS, *options)
    assert list(table) == list(FAULTS)
    said = ["a message", "nothing", "the same command"]
    assert table["SIGKILL of a cell"] == [*said, "3", "passed"]
    assert table["disk full at logging"] == [*said, "1", "FAILED"]
    assert table["corrupted checkpoint"] == [*said, "1", "skipped"]
    assert table["SIGKILL of a sweep"] == [*said, "1", "skipped"]
    assert table["clock going backwards"] == [*said, "1", "FAILED"]
    assert table["SIGKILL of a worker"] == ["", "", "", "0", "no test"]
    assert done.returncode == 1
    assert "no test injects:" in done.stdout


def test_a_fault_that_no_test_injects_fails_the_run(tmp_path):
    one = "\n".join(TESTS.split("\n")[:9])
    table, done = make_table(tmp_path, one)
    assert table["SIGKILL of a cell"][-1] == "passed"
    assert "1 passed" in done.stdout
    assert done.returncode == 1


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        fault("SIGKILL of the user", sees="", lost="", goes_on="")
