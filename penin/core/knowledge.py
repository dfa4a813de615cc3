"""`KnowledgeBase`: key -> artifact, read as a mapping, changed only by `apply`.

The vectors lie in columns of segments (`penin.core.segments`); in which segment and row a key is
says `penin.core.key_map`. Nothing here takes time that grows with the number of vectors, but for
`load`, and `view`, which copies one byte a row. Artifacts are made when they are asked for.

Order: columns in the order of their first vector (one that became empty begins anew), and in a
column the vectors in the order of their last change. It depends on the transitions alone: not on
reclaims, and not on snapshots, which hold the vectors in this order.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, MutableMapping, Sequence, ValuesView
from typing import Final, NoReturn

import msgspec

from penin.core.artifacts import NumericVectorArtifact
from penin.core.blocks import Block
from penin.core.columns import Column
from penin.core.key_index import hashes_of
from penin.core.key_map import ROW_MASK, KeyMap
from penin.core.knowledge_view import KnowledgeView
from penin.core.mapped import SealedSegment
from penin.core.reclaim import ReclaimPlan, neighbours
from penin.core.segments import ROW_BITS, Kind, MemorySegment, Segment

_NO_METADATA: Final = b"{}"


class KnowledgeBase(MutableMapping[str, NumericVectorArtifact]):
    """A mapping of key to artifact, which its reader cannot change.

    `penin.core.state` is the only caller of `put`, `extend` and `remove`, because a change that is
    not a transition would not survive. Iterating shows the moment at which it began. An artifact
    that was read stays what it is, and keeps the memory of its whole segment (at most 16 MiB):
    whoever keeps a few artifacts of many for long makes copies.
    """

    __slots__ = (
        "_columns",
        "_count",
        "_due",
        "_number",
        "_places",
        "_plan",
        "_segments",
        "_short",
    )

    def __init__(self) -> None:
        self._columns: dict[Kind, Column] = {}
        self._segments: dict[int, Segment] = {}
        self._places = KeyMap(self._segments)
        self._count = 0
        self._number = 0
        self._due: dict[int, Segment] = {}
        self._plan: ReclaimPlan | None = None
        self._short: dict[Kind, Column] = {}  # those that want a spare segment

    # -- reading ------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> NumericVectorArtifact:
        location = self._places.find(key)
        if location is None:
            raise KeyError(key)
        return self._segments[location >> ROW_BITS].artifact(location & ROW_MASK)

    def __contains__(self, key: object) -> bool:
        return self._places.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return self.view().keys()

    def items(self) -> ItemsView[str, NumericVectorArtifact]:
        return _Items(self)

    def values(self) -> ValuesView[NumericVectorArtifact]:
        return _Values(self)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<KnowledgeBase of {self._count} artifacts>"

    def seq_of(self, key: str) -> int:
        """The seq of the last change of a key that is there; 0 for one that is not."""
        location = self._places.find(key)
        if location is None:
            return 0
        return self._segments[location >> ROW_BITS].seq(location & ROW_MASK)

    def find(self, key: str) -> tuple[Segment, int] | None:
        """The segment and row of a key, for reading its artifact in another thread."""
        location = self._places.find(key)
        if location is None:
            return None
        return self._segments[location >> ROW_BITS], location & ROW_MASK

    def columns(self) -> list[Column]:
        """All of it, kind by kind, as it is until the next change."""
        return list(self._columns.values())

    def view(self) -> KnowledgeView:
        """All of it as it is now; later changes do not reach it. Takes one byte a row."""
        blocks = [
            Block(segment)
            for column in self._columns.values()
            for segment in column.segments
            if segment.live_count
        ]
        return KnowledgeView(blocks, self._count)

    def _refuse(self, *_: object) -> NoReturn:
        msg = "the knowledge base is changed by transitions only: add_knowledge, remove_knowledge"
        raise TypeError(msg)

    __setitem__ = __delitem__ = _refuse
    # Those of a mapping would pass silently where they find nothing to do.
    clear = update = _refuse  # type: ignore[assignment]  # whatever the arguments

    # -- changing -----------------------------------------------------------------------------

    def put(
        self,
        key: str,
        dtype: str,
        data: bytes | memoryview,
        metadata: bytes | msgspec.Raw,
        seq: int,
    ) -> None:
        """Set `key` to the artifact of these parts, changed at `seq`; all of them are copied."""
        kind = dtype, len(data)
        column = self._columns.get(kind) or self._new_column(kind)
        segment = column.tail or self._new_segment(column)
        row = segment.append(key.encode(), data, metadata, seq)
        self._point(key, (segment.number << ROW_BITS) + row)
        self._note_grown(column, segment)

    def extend(
        self,
        keys: Sequence[str],
        dtype: str,
        data: bytes,
        metadata: Sequence[bytes | msgspec.Raw] | None,
        seqs: Sequence[int],
    ) -> None:
        """Set each key to one row of the matrix `data`, changed at its seq, as `put` would in turn.

        The numbers are copied as blocks; `metadata` None means that no row has any.
        """
        if metadata is None:
            metadata = [_NO_METADATA] * len(keys)
        row_bytes = len(data) // len(keys)
        rows = memoryview(data)
        kind = dtype, row_bytes
        column = self._columns.get(kind) or self._new_column(kind)
        start = 0
        while start < len(keys):
            segment = column.tail or self._new_segment(column)
            stop = min(len(keys), start + segment.room)
            numbers = rows[start * row_bytes : stop * row_bytes]
            encoded = [key.encode() for key in keys[start:stop]]
            row = segment.extend(encoded, numbers, metadata[start:stop], seqs[start:stop])
            self._point_all(keys[start:stop], encoded, (segment.number << ROW_BITS) + row)
            self._note_grown(column, segment)
            start = stop

    def extend_sealed(
        self,
        keys: Sequence[str],
        segment: SealedSegment,
        metadata: Sequence[bytes | msgspec.Raw] | None,
        seq: int,
    ) -> None:
        """Set each key to one row of `segment`, which is new and has the numbers already.

        At most ROWS_MAX keys.
        """
        kind = segment.kind
        column = self._columns.get(kind) or self._new_column(kind)
        tail = column.tail
        if tail is not None:  # what comes later stands behind
            tail.is_sealed = True
            column.tail = None
            self._settle(tail)
            column = self._columns.get(kind) or self._new_column(kind)
        column.segments.append(segment)
        self._number_segment(segment)
        encoded = [key.encode() for key in keys]
        segment.fill(encoded, metadata or [_NO_METADATA] * len(keys), [seq] * len(keys))
        self._point_all(keys, encoded, segment.number << ROW_BITS)
        self._settle(segment)

    def load(self, segments: Iterable[tuple[Segment, list[str]]]) -> bool:
        """Take in sealed segments whose rows are all live, each with its keys.

        Into a knowledge base that is empty and new. Returns False, and it is spoiled, where a key
        is there twice.
        """
        runs = []
        for segment, keys in segments:
            column = self._columns.get(segment.kind) or self._new_column(segment.kind)
            column.segments.append(segment)
            self._number_segment(segment)
            runs.append((segment, hashes_of(keys)))
            self._count += len(keys)
        return self._places.load(runs)

    def restore_seq(self, key: str, seq: int) -> None:
        """Set the seq of a key that `put` loaded; in a file the seqs come after the vectors.

        Raises KeyError for a key that is not there.
        """
        location = self._places.find(key)
        if location is None:
            raise KeyError(key)
        segment = self._segments[location >> ROW_BITS]
        assert isinstance(segment, MemorySegment)  # what `put` makes
        segment.restore_seq(location & ROW_MASK, seq)

    def remove(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        location = self._places.pop(key)
        if location is None:
            return False
        self._count -= 1
        self._kill(location)
        return True

    def _point(self, key: str, location: int) -> None:
        """Let `key` be the row at `location`, which is live already.

        So a column with one vector, which is replaced, never becomes empty and keeps its place.
        """
        replaced = self._places.put(key, location)
        if replaced is None:
            self._count += 1
        else:
            self._kill(replaced)

    def _point_all(self, keys: Sequence[str], encoded: Sequence[bytes], first: int) -> None:
        """The same of several keys, and the locations from `first` on."""
        replaced = self._places.put_all(keys, encoded, first)
        self._count += len(keys) - len(replaced)
        for location in replaced:
            self._kill(location)

    def _kill(self, location: int) -> None:
        """Take the row out of the live ones; no key points to it any more."""
        segment = self._segments[location >> ROW_BITS]
        segment.live[location & ROW_MASK] = 0
        segment.live_count -= 1
        if segment.is_sealed:
            if segment.is_mostly_dead:
                self._settle(segment)
        elif not segment.live_count:
            self._drop_column_if_empty(segment.kind)

    def _new_column(self, kind: Kind) -> Column:
        column = self._columns[kind] = Column(kind)
        return column

    def _new_segment(self, column: Column) -> MemorySegment:
        segment = column.tail = column.new_segment()
        column.segments.append(segment)
        self._number_segment(segment)
        return segment

    def _number_segment(self, segment: Segment) -> None:
        segment.number = self._number
        self._segments[self._number] = segment
        self._number += 1

    def _note_grown(self, column: Column, tail: MemorySegment) -> None:
        """The tail of a column has taken rows."""
        if tail.is_sealed:
            column.tail = None
            self._settle(tail)
        elif column.wants_spare:
            self._short[column.kind] = column

    def _settle(self, segment: Segment) -> None:
        """Drop a sealed segment that is dead, and note one that is due to be reclaimed."""
        if not segment.live_count:
            self._columns[segment.kind].segments.remove(segment)
            self._forget(segment)
            self._drop_column_if_empty(segment.kind)
        elif segment.is_mostly_dead:
            self._due[segment.number] = segment

    def _drop_column_if_empty(self, kind: Kind) -> None:
        segments = self._columns[kind].segments
        # Sealed ones that are dead are gone, so this ends with the first.
        if not any(segment.live_count for segment in segments):
            for tail in segments:
                self._forget(tail)
            del self._columns[kind]
            self._short.pop(kind, None)

    def _forget(self, segment: Segment) -> None:
        del self._segments[segment.number]
        self._due.pop(segment.number, None)
        self._places.forget(segment.number)

    # -- memory that is ready before it is needed -----------------------------------------------

    @property
    def is_spare_due(self) -> bool:
        """Whether `spare_due` has something to be made ready."""
        return bool(self._short)

    def spare_due(self) -> MemorySegment | None:
        """A segment that will be wanted soon: for `touch` in a thread, and then `take_spare`."""
        while self._short:
            kind, column = self._short.popitem()
            if column.wants_spare:
                return MemorySegment(kind, column.capacity_max)
        return None

    def take_spare(self, spare: MemorySegment) -> None:
        """Let a segment be what its column goes on with, unless that has one or is gone."""
        column = self._columns.get(spare.kind)
        if column is not None and column.spare is None:
            column.spare = spare

    # -- reclaiming ---------------------------------------------------------------------------

    @property
    def is_reclaim_due(self) -> bool:
        """Whether `reclaim_plan` has anything to do."""
        return bool(self._due)

    def reclaim_plan(self) -> ReclaimPlan | None:
        """What is to be copied so that the space of dead rows comes free; None if nothing is due.

        A sealed segment is due when more than half of its rows are dead. Its neighbours are taken
        along as long as they have no more live rows than the plan so far, so that the segments of
        a column stay few (each copying at least doubles the smaller one); together at most half
        of ROWS_MAX rows and SEGMENT_BYTES_MAX bytes. The plan before this one is void.
        """
        segment = next(iter(self._due.values()), None)
        if segment is None:
            self._plan = None
        else:
            self._plan = ReclaimPlan(neighbours(self._columns[segment.kind].segments, segment))
        return self._plan

    def adopt(self, plan: ReclaimPlan) -> bool:
        """Let the copy of a plan take the place of what it copied; rows that died since are dead.

        False, and nothing is done, for a plan that is void: a later one was made, or it is of
        another knowledge base. Takes about 2 ms for 4,096 rows. What was copied is given back to
        the system when no view and no artifact refers to it.
        """
        if plan is not self._plan:
            return False
        self._plan = None
        copied = plan.copied
        # Those that died altogether are gone already.
        left = [each for each, _ in plan.sources if self._segments.get(each.number) is each]
        if not left:
            return True
        self._number_segment(copied)
        location = copied.number << ROW_BITS
        row = 0
        for segment, rows in plan.sources:
            for source in rows:
                if segment.live[source]:
                    # A live row is the one that its key points to.
                    key = plan.keys[row]
                    self._places.move(key, location + row)
                else:
                    copied.live[row] = 0
                    copied.live_count -= 1
                row += 1
        column = self._columns[copied.kind]
        at = column.segments.index(left[0])
        column.segments[at : at + len(left)] = [copied]
        for segment in left:
            self._forget(segment)
        self._settle(copied)
        return True


class _Items(ItemsView[str, NumericVectorArtifact]):
    _mapping: KnowledgeBase

    def __iter__(self) -> Iterator[tuple[str, NumericVectorArtifact]]:
        return self._mapping.view().items()


class _Values(ValuesView[NumericVectorArtifact]):
    _mapping: KnowledgeBase

    def __iter__(self) -> Iterator[NumericVectorArtifact]:
        return (artifact for _, artifact in self._mapping.view().items())
