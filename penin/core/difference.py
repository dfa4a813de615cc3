"""What differs between two states, name by name. Pure, and linear in what the states hold.

Compared are contents, bit for bit: of an artifact the dtype, the bytes of its numbers and its
metadata; of a document its value; of a history its bound and its items in order. Two values are
the same where they have the same JSON, with the tags of a snapshot and in the order of their
members: 1 is not 1.0, 0.0 is not -0.0, and NaN is NaN. Not compared is when something was changed:
what was written again as it was is the same. Nor is the order of keys, which a snapshot keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from penin.core import values
from penin.core.blocks import Block
from penin.core.histories import History
from penin.core.knowledge import KnowledgeBase
from penin.core.segments import Segment
from penin.core.state import SCORE_HISTORY, State

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class NameDifference(msgspec.Struct, frozen=True):
    """The names of what is only in the second state, in both but not the same, only in the first.

    In the order that they have in their state.
    """

    added: list[str]
    changed: list[str]
    removed: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not (self.added or self.changed or self.removed)


class HistoryDifference(msgspec.Struct, frozen=True):
    """How a history got from one state to the other, as far as its items tell.

    The longest end of the first that is the beginning of the second was kept. What is before it was
    dropped, what is behind it appended. What was appended and dropped in between is in neither.
    A bound is None where all items are kept, and where the history is not there.
    """

    change: Literal["added", "changed", "removed"]
    size_before: int
    size_after: int
    dropped: int
    appended: int
    maxlen_before: int | None
    maxlen_after: int | None


class BoundDifference(msgspec.Struct, frozen=True):
    """Another bound of histories that are made from now on (None: no bound)."""

    before: int | None
    after: int | None


class Difference(msgspec.Struct, frozen=True):
    """What differs; `histories` has those only that differ."""

    knowledge_base: NameDifference
    documents: NameDifference
    histories: dict[str, HistoryDifference]
    history_maxlen: BoundDifference | None

    @property
    def is_empty(self) -> bool:
        """Whether the two states hold the same."""
        return (
            self.knowledge_base.is_empty
            and self.documents.is_empty
            and not self.histories
            and self.history_maxlen is None
        )


def difference(before: State, after: State) -> Difference:
    """What `after` has that `before` has not, and the reverse.

    Raises CorruptionError where a state out of a mapped snapshot turns out to be damaged.
    """
    histories = {
        name: of_histories(name, before.histories.get(name), after.histories.get(name))
        for name in before.histories | after.histories
    }
    bounds = before.history_maxlen, after.history_maxlen
    return Difference(
        _of_knowledge(before.knowledge_base, after.knowledge_base),
        of_documents(before.documents.encoded, after.documents.encoded),
        {name: found for name, found in histories.items() if found is not None},
        None if bounds[0] == bounds[1] else BoundDifference(*bounds),
    )


# -- knowledge base and documents -------------------------------------------------------------


def _of_knowledge(before: KnowledgeBase, after: KnowledgeBase) -> NameDifference:
    added, changed = [], []
    for block in after.view().blocks():
        for row in block.rows():
            key = block.key(row)
            there = before.find(key)
            if there is None:
                added.append(key)
            elif not _is_same_artifact(block, row, *there):
                changed.append(key)
    # Where as many are in both as the first has, none was removed: no second look at all keys.
    in_both = len(after) - len(added)
    removed = [] if in_both == len(before) else [key for key in before if key not in after]
    return NameDifference(added, changed, removed)


def _is_same_artifact(block: Block, row: int, segment: Segment, segment_row: int) -> bool:
    if block.kind != segment.kind:
        return False
    _, numbers, metadata = block.artifact(row).parts
    _, other_numbers, other_metadata = segment.artifact(segment_row).parts
    return numbers == other_numbers and _is_same(metadata, other_metadata)


def of_documents(before: dict[str, bytes], after: dict[str, bytes]) -> NameDifference:
    """The same of documents as they are encoded."""
    return NameDifference(
        [name for name in after if name not in before],
        [name for name in after if name in before and not _is_same(before[name], after[name])],
        [name for name in before if name not in after],
    )


def _is_same(value: bytes, other: bytes) -> bool:
    return value == other or canonical(value) == canonical(other)


def canonical(value: bytes | float) -> bytes:
    """The same bytes for the same value, however it is kept: long integers have two ways."""
    if not isinstance(value, bytes):
        return values.encode_value(value, "")
    if values.MARK_BYTES in value or values.has_long_integer(value):
        return values.encode_value(values.decode_value(value), "")
    return _encode(_decode(value))


# -- histories --------------------------------------------------------------------------------


def of_histories(
    name: str, before: History | None, after: History | None
) -> HistoryDifference | None:
    """The same of one history; None where it is the same in both."""
    old = [] if before is None else list(before.kept())
    new = [] if after is None else list(after.kept())
    kept = _kept(name, old, new)
    bounds = (
        None if before is None else before.maxlen,
        None if after is None else after.maxlen,
    )
    change: Literal["added", "changed", "removed"] = "changed"
    if before is None:
        change = "added"
    elif after is None:
        change = "removed"
    elif kept == len(old) == len(new) and bounds[0] == bounds[1]:
        return None
    return HistoryDifference(change, len(old), len(new), len(old) - kept, len(new) - kept, *bounds)


def _kept(name: str, old: list[Any], new: list[Any]) -> int:
    """How many items the longest end of `old` has that is the beginning of `new`."""
    # Scores are numbers, of which equal ones need not be the same; the others are bytes.
    if name != SCORE_HISTORY and old == new:
        return len(old)
    size = min(len(old), len(new))
    old_end = [canonical(item) for item in old[len(old) - size :]]
    return overlap(old_end, [canonical(item) for item in new[:size]])


def overlap(first: Sequence[bytes], second: Sequence[bytes]) -> int:
    """The length of the longest end of `first` that is the beginning of `second`; both as long.

    By Knuth, Morris and Pratt: linear also where items repeat.
    """
    borders: list[int] = []  # of each beginning of `second`, the longest end that begins it too
    for index, item in enumerate(second):
        length = borders[-1] if borders else 0
        while length and second[length] != item:
            length = borders[length - 1]
        borders.append(length + 1 if index and second[length] == item else 0)
    length = 0
    for item in first:
        while length and second[length] != item:
            length = borders[length - 1]
        if second[length] == item:
            length += 1
    return length
