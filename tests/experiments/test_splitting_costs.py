from experiments import splitting_costs

SMOKE = splitting_costs.SIZES["luna16"]["smoke"]


def arms_by_name(*, phantom=True):
    return {arm.name: arm for arm in splitting_costs.arms(SMOKE, "mm", phantom=phantom)}


def test_the_claim_sets_the_whole_field_against_tiles_that_have_its_label():
    arms = arms_by_name()
    whole, tiles = (arms[name] for name in splitting_costs.claim(SMOKE, "mm", phantom=True).primary)
    assert (whole.split, tiles.split, tiles.tile_labels) == (1, 2, "image")
    # The budget counts images, and nothing but the tiles differs.
    same = ("budget_examples", "global_batch_size", "norm", "model", "learning_rate", "augment")
    assert all(getattr(whole, name) == getattr(tiles, name) for name in same)


def test_the_whole_field_in_the_tiles_memory_sees_as_many_voxels_at_once():
    arms = arms_by_name()
    tiles, alike = arms["2 tiles an axis"], arms["whole, same memory"]
    at_once = tiles.global_batch_size / tiles.accumulation_steps / tiles.split**3
    assert at_once == alike.global_batch_size / alike.accumulation_steps


def test_what_is_streamed_is_compared_with_the_same_network_at_once():
    arms = arms_by_name()
    at_once, streamed = arms["whole, no norm"], arms["whole, streamed"]
    assert (at_once.norm, streamed.norm) == ("none", "none")
    assert (at_once.stream_tile, streamed.stream_tile) == (0, 16)
    assert streamed.settings_of == at_once.name


def test_every_arm_is_a_cell_of_its_own():
    cells = {
        arm.cell(dataset="luna16", dataset_digest="", precision="float32", seed=0).hash
        for arm in arms_by_name(phantom=False).values()
    }
    assert len(cells) == 8 + 2
