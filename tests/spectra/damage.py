"""Files that are damaged in every way that disks, networks and people damage them; the same ones for the same seed."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Iterator

HUGE = (0x7FFFFFFF, 0xFFFFFFFF, 0x7FFF0000, 0x10000000, 0x8000, 0xFFFF, 0)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + b"\0" * len(data[start : start + rng.randint(1, 4096)]) + data[start + 4096 :]


def noisy(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.randint(1, 40)):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def random_tail(data: bytes, rng: random.Random) -> bytes:
    keep = rng.choice((4, 16, 100, 512))
    return data[:keep] + rng.randbytes(rng.randint(0, len(data)))


def random_whole(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 4096))


def huge_count(data: bytes, rng: random.Random) -> bytes:
    """A number in the first kilobytes, where headers are, says something enormous."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(max(1, min(len(found), 1200) - 4))
        found[at : at + 4] = struct.pack("<I", rng.choice(HUGE))
    return bytes(found)


def huge_in_the_tail(data: bytes, rng: random.Random) -> bytes:
    """The same at the end, where ZIP and Parquet keep theirs."""
    found = bytearray(data)
    at = rng.randrange(max(0, len(found) - 1500), max(1, len(found) - 4))
    found[at : at + 4] = struct.pack("<I", rng.choice(HUGE))
    return bytes(found)


def huge_number(data: bytes, rng: random.Random) -> bytes:
    """A number of a text says something enormous."""
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return noisy(data, rng)
    at = rng.choice(numbers[: 40 if rng.random() < 0.5 else None])
    return (
        data[: at.start()]
        + rng.choice((b"9" * 10, b"9" * 400, b"1e308", b"-1", b"nan", b"inf", b"0"))
        + data[at.end() :]
    )


def shuffled(data: bytes, rng: random.Random) -> bytes:
    """Pieces are missing or come twice."""
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:b] + data[b:]


def other_line_ends(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b"\n", rng.choice((b"", b"\n\n", b"\r", b";", b" ", b"\0")))


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut,
    zeroed,
    noisy,
    random_tail,
    random_whole,
    huge_count,
    huge_in_the_tail,
    huge_number,
    shuffled,
    other_line_ends,
)


def damaged(sound: dict[str, bytes], count: int, seed: int = 1) -> Iterator[tuple[str, str, bytes]]:
    """So many damaged files: what was done, the name, the bytes. One in ten carries the name of another format."""
    rng = random.Random(seed)
    names = sorted(sound)
    for number in range(count):
        name = names[number % len(names)]
        way = WAYS[(number // len(names)) % len(WAYS)]
        other = rng.choice(names) if rng.random() < 0.1 else name
        suffix = other[other.rindex(".") :]
        yield f"{way.__name__} of {name}", f"file{number}{suffix}", way(sound[name], rng)
