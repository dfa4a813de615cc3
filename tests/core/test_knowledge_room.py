"""What fits into a bound of the knowledge base, and which keys make room for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, door
from penin.core.knowledge_room import EXTRA_MAX, KnowledgeRoom, frees_space, oldest
from penin.core.state import State
from penin.core.transitions import Message


def put(key: str, dimension: int = 1) -> Message:
    return door.add_knowledge(key, NumericVectorArtifact([0.5] * dimension))


def state_of(*messages: Message) -> State:
    state = State()
    for message in messages:
        state.apply(message.body, state.seq + 1)
    return state


def test_the_oldest_are_those_whose_last_change_is_the_oldest_whatever_their_dimension() -> None:
    state = state_of(put("a", 2), put("b"), put("c", 2), put("d"), put("a", 2), put("b", 3))
    assert list(oldest(state.knowledge_base)) == ["c", "d", "a", "b"]


def test_what_puts_nothing_new_fits_and_what_grows_beyond_does_not() -> None:
    room = KnowledgeRoom(state_of(put("a"), put("b")).knowledge_base, 2)
    assert room.admit(put("a").body, evicts=False) == []
    assert room.admit(put("c").body, evicts=False) is None
    assert room.admit(door.remove_knowledge("b").body, evicts=False) == []
    assert room.admit(put("c").body, evicts=False) == []
    assert room.admit(put("b").body, evicts=False) is None
    swap = door.transaction([door.remove_knowledge("a"), put("b")])
    assert room.admit(swap.body, evicts=False) == []
    assert room.admit(door.add_score(1.0).body, evicts=False) == []
    assert room.size == 2


def test_room_is_made_by_the_oldest_and_never_by_what_the_message_is_about() -> None:
    room = KnowledgeRoom(state_of(put("a"), put("b"), put("c")).knowledge_base, 3)
    assert room.admit(door.transaction([put("a"), put("d")]).body, evicts=True) == ["b"]
    assert room.admit(put("e").body, evicts=True) == ["c"]
    assert room.admit(put("f").body, evicts=True) == ["a"]
    (bulk,) = door.extend_knowledge(["x", "y", "f"], np.ones((3, 1)))
    assert room.admit(bulk.body, evicts=True) == ["d", "e"]
    (bulk,) = door.extend_knowledge(["1", "2", "3", "4"], np.ones((4, 1)))
    assert room.admit(bulk.body, evicts=True) is None
    assert room.size == 3


def test_what_a_condition_may_keep_from_being_removed_makes_no_room() -> None:
    room = KnowledgeRoom(state_of(put("a")).knowledge_base, 1)
    swap = [door.remove_knowledge("a"), put("b"), door.put_document("d", 1, 7)]
    assert room.admit(door.transaction(swap).body, evicts=False) is None
    assert room.admit(door.transaction(swap[:2]).body, evicts=False) == []


def test_a_bound_that_became_much_smaller_is_reached_in_steps() -> None:
    keys = [str(number) for number in range(3 * EXTRA_MAX)]
    (bulk,) = door.extend_knowledge(keys, np.ones((len(keys), 1)))
    room = KnowledgeRoom(state_of(bulk).knowledge_base, 10)
    sizes = []
    for key in "abcd":
        evicted = room.admit(put(key).body, evicts=True)
        assert evicted is not None
        assert len(evicted) <= 1 + EXTRA_MAX
        sizes.append(room.size)
    assert sizes == [2 * EXTRA_MAX, EXTRA_MAX, 10, 10]


def test_what_only_removes_frees_space() -> None:
    removals = [
        door.remove_knowledge("a"),
        door.remove_document("d"),
        door.set_history_maxlen(1),
    ]
    assert all(frees_space(each.body) for each in [*removals, door.transaction(removals)])
    assert not frees_space(door.add_score(1.0).body)
    assert not frees_space(door.transaction([*removals, door.add_score(1.0)]).body)


few_keys = st.sampled_from("abcdef")
changes = st.one_of(
    st.builds(put, few_keys, st.sampled_from([1, 2])),
    st.builds(door.remove_knowledge, few_keys),
    st.lists(
        st.one_of(st.builds(put, few_keys), st.builds(door.remove_knowledge, few_keys)),
        min_size=1,
        max_size=4,
    ).map(door.transaction),
)


@given(
    st.lists(changes, max_size=6),
    st.lists(st.lists(changes, min_size=1, max_size=5), max_size=4),
    st.integers(1, 4),
)
def test_what_is_admitted_and_what_is_removed_for_it_keep_the_bound(
    before: list[Message], parts: list[list[Message]], size_max: int
) -> None:
    state = state_of(*before)
    room = KnowledgeRoom(state.knowledge_base, size_max)
    for part in parts:
        bodies = []
        for message in part:
            evicted = room.admit(message.body, evicts=True)
            if evicted is not None:
                bodies += [door.remove_knowledge(key).body for key in evicted]
                bodies.append(message.body)
        size = len(state.knowledge_base)
        for body in bodies:
            state.apply(body, state.seq + 1)
        assert len(state.knowledge_base) == room.size
        assert room.size <= max(size, size_max)
        room.renew()
