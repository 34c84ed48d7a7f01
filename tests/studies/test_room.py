from hypothesis import given
from hypothesis import strategies as st

from mlp_med.studies.room import Machine, Needs, first_with_room, has_room, why_infeasible

GB = 10**9
NEEDS = st.builds(Needs, st.integers(1, 4), st.integers(0, 8).map(GB.__mul__))


def test_cores_and_memory_both_count():
    machine = Machine("m", cores=4, memory_bytes=10 * GB)
    beside = [Needs(2, 6 * GB)]
    assert has_room(machine, Needs(2, 4 * GB), beside)
    assert not has_room(machine, Needs(3, 4 * GB), beside)
    assert not has_room(machine, Needs(2, 5 * GB), beside)
    assert has_room(machine, Needs(1, 0), beside)  # of unknown memory: cores alone count


def test_what_is_larger_than_the_machine_runs_alone():
    machine = Machine("m", cores=2, memory_bytes=GB)
    assert has_room(machine, Needs(8, 9 * GB), [])
    assert not has_room(machine, Needs(1, 0), [Needs(8, 9 * GB)])


def test_a_limit_of_cells_holds_whatever_else_is_free():
    assert not has_room(Machine("m", 99, 99 * GB, most_cells=1), Needs(1), [Needs(1)])
    assert not has_room(Machine("head", 0, 99 * GB, most_cells=0), Needs(1), [])


def test_the_machine_with_the_fewest_cells_is_taken_and_the_largest_for_what_fits_nowhere():
    small, large = Machine("s", 4, 4 * GB, key="s"), Machine("l", 4, 8 * GB, key="l")
    assert first_with_room([small, large], Needs(1, GB), [("l", Needs(1, GB))]) is small
    assert first_with_room([small, large], Needs(1, 9 * GB), []) is large
    assert first_with_room([small, large], Needs(1, 9 * GB), [("l", Needs(1))]) is small
    assert first_with_room([small], Needs(1, 4 * GB), [("s", Needs(1, GB))]) is None


@given(st.lists(NEEDS, max_size=20), st.integers(1, 8), st.integers(1, 16))
def test_no_machine_is_ever_given_more_than_it_has(waiting, cores, gigabytes):
    machine = Machine("m", cores, gigabytes * GB)
    taken: list[Needs] = []
    for needs in waiting:
        if has_room(machine, needs, taken):
            taken.append(needs)
    if len(taken) > 1:
        assert sum(needs.threads for needs in taken) <= cores
        assert sum(needs.memory_bytes for needs in taken) <= gigabytes * GB
    assert bool(taken) == bool(waiting)


@given(NEEDS, st.lists(st.integers(1, 8), min_size=1, max_size=3))
def test_infeasible_is_what_is_beyond_the_largest_machine_even_if_the_plan_errs(needs, totals):
    machines = [Machine("m", 4, 0, total_memory_bytes=total * GB) for total in totals]
    assert bool(why_infeasible(machines, needs)) == (needs.memory_bytes * 0.9 > max(totals) * GB)
    unknown = [*machines, Machine("m", 4, 0)]
    assert not why_infeasible(unknown, needs)
    assert not why_infeasible([Machine("m", 4, 0, num_gpus=1, total_memory_bytes=1)], needs)
