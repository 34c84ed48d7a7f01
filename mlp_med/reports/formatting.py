"""Numbers as a report prints them: "n/a" for what is not known, and never more digits than that."""

from math import isfinite

NOT_KNOWN = "n/a"
UNITS = {"mm": "mm", "um": "µm"}


def at_start(text: str) -> str:
    """With a capital letter, at the start of a title: "Macro AUC", "AUC"."""
    return text[:1].upper() + text[1:]


def auc(value: float | None) -> str:
    """Three decimals."""
    return NOT_KNOWN if _unknown(value) else f"{value:.3f}"


def difference(value: float | None) -> str:
    """Three decimals and a sign; a true minus, which lines up with the plus."""
    return NOT_KNOWN if _unknown(value) else f"{value:+.3f}".replace("-", "−")


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Both ends of an interval."""
    if _unknown(low) or _unknown(high):
        return NOT_KNOWN
    number = difference if signed else auc
    return f"{number(low)} to {number(high)}"


def standard_error(value: float | None) -> str:
    """Four decimals: a digit more than what it is the error of."""
    return NOT_KNOWN if _unknown(value) else f"{value:.4f}"


def degrees_of_freedom(value: float | None) -> str:
    """One decimal."""
    return NOT_KNOWN if _unknown(value) else f"{value:.1f}"


def p_value(value: float) -> str:
    """Three decimals; below a thousandth, only that."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def value_range(low: float, high: float, *, ends: bool) -> str:
    """A range of values, or the one that it holds; its high end belongs to it only where `ends`."""
    if low == high:
        return _value(low)
    return f"{_value(low)} to {'' if ends else '<'}{_value(high)}"


def _value(value: float) -> str:
    """Three digits, and of larger numbers, such as years, all before the point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Seconds up to two minutes, then minutes, then hours."""
    if seconds is None or not isfinite(seconds):
        return NOT_KNOWN
    if 0 < seconds < 0.1:
        return "<0.1 s"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def memory(num_bytes: float | None) -> str:
    """Decimal megabytes or gigabytes."""
    if num_bytes is None or not isfinite(num_bytes):
        return NOT_KNOWN
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return NOT_KNOWN if _unknown(value) else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share as a whole number of per cent."""
    return NOT_KNOWN if _unknown(share) else f"{100 * share:.0f} %"  # type: ignore[operator]


def _unknown(value: float | None) -> bool:
    return value is None or not isfinite(value)
