"""`KeyMap`: in which segment and row each key is.

Keys that were put are in dictionaries, and those that were loaded in an index that never changes
(`penin.core.key_index`). What the dictionaries say counts; of a key that they do not have, its row
among those loaded counts as long as it is live: by replacing or removing the key it dies, by moving
it the segment goes, and neither ever comes back.

A location is a segment number and a row as one integer: a dictionary of str and int alone is
nothing that the garbage collector looks into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeGuard

from penin.core.key_index import KeyIndex, Run
from penin.core.segments import ROW_BITS, Segment

ROW_MASK: Final = 2**ROW_BITS - 1
_SHARDS: Final = 257
"""There are this many dictionaries, because one with a million keys holds the loop for tens of
milliseconds when it grows. A prime: by the low bits of the hash, which a dictionary places its keys
by, all keys of a shard would collide in it."""


class KeyMap:
    """Key -> location. `segments` are those of the knowledge base, by number."""

    __slots__ = ("_loaded", "_loaded_left", "_segments", "_shards")

    def __init__(self, segments: dict[int, Segment]) -> None:
        self._segments = segments
        self._shards: list[dict[str, int]] = [{} for _ in range(_SHARDS)]
        self._loaded: KeyIndex | None = None
        self._loaded_left: set[int] = set()

    def find(self, key: Any) -> int | None:
        """The location of a key; None where it is not there."""
        location: int | None = self._shards[hash(key) % _SHARDS].get(key)
        if location is None and self._loaded is not None:
            loaded = self._loaded.find(key)
            return loaded if self._is_live(loaded) else None
        return location

    def put(self, key: str, location: int) -> int | None:
        """Let a key be at `location`; where it was before."""
        before = self.find(key)
        self._shards[hash(key) % _SHARDS][key] = location
        return before

    def put_all(self, keys: Sequence[str], encoded: Sequence[bytes], first: int) -> list[int]:
        """Let keys be at the locations from `first` on; where those were that were there before.

        As `put` would in turn, and faster. `encoded` are the keys in UTF-8.
        """
        shards, before = self._shards, []
        unknown: list[int] = []  # the numbers of keys that no dictionary had
        for number, key in enumerate(keys):
            shard = shards[hash(key) % _SHARDS]
            location = shard.get(key)
            shard[key] = first + number
            if location is None:
                unknown.append(number)
            else:
                before.append(location)
        if unknown and self._loaded is not None:
            found = self._loaded.find_all(
                [keys[number] for number in unknown], [encoded[number] for number in unknown]
            )
            before += filter(self._is_live, found)
        return before

    def move(self, key: str, location: int) -> None:
        """Let a key, which is there, be at another location."""
        self._shards[hash(key) % _SHARDS][key] = location

    def pop(self, key: str) -> int | None:
        """Forget a key; where it was. The row there must die now."""
        location = self.find(key)
        if location is not None:
            self._shards[hash(key) % _SHARDS].pop(key, None)
        return location

    def load(self, runs: Sequence[Run]) -> bool:
        """Let keys be where they were loaded; whether no key is there twice.

        Into a map that is empty and new, once.
        """
        self._loaded = KeyIndex(runs)
        self._loaded_left = set(self._segments)
        return not self._loaded.has_twice()

    def forget(self, number: int) -> None:
        """A segment is gone, and with the last one that was loaded the index."""
        self._loaded_left.discard(number)
        if not self._loaded_left:
            self._loaded = None

    def _is_live(self, loaded: int | None) -> TypeGuard[int]:
        """Whether there is a row at this location, and it is live."""
        if loaded is None:
            return False
        segment = self._segments.get(loaded >> ROW_BITS)
        return segment is not None and bool(segment.live[loaded & ROW_MASK])
