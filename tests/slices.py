"""Slices: what `make test` takes of tests in many parts, so that it stays within minutes.

A sixth of them, chosen by a seed (`PENIN_TESTS_SEED`, 0 without it): another seed chooses other
ones, and the same seed always the same. With `PENIN_TESTS=long` there is no slice: all are run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from zlib import crc32

SHARE = 6
SEED = os.environ.get("PENIN_TESTS_SEED", "0")
IS_LONG = os.environ.get("PENIN_TESTS") == "long"


def is_chosen(part: str) -> bool:
    """Whether a part is run, by its name."""
    return IS_LONG or crc32(f"{SEED} {part}".encode()) % SHARE == 0


def operations(name: str, below: int) -> Iterator[int]:
    """The numbers of operations to crash at, from 1 on; `name` tells one test from another."""
    return (number for number in range(1, below) if is_chosen(f"{name} {number}"))


def some_of(name: str, count: int, wanted: int) -> Iterator[int]:
    """Some of the numbers from 0 to below `count`: about `wanted` of them, and always the last."""
    share = 1 if IS_LONG else max(1, count // wanted)
    chosen = (n for n in range(count - 1) if crc32(f"{SEED} {name} {n}".encode()) % share == 0)
    yield from chosen
    if count:
        yield count - 1
