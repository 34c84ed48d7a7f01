"""Spoils bytes as disks, transfers, programs and attackers do; the same for the same seed."""

import random
import re
import struct
from collections.abc import Callable

HEAD_BYTES = 1024  # where formats say sizes and offsets, so half of all mutations fall there
NUMBERS_OF_MUTATIONS = (1, 1, 1, 2, 3)
MOST_BYTES = 64  # of a block that is inserted, zeroed or overwritten
INTEGERS = (
    *(0, 1, -1, 2, 3, 16, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 1_000_000_000),
    *(2**31 - 1, -(2**31), 2**32 - 1, 2**62, 2**63 - 1),
)
FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
NUMBERS = (
    *(b"0", b"-1", b"1e9", b"1000000000", b"99999999999999999999", b"1e400", b"-1e-400", b"nan"),
    *(b"inf", b"-inf", b"0x10", b"1_0", b"", b"1.5", b"true", b"null", b"\xd9\xa3", b"4294967296"),
)
TEXTS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"'", b",", b";", b"\t", b"="),
    *(b"../../etc/passwd", b"/dev/zero", b"%s%n", b"<", b"&", b"]]>", b"{", b"[" * 40, b"\xc2\x85"),
    *(b"\xe2\x80\xa8", b"\x0c", b"\x1c", b"LOCAL", b"LIST", b"a" * 500, b"NaN", b"None"),
)
WORD = re.compile(rb"[A-Za-z_]+|[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?")
NUMBER = re.compile(rb"[-+]?[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?")

Mutation = Callable[[bytes, random.Random], bytes]


def mutant(data: bytes, seed: str, *, text: bool) -> bytes:
    """One to three mutations of `data`, which are a function of the seed alone.

    Args:
        data: of a sound file.
        seed: of the draw.
        text: whether words, numbers and lines are what the format is made of.
    """
    rng = random.Random(seed)
    for _ in range(rng.choice(NUMBERS_OF_MUTATIONS)):
        kinds = TEXT_MUTATIONS if text and rng.random() < 0.7 else MUTATIONS
        data = rng.choice(kinds)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    length = min(len(data), HEAD_BYTES) if rng.random() < 0.5 else len(data)
    return rng.randrange(length) if length else 0


def _block(data: bytes, rng: random.Random) -> slice:
    start = _place(data, rng)
    longest = rng.choice((4, MOST_BYTES, max(len(data) // 4, 1)))
    return slice(start, start + rng.randint(1, longest))


def _replaced(data: bytes, where: slice, by: bytes) -> bytes:
    return data[: where.start] + by + data[where.stop :]


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return _replaced(
        data, slice(at, at + 1), bytes(b ^ 1 << rng.randrange(8) for b in data[at : at + 1])
    )


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return _replaced(data, slice(at, at), rng.randbytes(rng.randint(1, MOST_BYTES)))


def duplicate(data: bytes, rng: random.Random) -> bytes:
    block = data[_block(data, rng)]
    at = _place(data, rng)
    return _replaced(data, slice(at, at), block * rng.choice((1, 1, 2, 20)))


def remove(data: bytes, rng: random.Random) -> bytes:
    return _replaced(data, _block(data, rng), b"")


def fill(data: bytes, rng: random.Random) -> bytes:
    block = _block(data, rng)
    length = len(data[block])
    return _replaced(
        data, block, rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length)))
    )


def extreme_integer(data: bytes, rng: random.Random) -> bytes:
    width = rng.choice(tuple(FORMATS))
    at = _place(data, rng) // rng.choice((1, width)) * width % max(len(data), 1)
    value = rng.choice(INTEGERS) % (1 << 8 * width)
    return _replaced(
        data, slice(at, at + width), struct.pack(rng.choice("<>") + FORMATS[width], value)
    )


def nudge_integer(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return _replaced(
        data,
        slice(at, at + 1),
        bytes((b + rng.choice((1, -1, 2, -2, 8, -8))) % 256 for b in data[at : at + 1]),
    )


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    return _replaced(data, slice(*one.span()), rng.choice(NUMBERS))


def other_word(data: bytes, rng: random.Random) -> bytes:
    found = list(WORD.finditer(data))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    other = rng.choice((*TEXTS, rng.choice(found)[0]))
    return _replaced(data, slice(*one.span()), other)


def insert_text(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return _replaced(data, slice(at, at), rng.choice(TEXTS))


def change_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return insert(data, rng)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 1:
        lines.insert(other, lines[one])
    else:
        del lines[one]
    return b"".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bit, truncate, insert, duplicate, remove, fill),
    *(extreme_integer, extreme_integer, nudge_integer),
)
TEXT_MUTATIONS: tuple[Mutation, ...] = (
    *(extreme_number, extreme_number, other_word, insert_text, change_lines),
)
