"""Mutates seeds: what damaged transfers, other versions and hostile hands make of a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

#: A file with one fault gets further into its reader than one with many: most have one.
MUTATIONS = (1, 1, 1, 2, 4)
MAX_GROWTH_BYTES = 64
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NUMBERS_AS_TEXT = (
    *(b"0", b"-1", b"1e400", b"-1e308", b"1e-400", b"NaN", b"Infinity", b"null", b'""', b"[]"),
    *(b"9223372036854775808", b"18446744073709551616", b"4294967296", b"9" * 400),
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)


def mutated(seeds: Sequence[bytes], random: Random) -> bytes:
    """One of the seeds after some mutations. Depends on the state of `random` alone."""
    data = random.choice(seeds)
    for _ in range(random.choice(MUTATIONS)):
        data = random.choice(_MUTATIONS)(data, seeds, random)
    return data


def _place(data: bytes, random: Random) -> int:
    """Anywhere, and more often near the start: sizes and types stand in a file's head."""
    share = random.random() ** random.choice((1, 3))
    return round(share * len(data))


def _with_flipped_bits(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 8)) if data else 0):
        changed[_place(data, random) - 1] ^= 1 << random.randrange(8)
    return bytes(changed)


def _with_other_bytes(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    at = _place(data, random)
    new = random.randbytes(random.randint(1, 8))
    return data[:at] + new + data[at + len(new) :]


def _with_inserted_bytes(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + random.randbytes(random.randint(1, MAX_GROWTH_BYTES)) + data[at:]


def _with_a_part_removed(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + random.randint(1, 1 + len(data) // 4) :]


def _with_a_part_twice(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    start = _place(data, random)
    end = start + random.randint(1, 256)
    return data[:end] + data[start:]


def _cut_short(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _spliced(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(seeds)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _with_an_extreme_number(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    code = random.choice("BHIQ")
    size = struct.calcsize(code)
    number = struct.pack(f"{random.choice('<>')}{code}", random.choice(_NUMBERS) % 256**size)
    at = _place(data, random)
    return data[:at] + number + data[at + size :]


def _with_an_extreme_number_as_text(data: bytes, seeds: Sequence[bytes], random: Random) -> bytes:
    places = [match.span() for match in _NUMBER.finditer(data)]
    if not places:
        return _with_an_extreme_number(data, seeds, random)
    start, end = random.choice(places)
    return data[:start] + random.choice(_NUMBERS_AS_TEXT) + data[end:]


_MUTATIONS: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    _with_flipped_bits,
    _with_other_bytes,
    _with_inserted_bytes,
    _with_a_part_removed,
    _with_a_part_twice,
    _cut_short,
    _spliced,
    _with_an_extreme_number,
    _with_an_extreme_number_as_text,
)
