"""Named networks: what a cell's `model` field means."""

from typing import Any

from mlp_med.errors import StudyError

# Arguments of `mlp_med.models.residual.build_model` that make up the architecture.
PRESETS: dict[str, dict[str, Any]] = {
    # At most 1 M parameters in 3D; for studies at full size.
    "residual": {"widths": (16, 32, 64, 96), "blocks_per_stage": 1, "stem_stride": 2},
    # Several hundred 32³ crops a second on one core; for studies of minutes.
    "residual_small": {"widths": (8, 16, 32), "blocks_per_stage": 1, "stem_stride": 2},
    # Blocks of four voxels, seen one at a time: twenty whole lungs of 176³ a second on one core.
    "residual_patches": {
        "widths": (8, 16, 32),
        "blocks_per_stage": 1,
        "stem_stride": 4,
        "stem_kernel": 1,
    },
}
# The same networks for crops whose label speaks of what lies at their centre.
PRESETS |= {f"{name}_centre": {**preset, "pooling": "centre"} for name, preset in PRESETS.items()}
# The same for an exam of four mammograms, a column for CC and one for MLO, each for both breasts.
FOUR_VIEWS = {f"{name}_four_views": {**PRESETS[name], "num_views": 4} for name in PRESETS}
# Blocks of eight pixels, so that 30 exams a second of 0.4 mm train on one core.
FOUR_VIEWS["residual_quick_four_views"] = {
    "widths": (16, 32, 64),
    "blocks_per_stage": 1,
    "stem_stride": 8,
    "num_views": 4,
}


def preset_arguments(name: str) -> dict[str, Any]:
    """The architecture that `name` stands for, as arguments of `build_model`.

    Raises:
        StudyError: there is no such preset.
    """
    known = PRESETS | FOUR_VIEWS
    if name not in known:
        raise StudyError(f"expected a model out of {sorted(known)}, got {name!r}")
    return dict(known[name])
