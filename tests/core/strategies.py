"""Hypothesis strategies of values, artifacts and calls, and what "exactly equal" means.

Shared by every test that needs an arbitrary state. All that these strategies make passes the door.
"""

from __future__ import annotations

import copy
import math
import re
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, door
from penin.core.migration import Draft, Migration
from penin.core.transitions import ExtendKnowledge, Message

INTEGER_BITS_MAX = 4096
INTEGER_MAX = 2**INTEGER_BITS_MAX - 1

VECTOR_DTYPES = (
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)


# -- exact equality ----------------------------------------------------------------------------


def exactly_equal(left: Any, right: Any) -> bool:
    """Equal down to the type, the sign of a zero, the bound of a deque and the dtype of a vector.

    NaN equals NaN. A read-only deque equals a plain one: the kind of container counts, not its
    class. The order of a mapping's keys does not count.
    """
    if isinstance(left, deque) or isinstance(right, deque):
        return _equal_deques(left, right)
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        return _equal_mappings(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(exactly_equal, left, right))
    if isinstance(left, NumericVectorArtifact):
        return (
            left.dtype == right.dtype
            and left.array.tobytes() == right.array.tobytes()
            and exactly_equal(left.metadata, right.metadata)
        )
    return bool(left == right)


def _equal_deques(left: Any, right: Any) -> bool:
    if not (isinstance(left, deque) and isinstance(right, deque)):
        return False
    return left.maxlen == right.maxlen and exactly_equal(list(left), list(right))


def _equal_mappings(left: Any, right: Any) -> bool:
    if not (isinstance(left, Mapping) and isinstance(right, Mapping)):
        return False
    return left.keys() == right.keys() and all(exactly_equal(left[k], right[k]) for k in left)


# -- scalars -----------------------------------------------------------------------------------


def texts(*, min_size: int = 0, max_size: int = 12) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can hold: all of Unicode but lone surrogates, control characters too."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=max_size)


def keys() -> st.SearchStrategy[str]:
    """Keys and names; from a small set half of the time, so that they meet again."""
    unlike = texts(min_size=1).filter(lambda key: key != "__type__")  # the one reserved name
    return st.sampled_from(["a", "b", "c", "best"]) | unlike


def integers() -> st.SearchStrategy[int]:
    """Integers to 4,096 bits, with the edges where JSON libraries begin to round."""
    edges = [2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128 + 1, INTEGER_MAX]
    return (
        st.integers(-1000, 1000)
        | st.sampled_from(edges + [-edge for edge in edges])
        | st.integers(-INTEGER_MAX, INTEGER_MAX)
    )


def floats() -> st.SearchStrategy[float]:
    """Every float: infinities, NaN, both zeros, subnormals."""
    return st.floats() | st.sampled_from([-0.0, 5e-324, math.inf, -math.inf, math.nan])


def awkward_texts() -> st.SearchStrategy[str]:
    """Texts that look like what the formats use: marks, brackets, digits, line ends."""
    return st.sampled_from(
        [
            "__type__",
            '"__type__"',
            "deque",
            "float",
            "[{" * 40,
            "9" * 30,
            "\n",
            "\u2028",
            "\\",
            '"',
            "",
        ]
    )


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | integers() | floats() | texts(max_size=20) | awkward_texts()


# -- artifacts ---------------------------------------------------------------------------------


def arrays(dtypes: tuple[str, ...] = VECTOR_DTYPES) -> st.SearchStrategy[np.ndarray]:
    """One-dimensional finite arrays of 1 to 6 numbers, in each dtype."""
    return st.sampled_from(dtypes).flatmap(_arrays_of)


def _arrays_of(name: str) -> st.SearchStrategy[np.ndarray]:
    dtype = np.dtype(name)
    elements: st.SearchStrategy[Any]
    if dtype.kind == "f":
        elements = st.floats(
            width=32 if dtype.itemsize == 4 else 64, allow_nan=False, allow_infinity=False
        )
    else:
        bounds = np.iinfo(dtype)
        elements = st.integers(int(bounds.min), int(bounds.max))
    return st.lists(elements, min_size=1, max_size=6).map(lambda row: np.array(row, dtype=dtype))


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects as metadata: what plain JSON holds and no more."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts()
    )
    nested = st.recursive(plain, _lists_and_dictionaries, max_leaves=4)
    return st.dictionaries(dictionary_keys(), nested, max_size=3)


def artifacts(dtypes: tuple[str, ...] = VECTOR_DTYPES) -> st.SearchStrategy[NumericVectorArtifact]:
    return st.builds(NumericVectorArtifact, arrays(dtypes), metadata())


# -- values ------------------------------------------------------------------------------------


def dictionary_keys() -> st.SearchStrategy[str]:
    """Any text but the reserved key."""
    return (texts(max_size=6) | awkward_texts()).filter(lambda key: key != "__type__")


