import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_med.studies.launchers.dry_run import dry_run_lines, schedule
from mlp_med.studies.room import Machine, Needs
from tests.studies.sweep_work import study_of

GB = 10**9


@pytest.fixture
def cells(make_cell):
    return [make_cell(seed=seed) for seed in range(12)]


def test_cells_follow_one_another_where_there_is_room(cells):
    first, second, third = cells[:3]
    needs = dict.fromkeys(cells, Needs(1, GB))
    seconds = {first: 100.0, second: 10.0, third: 10.0}
    placed = schedule([first, second, third], needs, seconds, [Machine("m", 2, 9 * GB)])
    assert [(each.cell.seed, each.starts, each.ends) for each in placed] == [
        (0, 0, 100),
        (1, 0, 10),
        (2, 10, 20),
    ]
    placed = schedule([first, second, third], needs, seconds, [Machine("m", 2, GB)])
    assert [each.starts for each in placed] == [0, 100, 110]  # memory for one


def test_two_machines_are_both_used(cells):
    machines = [Machine(name, 1, 9 * GB, key=name) for name in "ab"]
    placed = schedule(
        cells, dict.fromkeys(cells, Needs(1, GB)), dict.fromkeys(cells, 60.0), machines
    )
    assert [each.machine.name for each in placed[:2]] == ["a", "b"]
    assert max(each.ends for each in placed) == 360


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # its cells are frozen
)
@given(data=st.data(), cores=st.integers(1, 4))
def test_at_no_time_is_more_running_than_there_is_room_for(cells, data, cores):
    seconds = {cell: data.draw(st.floats(1, 100)) for cell in cells}
    needs = {cell: Needs(data.draw(st.integers(1, cores)), GB) for cell in cells}
    placed = schedule(cells, needs, seconds, [Machine("m", cores, 3 * GB)])
    assert {each.cell for each in placed} == set(cells)
    for now in (each.starts for each in placed):
        running = [each for each in placed if each.starts <= now < each.ends]
        assert sum(each.needs.threads for each in running) <= cores
        assert len(running) <= 3


def test_the_lines_say_what_where_and_for_how_long_and_that_scans_are_drawn(cells):
    study = study_of(cells)
    needs = dict.fromkeys(cells, Needs(1, GB))
    seconds = dict.fromkeys(cells, 120.0)
    machine = Machine("this machine", 2, 4 * GB)
    lines = dry_run_lines(study, cells[2:], needs, seconds, [machine], "as measured")
    text = "\n".join(lines)
    assert "(PHANTOM)" in lines[0]
    assert "10 cells would run, 2 ended before" in text
    assert "  at 2 min for 2 min on this machine, 1 thread, 1.00 GB: 5mm, seed 4" in lines
    assert "all would be done after about 10 min, as measured" in text


def test_what_no_machine_can_hold_is_named_and_takes_no_time(cells):
    needs = {**dict.fromkeys(cells, Needs(1, GB)), cells[0]: Needs(1, 9 * GB)}
    machine = Machine("this machine", 1, GB, total_memory_bytes=4 * GB)
    seconds = dict.fromkeys(cells, 60.0)
    lines = dry_run_lines(study_of(cells), cells[:3], needs, seconds, [machine], "as before")
    (told,) = [line for line in lines if "infeasible" in line]
    assert "5mm, seed 0: needs 9.00 GB by the memory plan, and this machine has 4.00 GB" in told
    assert any(line.startswith("2 cells would run") for line in lines)
    assert any("all would be done after about 2 min" in line for line in lines)
