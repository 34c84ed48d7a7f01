import numpy as np

from mlp_med.phantoms.vessels import LEAF_RADIUS_MM, MURRAY_EXPONENT, grow_tree


def tree_and_leaves(num_leaves: int = 300):
    rng = np.random.default_rng(1)
    leaves = rng.uniform(-50, 50, (num_leaves, 3))
    root = np.array([-70.0, 0, 0])
    return grow_tree(rng, root, leaves), root, leaves


def test_every_leaf_is_reached_and_every_branch_hangs_on_the_root():
    tree, root, leaves = tree_and_leaves()
    gaps = np.linalg.norm(tree.end_mm[:, None] - leaves, axis=2).min(axis=0)
    assert gaps.max() < 5
    known = np.concatenate([root[None], tree.end_mm])
    loose = np.linalg.norm(tree.start_mm[:, None] - known, axis=2).min(axis=1)
    assert loose.max() < 1e-9


def test_radii_follow_murray():
    tree, root, _ = tree_and_leaves(300)
    at_root = np.flatnonzero(np.linalg.norm(tree.start_mm - root, axis=1) < 1e-9)
    assert len(at_root) == 1
    np.testing.assert_allclose(
        tree.start_radius_mm[at_root[0]], LEAF_RADIUS_MM * 300 ** (1 / MURRAY_EXPONENT)
    )
    # At each fork the daughters' r^x add up to the mother's, before she thinned on her way.
    full_length = 0.9
    for n in range(len(tree)):
        daughters = np.flatnonzero(np.linalg.norm(tree.start_mm - tree.end_mm[n], axis=1) < 1e-9)
        if len(daughters) == 2:
            mother = tree.end_radius_mm[n] / full_length
            together = (tree.start_radius_mm[daughters] ** MURRAY_EXPONENT).sum()
            np.testing.assert_allclose(together, mother**MURRAY_EXPONENT)


def test_no_tube_widens_outwards():
    tree, _, _ = tree_and_leaves()
    assert np.all(tree.end_radius_mm < tree.start_radius_mm)
    assert tree.end_radius_mm.min() > 0
