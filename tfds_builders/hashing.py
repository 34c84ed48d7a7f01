"""Choices and names that depend on an id alone, never on order, machine or a generator's state."""

import hashlib
from collections.abc import Iterable

# MLflow refuses a dataset digest of more than 36 characters.
DIGEST_CHARACTERS = 32


def digest_of(parts: Iterable[str | bytes]) -> str:
    """SHA-256 over `parts`, each preceded by its length so that no two lists look alike."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:DIGEST_CHARACTERS]


def hash_fraction(text: str, salt: str) -> float:
    """A number in [0, 1) that is fixed by `text`; another `salt` gives an independent one."""
    first = hashlib.sha256(f"{salt}:{text}".encode()).digest()[:8]
    return (int.from_bytes(first, "big") >> 11) / (1 << 53)  # 53 bits: a float64 holds them exactly
