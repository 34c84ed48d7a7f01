import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mlp_med.cli import app
from mlp_med.errors import CapacityError, DatasetError, StudyError


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["plan", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def plan(*words: str) -> dict:
    return json.loads(run(*words, "--json"))


def test_every_line_is_there_and_they_add_up():
    found = plan("--resolution", "0.625", "--batch", "16")
    assert found["workload"]["voxels"] == [64, 64, 64]
    assert found["peak_bytes"] == sum(found["bytes"].values())
    assert {"parameters", "optimizer", "activations", "input_buffers", "process_base"} <= set(
        found["bytes"]
    )
    assert "largest_batch" not in found


def test_the_table_says_what_json_says():
    words = ["--resolution", "1.25", "--batch", "8", "--memory", "4GB"]
    found, shown = plan(*words), run(*words)
    assert f"{found['peak_bytes']:,}" in shown
    assert f"largest batch at this resolution: {found['largest_batch']:,}" in shown
    assert "fits into 4.00 GB" in shown


def test_a_budget_is_answered_with_the_most_that_fits():
    words = ["--resolution", "0.625", "--field-mm", "320", "--memory", "16GB"]
    found = plan(*words, "--batch", "16", "--precision", "bf16")
    assert found["workload"]["voxels"] == [512, 512, 512]
    assert not found["fits"]
    assert 1 <= found["largest_batch"] < 16
    assert plan(*words, "--batch", str(found["largest_batch"]), "--precision", "bf16")["fits"]
    assert found["finest"]["resolution"] > 0.625
    assert found["fewest_tiles"] is None  # 16 whole lungs alone are more
    assert "stay in memory beside the tiles" in run(*words, "--batch", "16")


def test_a_grid_finer_than_any_crop_is_said_to_show_no_more():
    note = "a grid finer than 0.625 mm, the finest that luna16 is rendered at"
    assert any(note in each for each in plan("--resolution", "0.3")["notes"])
    assert note in run("--resolution", "5", "--memory", "16GB")
    found = plan("--resolution", "1.25", "--memory", "1.3GB")
    assert 0.625 < found["finest"]["resolution"] < 1.25
    assert not any("finer than" in each for each in found["notes"])


def test_the_split_that_is_named_is_the_smallest_that_fits():
    words = ["--resolution", "0.625", "--field-mm", "320", "--batch", "16", "--memory", "80GB"]
    found = plan(*words)
    split = found["fewest_tiles"]["split"]
    assert split > 1
    assert found["fewest_tiles"]["tiles"] == split**3
    assert f"smallest --split at this resolution and batch: {split}, {split**3}" in run(*words)
    assert plan(*words, "--split", str(split))["fits"]
    assert not plan(*words, "--split", str(split // 2))["fits"]  # 512 voxels: powers of two


def test_the_largest_batch_counts_what_is_accumulated():
    words = ["--resolution", "0.625", "--field-mm", "320", "--memory", "80GB"]
    accumulated = ["--accumulation", "4"]
    found = plan(*words, *accumulated, "--batch", "16")
    largest = found["largest_batch"]
    assert found["fits"]
    assert largest >= 16
    assert plan(*words, *accumulated, "--batch", str(largest))["fits"]
    assert not plan(*words, *accumulated, "--batch", str(largest + 4))["fits"]
    assert f"{largest} ({largest // 4} at once, 4 times)" in run(
        *words, *accumulated, "--batch", "16"
    )


def test_a_platform_brings_its_memory_and_is_called_predicted():
    found = plan("--resolution", "0.625", "--platform", "h100", "--precision", "bf16")
    assert found["budget_bytes"] == 80 * 10**9
    assert any(note.startswith("predicted: nothing was measured") for note in found["notes"])


def test_without_bfloat16_it_is_planned_in_float32_and_said():
    found = plan("--resolution", "0.625", "--platform", "p100", "--precision", "bf16")
    assert found["workload"]["precision"] == "float32"
    assert any("no bfloat16" in note for note in found["notes"])


def test_absurd_requests_get_their_number():
    found = plan("--resolution", "0.0390625", "--batch", "512", "--model", "residual")
    assert found["workload"]["voxels"] == [1024] * 3
    assert found["peak_bytes"] > 10**13


def test_accumulation_holds_a_micro_batch_at_a_time():
    whole = plan("--resolution", "1.25", "--batch", "32")["bytes"]["activations"]
    quarter = plan("--resolution", "1.25", "--batch", "32", "--accumulation", "4")["bytes"]
    assert quarter["activations"] * 4 == whole


def test_recomputation_keeps_less():
    words = ["--resolution", "0.625", "--batch", "16"]
    plain, again = plan(*words), plan(*words, "--recompute")
    assert again["bytes"]["activations"] < 0.8 * plain["bytes"]["activations"]
    assert "recomputing" in run(*words, "--recompute")


def test_tiles_of_next_to_nothing_are_planned_with_a_word():
    words = ["--resolution", "1.25", "--field-mm", "80", "--split"]
    assert not any("tile's edge" in note for note in plan(*words, "4")["notes"])
    assert any("edge is 8 voxels" in note and "16" in note for note in plan(*words, "8")["notes"])


def test_crops_that_are_built_count_and_others_are_said_not_to(tmp_path, monkeypatch):
    import tfds_builders

    words = ["--resolution", "1.25", "--data-dir", str(tmp_path)]
    assert any("not counted" in note for note in plan(*words)["notes"])
    splits = {"train": SimpleNamespace(num_examples=70), "test": SimpleNamespace(num_examples=30)}
    built = SimpleNamespace(info=SimpleNamespace(splits=splits))
    monkeypatch.setattr(tfds_builders, "open_config", lambda *arguments: built)
    (tmp_path / "luna16").mkdir()
    found = plan(*words)
    assert found["bytes"]["dataset"] == 100 * 32**3 * 2
    assert found["notes"] == []
    # Of another field they are others.
    assert plan(*words, "--field-mm", "80")["bytes"]["dataset"] == 0


def test_slides_are_in_micrometres():
    assert plan("--dataset", "metastasis_patches", "--resolution", "0.97")["workload"][
        "voxels"
    ] == [
        96,
        96,
    ]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--resolution", "1.25", "--platform", "abacus"], CapacityError, "no platform 'abacus'"),
        (["--resolution", "1.25", "--memory", "16XB"], CapacityError, "such as 16GB"),
        (["--resolution", "1.25", "--memory", "200MB"], CapacityError, "less than the process"),
        (["--resolution", "1.25", "--batch", "0"], CapacityError, "at least one example"),
        (["--resolution", "1.25", "--precision", "fp8"], CapacityError, "float32 or bfloat16"),
        (["--resolution", "1.25", "--norm", "layer"], CapacityError, "norm batch, group or none"),
        (["--resolution", "-1"], CapacityError, "positive resolution"),
        (["--resolution", "nan"], CapacityError, "positive resolution"),
        (["--resolution", "80"], CapacityError, "at least one voxel"),
        (["--resolution", "1e-300"], CapacityError, "at most 1,000,000,000 along an edge"),
        (["--resolution", "1", "--field-mm", "inf"], CapacityError, "at most 1,000,000,000"),
        (
            ["--resolution", "1.25", "--probe", "--platform", "h100"],
            CapacityError,
            "a probe measures this machine",
        ),
        (["--resolution", "1.25", "--batch", "9", "--accumulation", "2"], CapacityError, "divides"),
        (["--resolution", "1.25", "--model", "unet"], StudyError, "expected a model out of"),
        (["--resolution", "1.25", "--dataset", "mnist"], DatasetError, "no dataset 'mnist'"),
    ],
)
def test_bad_input_is_named(words, error, message):
    with pytest.raises(error, match=message):
        run(*words)
