"""What goes by a name in a state, whatever kind of thing it is."""

from __future__ import annotations

import msgspec

from penin.core.lookup import Kind, kinds_of, near_names
from penin.core.state import State


class Found(msgspec.Struct, frozen=True):
    """What there is to say of a name before the thing itself is read.

    `seqs` has the seq of the last change of each kind that is there, None where none is known (of
    a file without seqs). `near` are names that are nearly this one, where nothing has it. `at` is
    the time of the last commit in the state.
    """

    name: str
    kinds: list[Kind]
    near: list[str]
    seqs: dict[Kind, int | None]
    store: str | None
    store_seq: int
    at: str | None
    document_bytes: int = 0
    history_size: int = 0
    history_maxlen: int | None = None


def found_in(state: State, name: str, *, store: str | None, at: str | None) -> Found:
    """What goes by `name` in a state of a store."""
    kinds = kinds_of(state, name)
    history = state.histories.get(name)
    seqs: dict[Kind, int | None] = {
        "artifact": state.knowledge_base.seq_of(name) if "artifact" in kinds else None,
        "document": state.document_seqs.get(name),
        "history": state.history_seqs.get(name),
    }
    return Found(
        name=name,
        kinds=kinds,
        near=[] if kinds else near_names(state, name),
        seqs={kind: seqs[kind] or None for kind in kinds},  # 0 for what came without seqs
        store=store,
        store_seq=state.seq,
        at=at,
        document_bytes=len(state.documents.encoded.get(name, b"")),
        history_size=0 if history is None else len(history),
        history_maxlen=None if history is None else history.maxlen,
    )
