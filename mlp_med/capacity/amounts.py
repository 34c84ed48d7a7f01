"""Amounts of memory as people write them: "16GB", "80 GiB", "1.5e9"."""

import re
from fractions import Fraction

from mlp_med.errors import CapacityError

# SI prefixes are powers of 1000 and IEC prefixes (IEC 80000-13) powers of 1024.
UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGTP", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
}
_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+]?[0-9]{1,2})?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str) -> int:
    """Bytes of an amount; upper and lower case alike.

    Raises:
        CapacityError: no number, an unknown unit, or nothing.
    """
    by_case = {unit.lower(): size for unit, size in UNITS.items()}
    match = _AMOUNT.fullmatch(text)
    if match is None or match[2].lower() not in by_case:
        raise CapacityError(
            f"expected an amount of memory such as 16GB or 80GiB, got {text!r}; "
            f"units: {', '.join(unit for unit in UNITS if unit)}"
        )
    num_bytes = int(Fraction(match[1]) * by_case[match[2].lower()])
    if num_bytes < 1:
        raise CapacityError(f"expected at least one byte, got {text!r}")
    return num_bytes


def show_bytes(num_bytes: int) -> str:
    """For a reader, three digits in SI units: "16.8 MB"."""
    sign, size = ("-" if num_bytes < 0 else ""), abs(num_bytes)
    for power, unit in reversed(list(enumerate(("B", "kB", "MB", "GB", "TB", "PB", "EB")))):
        scale = 1000**power
        if 2000 * size >= 1999 * scale or power == 0:  # what rounds to 1,000 of a unit is 1 more
            # Whole numbers are divided as such, since a float knows 16 digits at most.
            hundredths = (size * 100 + scale // 2) // scale
            if hundredths >= 10_000 or power == 0:
                return f"{sign}{(hundredths + 50) // 100:,} {unit}"
            digits = 1 if hundredths >= 1000 else 2
            return f"{sign}{hundredths / 100:,.{digits}f} {unit}"
    raise AssertionError("unreachable: the last power is 0")
