from dataclasses import replace

import pytest

from experiments import splitting_costs as study
from mlp_med.studies.pilot import PilotDesign, run_pilot

SMALL = study.SIZES["luna16_fields"]["small"].on(phantom=True, num_training=2_600)
ARMS = {arm.name: arm for arm in study.arms(SMALL, "mm", phantom=True)}
TILES = [name for name, arm in ARMS.items() if arm.split > 1]


def claims(pilot=None, *, phantom=True):
    found = study.claims(SMALL, "mm", phantom=phantom, pilot=pilot)
    return {claim.name: claim for claim in found}


def pilot(aucs):
    """A pilot's result in which arms of these names validated so well, and others worse."""
    design = PilotDesign(most_budget_examples=None)

    def score(trials):
        return {t: aucs.get(t.arm.name, 0.5) - abs(t.learning_rate - 3e-3) for t in trials}

    return run_pilot(list(ARMS.values()), claims()["a, equal labels"], design, score)


def test_tiles_differ_from_the_whole_in_nothing_but_split_and_labels():
    whole = ARMS[study.WHOLE]
    assert {(ARMS[name].split, ARMS[name].tile_labels) for name in TILES} == {
        (split, labels) for split in (2, 4) for labels in ("image", "bag", "lesion")
    }
    for name in TILES:  # the budget counts images
        assert replace(ARMS[name], name="", split=1, tile_labels="image") == replace(whole, name="")


def test_the_whole_field_in_the_tiles_memory_sees_as_many_voxels_at_once():
    tiles, alike = ARMS["2 tiles an axis, image labels"], ARMS[study.SAME_MEMORY]
    at_once = tiles.global_batch_size / tiles.accumulation_steps / tiles.split**3
    assert at_once == alike.global_batch_size / alike.accumulation_steps
    assert alike.recompute


def test_what_is_streamed_is_compared_with_the_same_network_at_once():
    at_once, streamed = ARMS[study.NO_NORM], ARMS[study.STREAMED]
    assert (at_once.norm, streamed.norm) == ("none", "none")
    assert at_once.stream_tile == 0 < streamed.stream_tile
    assert streamed.settings_of == at_once.name
    assert claims()["a, equal labels"].secondary["streamed"] == (at_once.name, streamed.name)


def test_every_claim_is_of_two_arms_and_the_first_of_equal_labels():
    found = claims()
    assert list(found) == [
        "a, equal labels",
        "b, images",
        "b, seconds",
        "c, half of the labels",
        "d, drawn lesions",
    ]
    for claim in found.values():
        assert set(claim.primary) <= set(ARMS)
        assert all(set(pair) <= set(ARMS) for pair in claim.secondary.values())
    whole, tiles = (ARMS[name] for name in found["a, equal labels"].primary)
    assert (whole.split, whole.training_fraction, tiles.tile_labels) == (1, 1.0, "image")
    assert tiles.split > 1
    # "takes longer" is a claim of the tiles, the other way round
    assert found["b, seconds"].primary == found["a, equal labels"].primary[::-1]
    half, with_all = (ARMS[name] for name in found["c, half of the labels"].primary)
    assert (half.training_fraction, half.split, with_all) == (0.5, 1, tiles)
    drawn, other = (ARMS[name] for name in found["d, drawn lesions"].primary)
    assert (drawn.tile_labels, other) == ("lesion", tiles)


def test_the_best_tiles_are_what_the_pilot_found_among_those_of_the_same_labels():
    bag, drawn = "4 tiles an axis, a bag", "4 tiles an axis, drawn lesions"
    # Tiles with drawn lesions have other labels, however well they did.
    found = claims(pilot({bag: 0.8, drawn: 0.95, "2 tiles an axis, drawn lesions": 0.9}))
    assert {claim.primary for claim in found.values()} == {
        (study.WHOLE, bag),
        (bag, study.WHOLE),
        ("whole, 1/2 of the patients", bag),
        (drawn, bag),
    }
    assert bag not in [pair[1] for pair in found["a, equal labels"].secondary.values()]


def test_every_arm_is_tuned_or_takes_over_the_rate_of_the_arm_that_it_is_otherwise():
    for arm in ARMS.values():
        tuned = ARMS[arm.settings_of or arm.name]
        assert tuned.settings_of is None
        assert (tuned.split, tuned.norm, tuned.tile_labels) == (
            arm.split,
            arm.norm,
            arm.tile_labels,
        )


@pytest.mark.parametrize("size", study.SIZES["luna16_fields"].values())
def test_every_arm_of_every_size_is_a_cell_of_its_own(size):
    arms = study.arms(size, "mm", phantom=False)
    cells = {
        arm.cell(dataset="luna16_fields", dataset_digest="", precision="float32", seed=0).hash
        for arm in arms
    }
    assert len(cells) == len(arms) == 4 + len(size.fractions) + 6 + 2


def test_on_real_data_it_carries_its_controls():
    names = {arm.name for arm in study.arms(SMALL, "mm", phantom=False)}
    first = claims(phantom=False)["a, equal labels"]
    assert {*first.a_a, first.permuted} <= names
    assert claims()["a, equal labels"].a_a is None