def _lists_and_dictionaries(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(dictionary_keys(), children, max_size=3)


def _deques(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda items, room: deque(items, maxlen=None if room is None else len(items) + room),
        st.lists(children, max_size=3),
        st.none() | st.integers(0, 2),
    )


def values(dtypes: tuple[str, ...] = VECTOR_DTYPES) -> st.SearchStrategy[Any]:
    """Values as the state keeps them: JSON, every float, large integers, artifacts, deques."""
    return st.recursive(
        scalars() | artifacts(dtypes),
        lambda children: _lists_and_dictionaries(children) | _deques(children),
        max_leaves=8,
    )


def tasks() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(dictionary_keys(), values(), max_size=3)


def matrices() -> st.SearchStrategy[np.ndarray]:
    """Two-dimensional finite arrays of 1 to 4 rows, in each dtype."""
    return st.tuples(arrays(), st.integers(1, 4)).map(
        lambda drawn: np.stack([np.roll(drawn[0], turn) for turn in range(drawn[1])])
    )


# -- calls -------------------------------------------------------------------------------------

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""The name of a writer of `OmegaMetaOrchestrator`, its arguments and its keyword arguments."""


def history_names() -> st.SearchStrategy[str]:
    return st.sampled_from(["losses", "events"])


def calls() -> st.SearchStrategy[Call]:
    """One call of one writer; every one of them passes the door, whatever the state is."""
    documents = st.sampled_from(["rng", "budget"])
    bounds = st.integers(1, 5)
    if_seqs = st.none() | st.integers(0, 12)
    return st.one_of(
        _call("add_knowledge", keys(), artifacts()),
        _call("remove_knowledge", keys()),
        matrices().flatmap(_extend_knowledge),
        _call("add_task", tasks()),
        _call("add_score", floats()),
        _call("extend_scores", st.lists(floats(), min_size=1, max_size=4)),
        _call("append_history", history_names(), values()),
        _call("put_document", documents, values()),
        st.builds(
            lambda name, value, if_seq: ("put_document", (name, value), {"if_seq": if_seq}),
            documents,
            values(),
            if_seqs,
        ),
        _call("remove_document", documents),
        _call("set_history_maxlen", bounds),
        _call("set_history_maxlen", bounds, history_names()),
    )


def _call(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.tuples(*arguments).map(lambda drawn: (name, drawn, {}))


def _extend_knowledge(matrix: np.ndarray) -> st.SearchStrategy[Call]:
    rows = len(matrix)
    return st.builds(
        lambda names, each: ("extend_knowledge", (names, matrix, each), {}),
        st.lists(keys(), min_size=rows, max_size=rows, unique=True),
        st.none() | st.lists(metadata(), min_size=rows, max_size=rows),
    )


# -- messages ----------------------------------------------------------------------------------


def messages_of(call: Call) -> list[Message]:
    """The messages that the door makes of a call; several only for a large bulk."""
    name, arguments, keywords = call
    made = getattr(door, name)(*arguments, **keywords)
    return [made] if isinstance(made, Message) else list(made)


def messages() -> st.SearchStrategy[Message]:
    """Single transitions and transactions of one to four."""
    single = calls().map(messages_of).map(lambda made: made[0])
    inside = single.filter(lambda made: type(made.body) is not ExtendKnowledge)
    return single | st.lists(inside, min_size=1, max_size=4).map(door.transaction)


def journalled() -> st.SearchStrategy[Message]:
    """The same as a journal may hold them: some with an id, which others may have as well.

    Versions that did not answer ids wrote them without a digest.
    """
    return _with_ids(messages())


def _with_ids(plain: st.SearchStrategy[Message]) -> st.SearchStrategy[Message]:
    ids = st.none() | st.sampled_from(["a", "b", 'ä" '])
    return st.builds(_stamped, plain, ids, st.booleans())


def _stamped(message: Message, identity: str | None, is_old: bool) -> Message:  # noqa: FBT001
    stamped = door.stamp(message, identity, None)
    if identity is None or not is_old:
        return stamped
    body = msgspec.structs.replace(stamped.body, digest=None)
    raw = re.sub(rb',"digest":"[0-9a-f]{64}"}$', b"}", stamped.raw)
    return Message(raw, body, message.count)


def runs() -> st.SearchStrategy[list[Message]]:
    """Some messages of one kind in a row, of those that are applied at once; or any other."""
    vectors = st.builds(door.add_knowledge, keys(), artifacts(("float32", "float64")))
    alike = [vectors, st.builds(door.add_task, tasks()), st.builds(door.add_score, floats())]
    return st.one_of(
        *(st.lists(_with_ids(each), min_size=1, max_size=5) for each in alike),
        st.lists(journalled(), min_size=1, max_size=1),
    )


# -- migrations --------------------------------------------------------------------------------


@st.composite
def migrations(draw: st.DrawFn) -> Migration:
    """A function that sets, removes and reorders what hypothesis draws."""
    documents = draw(st.dictionaries(keys(), values(), max_size=3))
    gone = draw(st.sets(st.sampled_from(["rng", "budget"])))
    new_tasks = draw(st.none() | st.lists(tasks(), max_size=3))
    scores = draw(st.none() | st.lists(floats(), max_size=3))
    items = draw(st.none() | st.lists(values(), max_size=3))
    extra = draw(st.none() | metadata())
    turned = draw(st.booleans())

    def migration(draft: Draft) -> None:
        draft.documents.update(copy.deepcopy(documents))
        for name in gone & set(draft.documents):
            del draft.documents[name]
        if new_tasks is not None:
            draft.tasks = copy.deepcopy(new_tasks)
        if scores is not None:
            draft.histories["score_history"] += scores
        if items is not None:
            draft.histories["losses"] = copy.deepcopy(items)
        if turned:
            draft.tasks.reverse()
        if extra is not None:
            draft.map_metadata(lambda key, each: {**each, **extra} if len(key) % 2 else each)

    return migration
