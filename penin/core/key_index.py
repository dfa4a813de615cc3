"""Where keys are, of which all are known at once: a hash table that is made by sorting.

Dictionaries would take several times as long to fill, and hold an object for each key; this takes
12 to 24 bytes a key, and has none of the keys itself. The hash is that of `str`, as in a
dictionary: Python draws a key for it in each process, so nobody can make up names that collide.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_HASH_BITS: Final = 64
_HASH_MASK: Final = 2**_HASH_BITS - 1
_NOTHING: Final = np.uint64(_HASH_MASK)
"""What is in a place of the table that has no entry."""

Hashes = NDArray[np.uint64]


def hashes_of(keys: Sequence[str]) -> Hashes:
    """The hash of each key."""
    # In two's complement, as `hash(key) & _HASH_MASK` is.
    return np.fromiter(map(hash, keys), np.int64, len(keys)).view(np.uint64)


class KeyIndex:
    """Where each of some keys may be. It never changes.

    A location is an integer. Of a key it has the location and a part of the hash, so whoever asks
    compares the keys.

    An entry is a location, and above it as many of the uppermost bits of the hash as there is room
    for: 44 with a million keys. The table has the entries in their order. Each is at the place that
    the uppermost bits of its hash name, or at the first one behind that which is free; a third of
    the places are free at least.
    """

    __slots__ = ("_location_mask", "_shift", "_table")

    def __init__(self, runs: Sequence[tuple[int, Hashes]]) -> None:
        """Of each run, the location of its first key, and the hashes; the others follow it."""
        end = max((first + len(hashes) for first, hashes in runs), default=0)
        # No location has all bits of it, and so no entry is _NOTHING.
        self._location_mask = 2 ** end.bit_length() - 1
        entries = np.empty(sum(len(hashes) for _, hashes in runs), np.uint64)
        start = 0
        for first, hashes in runs:
            part = entries[start : start + len(hashes)]
            np.bitwise_and(hashes, np.uint64(_HASH_MASK ^ self._location_mask), out=part)
            part |= np.arange(first, first + len(hashes), dtype=np.uint64)
            start += len(hashes)
        entries.sort()
        place_bits = max(1, (len(entries) * 3 // 2).bit_length())
        assert place_bits + end.bit_length() <= _HASH_BITS, "so many keys are in no file"
        self._shift = _HASH_BITS - place_bits
        numbers = np.arange(len(entries))
        # How far each is behind its number among the entries: as far as the one before, at least.
        places = (entries >> np.uint64(self._shift)).view(np.int64)
        places -= numbers
        np.maximum.accumulate(places, out=places)
        places += numbers
        last = int(places[-1]) if len(places) else 0
        table = np.full(max(2**place_bits, last + 1) + 1, _NOTHING)
        table[places] = entries
        # Its items are integers of Python, and sooner at hand than those of a memoryview.
        self._table = array("Q", table.tobytes())

    def find(self, key: Hashable) -> list[int]:
        """The locations at which `key` may be: nearly always its own alone, or none."""
        table, mask = self._table, self._location_mask
        wanted = hash(key) & _HASH_MASK
        place = wanted >> self._shift
        wanted |= mask
        entry = table[place]
        found = []
        while entry < wanted:
            if entry | mask == wanted:
                found.append(entry & mask)
            place += 1
            entry = table[place]
        return found

    def alike(self) -> list[int]:
        """The locations of those keys for which `find` has more than one.

        What is there twice is among them, and hardly anything else.
        """
        table = np.frombuffer(self._table, np.uint64)
        entries = table[table != _NOTHING]
        hashes = entries | np.uint64(self._location_mask)
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        alike = entries[np.union1d(same, same + 1)]
        locations: list[int] = (alike & np.uint64(self._location_mask)).tolist()
        return locations
