"""Approximate recall: results out of the candidates of an index, and of what is newer than it.

A candidate counts only while its key still has the seq of the change that was indexed; its score is
computed as `penin.core.nearest` does; and what changed after the seq that the index covers is
searched exactly. So removed keys are never found and new ones always, scores and the order of equal
ones are those of the exact search, and all that an index can do is miss some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from penin.core.knowledge_view import KnowledgeView
from penin.core.nearest import Found, Neighbour, Query, fits, merits_of, place_of


class Place(NamedTuple):
    """Where the key of a candidate lies now: number of the segment and row; and the indexed seq."""

    segment: int
    row: int
    seq: int


class Covered(msgspec.Struct, frozen=True):
    """What an index found: the seq that it covers, and the places of its candidates.

    `is_all` says that it has no others.
    """

    seq: int
    places: Sequence[Place]
    is_all: bool


class Answer(msgspec.Struct, frozen=True):
    """The nearest; how many vectors were searched exactly, and how many there are.

    Both counts are of vectors of the dimension of the query.
    """

    neighbours: list[Neighbour]
    searched_count: int
    live_count: int


def nearest_with(view: KnowledgeView, query: Query, covered: Covered | None) -> Answer | None:
    """The nearest of what an index found, and of what it does not cover; with None, of everything.

    `covered` has places in `view`. None where fewer than `k` of them count and fit `where`, and the
    index may have others. Raises as `nearest` does.
    """
    found = Found(query, list(view.blocks()))
    if covered is None:
        found.search()
    else:
        if _add(found, covered) < query.k and not covered.is_all:
            return None
        found.search(after_seq=covered.seq)
    live_count = sum(
        block.live_count for block in found.blocks if block.dimension == len(query.vector)
    )
    return Answer(found.neighbours(), found.searched_count, live_count)


def _add(found: Found, covered: Covered) -> int:
    """Add the places that count; how many that is."""
    where = found.query.where
    numbers = {block.number: number for number, block in enumerate(found.blocks)}
    vectors, places = [], []
    for segment, row, seq in covered.places:
        number = numbers[segment]
        block = found.blocks[number]
        # Beyond what is covered it would be found twice.
        if block.seq(row) != seq or seq > covered.seq:
            continue
        if where and not fits(block.metadata(row), where):
            continue
        vectors.append(block.vector(row))
        places.append(place_of(number, row))
    if places:
        rows = np.arange(len(places))
        merits = merits_of(np.stack(vectors), rows, found.query)
        found.add(merits, np.array(places, np.int64))
    return len(places)
