import pytest

from mlp_med.capacity.platforms import catalogue, find_platform
from mlp_med.errors import CapacityError

ENTRY = """
[mine]
title = "my workstation"
kind = "gpu"
memory = { value = "24GB", source = "its label" }
float32_tflops = { value = 35.6, source = "its label" }
"""


def test_every_figure_of_every_platform_has_a_source():
    for platform in catalogue().values():
        known = [platform.bandwidth, platform.link, platform.power_w, *platform.peak_flops.values()]
        assert len(platform.sources) == 1 + sum(figure is not None for figure in known)
        assert all(platform.sources.values())


def test_the_catalogue_has_the_machines_of_the_talk():
    found = catalogue()
    assert found["p100"].memory_bytes == 16 * 10**9
    assert found["h100"].bandwidth == 3.35e12
    assert found["h200"].memory_bytes == 141 * 10**9
    assert "mixed_bfloat16" not in found["p100"].peak_flops
    assert found["a100"].peak_flops["mixed_bfloat16"] == 312e12


def test_a_users_own_platform_stands_beside_the_others(tmp_path):
    (tmp_path / "mine.toml").write_text(ENTRY)
    found = catalogue(tmp_path / "mine.toml")
    assert find_platform("mine", found).peak_flops == {"float32": 35.6e12}
    assert "p100" in found


def test_an_unknown_platform_is_told_which_there_are():
    with pytest.raises(CapacityError, match="no platform 'abacus'; there are: p100, v100"):
        find_platform("abacus", catalogue())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('kind = "gpu"', 'kind = "quantum"'), "kind out of cpu, gpu, accelerator"),
        ((', source = "its label" }', " }"), "needs a value and a source"),
        (('"24GB"', '"24GX"'), "such as 16GB"),
        (("35.6", '"fast"'), "float32_tflops to be a positive number, got 'fast'"),
        (("35.6", "-1"), "float32_tflops to be a positive number, got -1"),
        (("35.6", "inf"), "float32_tflops to be a positive number, got inf"),
        (('"24GB"', "24"), 'memory with its unit, as in "24GB", got 24'),
        (('"24GB"', '"24"'), "memory with its unit, as in \"24GB\", got '24'"),
        (("memory = ", "storage = "), "how much memory it has"),
        (("[mine]", "[mine"), "cannot read"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(ENTRY.replace(*change))
    with pytest.raises(CapacityError, match=message):
        catalogue(path)


def test_a_catalogue_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CapacityError, match=r"cannot read .*absent\.toml"):
        catalogue(tmp_path / "absent.toml")
