"""How a study's networks were trained, in a sentence: what its verdict is conditional on."""

from collections.abc import Sequence

from mlp_med.ledger.read import CellRecord

PRECISIONS = {"float32": "float32", "mixed_bfloat16": "bfloat16 with float32 weights"}
WITHOUT_AUGMENTATION = (
    "without augmentation: every crop was always seen as it is, and networks trained on flipped, "
    "turned and shifted crops may differ otherwise"
)


def recipe(cells: Sequence[CellRecord]) -> str:
    """Model, norm, precision, batch, budget and augmentation of all `cells`.

    Args:
        cells: of one study; "" where there are none.
    """
    if not cells:
        return ""

    def values(name: str) -> list:
        return sorted({cell.params[name] for cell in cells})

    def joined(name: str) -> str:
        return " or ".join(
            f"{value:,}" if isinstance(value, int) else value for value in values(name)
        )

    precisions = " or ".join(PRECISIONS.get(value, value) for value in values("precision"))
    norm = "no normalisation" if values("norm") == ["none"] else f"{joined('norm')} normalisation"
    parts = [
        f"network {joined('model')}, {norm}",
        precisions,
        f"batches of {joined('global_batch_size')}",
        f"{joined('budget_examples')} examples seen",
    ]
    if values("accumulation_steps") != [1]:
        parts.append(f"batches computed in {joined('accumulation_steps')} parts")
    return "; ".join([*parts, _augmentation(values("augment"))])


def _augmentation(values: Sequence[bool]) -> str:
    if len(values) == 2:
        return "some arms with augmentation and some without"
    return "flipped, turned and shifted at random" if values[0] else WITHOUT_AUGMENTATION
