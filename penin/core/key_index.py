"""Where keys are, of which all are known at once: a hash table that is made by sorting.

Dictionaries would take several times as long to fill, and hold an object for each key; this takes
20 to 32 bytes a key where segments are full, and a copy of the keys. The hash is that of `str`, as
in a dictionary: Python draws a key for it in each process, so nobody can make up names that
collide.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from penin.core.segments import ROW_BITS, Segment

_HASH_BITS: Final = 64
_HASH_MASK: Final = 2**_HASH_BITS - 1
_NOTHING: Final = np.uint64(_HASH_MASK)
"""What is in a place of the table that has no entry."""
_AT_ONCE_MIN: Final = 16
"""For fewer keys, one after the other is as fast."""
_NEAR: Final = np.arange(6)
"""Nearly every entry is no farther behind its place."""

Hashes = NDArray[np.uint64]
Run = tuple[Segment, Hashes]
"""A segment, and the hash of the key of each of its rows; by their numbers, lowest first."""


def hashes_of(keys: Sequence[str]) -> Hashes:
    """The hash of each key."""
    # In two's complement, as `hash(key) & _HASH_MASK` is.
    return np.fromiter(map(hash, keys), np.int64, len(keys)).view(np.uint64)


class KeyIndex:
    """The location of each of some keys, as `penin.core.key_map` has it. It never changes.

    An entry is a location, and above it as many of the uppermost bits of the hash as there is room
    for: 44 with a million keys. The table has the entries in their order. Each is at the place that
    the uppermost bits of its hash name, or at the first one behind that which is free; a third of
    the places are free at least.
    """

    __slots__ = ("_begins", "_location_mask", "_shift", "_table", "_text")

    def __init__(self, runs: Sequence[Run]) -> None:
        self._text, self._begins = _texts(runs)
        # No location has all bits of it, and so no entry is _NOTHING.
        self._location_mask: int = 2 ** len(self._begins).bit_length() - 1
        count = sum(len(hashes) for _, hashes in runs)
        entries = np.empty(count, np.uint64)
        start = 0
        for segment, hashes in runs:
            part = entries[start : start + len(hashes)]
            np.bitwise_and(hashes, np.uint64(_HASH_MASK ^ self._location_mask), out=part)
            first = segment.number << ROW_BITS
            part |= np.arange(first, first + len(hashes), dtype=np.uint64)
            start += len(hashes)
        entries.sort()
        place_bits = max(1, (count * 3 // 2).bit_length())
        assert place_bits + len(self._begins).bit_length() <= _HASH_BITS, (
            "so many keys are in no file"
        )
        self._shift = _HASH_BITS - place_bits
        numbers = np.arange(count)
        # How far each is behind its number among the entries: as far as the one before, at least.
        places = (entries >> np.uint64(self._shift)).view(np.int64)
        places -= numbers
        np.maximum.accumulate(places, out=places)
        places += numbers
        last = int(places[-1]) if count else 0
        table = np.full(max(2**place_bits, last + 1) + 1, _NOTHING)
        table[places] = entries
        # Its items are integers of Python, and sooner at hand than those of a memoryview.
        self._table = array("Q", table.tobytes())

    def find(self, key: Any) -> int | None:
        """The location of a key; None where it is not there."""
        table, mask = self._table, self._location_mask
        wanted = hash(key) & _HASH_MASK
        place = wanted >> self._shift
        wanted |= mask
        entry = table[place]
        while entry < wanted:
            if entry | mask == wanted and self._key(entry & mask).decode() == key:
                return entry & mask
            place += 1
            entry = table[place]
        return None

    def find_all(self, keys: Sequence[str], encoded: Sequence[bytes]) -> list[int | None]:
        """The location of each of several keys, as `find` gives it.

        `encoded` are these in UTF-8, and none is empty. For many it is faster: an index of a
        million is in no cache, and here the waits for memory overlap.
        """
        if len(keys) < _AT_ONCE_MIN or not self._text:
            return [self.find(key) for key in keys]
        table, mask = np.frombuffer(self._table, np.uint64), np.uint64(self._location_mask)
        wanted = hashes_of(keys)
        places = (wanted >> np.uint64(self._shift)).view(np.int64)
        wanted |= mask
        near = table.take(places[:, None] + _NEAR, mode="clip")  # the last one is _NOTHING
        is_found = (near | mask) == wanted[:, None]
        entries = near[np.arange(len(keys)), is_found.argmax(axis=1)]
        is_right = (entries | mask == wanted) & (entries != _NOTHING)
        locations = np.where(is_right, entries & mask, 0).view(np.int64)
        is_right &= self._are(locations, encoded)
        return [
            location if is_it else self.find(key)
            for key, location, is_it in zip(
                keys, locations.tolist(), is_right.tolist(), strict=True
            )
        ]

    def has_twice(self) -> bool:
        """Whether a key is there twice."""
        table = np.frombuffer(self._table, np.uint64)
        entries = table[table != _NOTHING]
        hashes = entries | np.uint64(self._location_mask)
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        locations = entries[np.union1d(same, same + 1)] & np.uint64(self._location_mask)
        return len(set(map(self._key, locations.tolist()))) < len(locations)

    def _key(self, location: int) -> bytes:
        return self._text[self._begins[location] : self._begins[location + 1]]

    def _are(self, locations: NDArray[np.int64], encoded: Sequence[bytes]) -> NDArray[np.bool_]:
        """Whether each of these locations is that of the key."""
        begins_of, text = np.frombuffer(self._begins, np.int64), np.frombuffer(self._text, np.uint8)
        begins, lengths = begins_of.take(locations), np.fromiter(map(len, encoded), np.int64)
        is_as_long = begins_of.take(locations + 1) - begins == lengths
        starts = np.cumsum(lengths) - lengths
        # One that is shorter is compared with what comes behind it, or with the last byte of all.
        places = np.repeat(begins - starts, lengths) + np.arange(int(lengths.sum()))
        is_same = text.take(places, mode="clip") == np.frombuffer(b"".join(encoded), np.uint8)
        are: NDArray[np.bool_] = np.logical_and.reduceat(is_same, starts) & is_as_long
        return are


def _texts(runs: Sequence[Run]) -> tuple[bytes, array[int]]:
    """All keys, one after the other, and where that of each location begins and the next one does.

    Where there is no row, nothing lies between.
    """
    last = runs[-1][0].number if runs else -1
    begins, texts, size, at = np.zeros(((last + 1) << ROW_BITS) + 1, np.int64), [], 0, 0
    for segment, hashes in runs:
        ends, first = segment.key_ends(len(hashes)), segment.number << ROW_BITS
        texts.append(segment.key_text(int(ends[0]), int(ends[-1])))
        begins[at:first] = size
        at = first + len(ends)
        begins[first:at] = ends - ends[0] + size
        size += len(texts[-1])
    begins[at:] = size
    return b"".join(texts), array("q", begins.tobytes())
