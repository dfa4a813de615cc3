"""Finding by name what a state holds, whatever kind it is, and what is called nearly so."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain, islice
from typing import Final, Literal

from penin.core.state import State

Kind = Literal["artifact", "document", "history"]
KINDS: Final[tuple[Kind, ...]] = ("artifact", "document", "history")
NEAR_MAX: Final = 3
_CANDIDATES_MAX: Final = 2_000
"""How many names are compared letter by letter: some tens of milliseconds."""


def kinds_of(state: State, name: str) -> list[Kind]:
    """Which kinds of things have this name, in the order of KINDS."""
    there = (
        name in state.knowledge_base,
        name in state.documents,
        name in state.histories,
    )
    return [kind for kind, is_there in zip(KINDS, there, strict=True) if is_there]


def near_names(state: State, name: str) -> list[str]:
    """Up to NEAR_MAX names that are nearly `name`, the nearest first.

    All documents and histories are compared, and of the keys those that begin or end as half of
    `name` does: a single slip leaves one half as it was. Of very many of these, only some are.
    """
    folded = name.casefold()
    half = len(folded) // 2
    beginning, end = folded[:half], folded[half:]
    keys = (
        key
        for key in state.knowledge_base
        if (other := key.casefold()).endswith(end) or (half and other.startswith(beginning))
    )
    names = chain(state.documents, state.histories, keys)
    candidates: dict[str, str] = {}
    for candidate in islice(names, _CANDIDATES_MAX):
        candidates.setdefault(candidate.casefold(), candidate)
    return [candidates[near] for near in get_close_matches(folded, candidates, NEAR_MAX)]
