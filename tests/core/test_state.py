"""`State.apply`: total, deterministic, and the same live and after a recovery."""

from __future__ import annotations

import copy
import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, door
from penin.core.snapshot_reader import read_snapshot
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.core.transitions import Ack, Message, decode_messages
from tests.core import strategies
from tests.core.strategies import exactly_equal

ONE = NumericVectorArtifact([1.0])


def apply(state: State, *messages: Message) -> list[Ack]:
    """Apply messages as the actor does, each at the next seq."""
    return [state.apply(message.body, state.seq + 1) for message in messages]


def apply_raw(state: State, *messages: Message) -> list[Ack]:
    """Apply messages as recovery does, from their bytes in one commit."""
    raw = b"[" + b",".join(message.raw for message in messages) + b"]"
    return state.apply_all(decode_messages(raw), state.seq + 1)


def contents(state: State) -> dict[str, Any]:
    """All that a state is made of."""
    view = state.view()
    entries = list(view.knowledge_base.entries())
    return {
        "seq": view.seq,
        "history_maxlen": view.history_maxlen,
        "knowledge_base": {key: artifact for key, artifact, _ in entries},
        "order": [key for key, _, _ in entries],
        "seqs": {key: seq for key, _, seq in entries},
        "histories": {name: [each.maxlen, list(each)] for name, each in state.histories.items()},
        "documents": dict(state.documents),
        "history_seqs": view.history_seqs,
        "document_seqs": view.document_seqs,
        "message_ids": (view.message_ids_max, view.message_ids),
    }


def snapshot(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), Envelope()))


def from_snapshot(data: bytes) -> State:
    return read_snapshot([data], Path("state.json"))[0]


class TestReplay:
    @given(st.lists(strategies.journalled(), max_size=10))
    def test_the_live_state_equals_the_replayed_one_at_every_prefix(
        self, messages: list[Message]
    ) -> None:
        live, replayed = State(), State()

        for message in messages:
            assert apply(live, message) == apply_raw(replayed, message)
            assert exactly_equal(contents(live), contents(replayed))
            assert snapshot(live) == snapshot(replayed)

    @given(st.lists(strategies.journalled(), max_size=8))
    def test_one_commit_of_all_equals_a_commit_for_each(self, messages: list[Message]) -> None:
        each, together = State(), State()
        acks = [ack for message in messages for ack in apply_raw(each, message)]

        assert apply_raw(together, *messages) == acks
        assert exactly_equal(contents(each), contents(together))

    @given(st.lists(strategies.runs(), max_size=6), st.integers(1, 3))
    def test_applied_at_once_neighbours_of_one_kind_are_what_they_are_one_by_one(
        self, runs: list[list[Message]], maxlen: int
    ) -> None:
        each, together = State(maxlen), State(maxlen)
        messages = [message for run in runs for message in run]

        assert apply_raw(together, *messages) == apply(each, *messages)
        assert exactly_equal(contents(each), contents(together))
        live = State(maxlen)
        live.apply_all([message.body for message in messages], 1)
        assert snapshot(live) == snapshot(each)

    @given(st.lists(strategies.journalled(), max_size=8), st.data())
    def test_a_snapshot_at_any_prefix_and_the_messages_after_it_give_the_same_state(
        self, messages: list[Message], data: st.DataObject
    ) -> None:
        cut = data.draw(st.integers(0, len(messages)))
        live = State()
        apply(live, *messages[:cut])
        recovered = from_snapshot(snapshot(live))
        assert exactly_equal(contents(recovered), contents(live))

        assert apply(live, *messages[cut:]) == apply_raw(recovered, *messages[cut:])
        assert exactly_equal(contents(recovered), contents(live))

    @given(st.lists(strategies.journalled(), max_size=8), st.none() | st.integers(1, 3))
    def test_the_acknowledgements_number_the_transitions_without_a_hole(
        self, messages: list[Message], maxlen: int | None
    ) -> None:
        state, last = State(maxlen), 0
        for message in messages:
            (ack,) = apply(state, message)
            assert ack.seq == state.seq == last + message.count
            assert ack.result in {"ok", "missing", "conflict"}
            if ack.failed_seq is not None:
                assert ack.result == "conflict"
                assert last < ack.failed_seq <= ack.seq
            last = ack.seq

    @given(st.lists(strategies.journalled(), min_size=1, max_size=6))
    def test_applying_changes_no_message(self, messages: list[Message]) -> None:
        before = copy.deepcopy([message.body for message in messages])
        first, second = State(), State()
        apply(first, *messages)
        apply(second, *messages)

        assert exactly_equal(contents(first), contents(second))
        replayed = State()
        for body in before:
            replayed.apply(body, replayed.seq + 1)
        assert exactly_equal(contents(first), contents(replayed))

    @pytest.mark.parametrize(
        "content",
        [
            {"type": "add_task", "task": {"x": json.loads("[" * 200 + "]" * 200)}},
            {"type": "add_task", "task": {"x": "y" * (2**20 + 1)}},
            {"type": "add_task", "task": {"x": {"__type__": "int", "value": str(2**5000)}}},
            {"type": "append_history", "name": "n" * 5000, "value": 1},
            {"type": "remove_knowledge", "key": ""},
        ],
        ids=["deep", "large", "long integer", "long name", "empty key"],
    )
    def test_the_limits_of_the_door_do_not_hold_for_what_is_replayed(
        self, content: dict[str, Any]
    ) -> None:
        state = State()
        (body,) = decode_messages(json.dumps([content]).encode())

        assert state.apply(body, 1).seq == 1
        assert exactly_equal(contents(from_snapshot(snapshot(state))), contents(state))


class TestOrder:
    @pytest.mark.parametrize("first_seq", [0, 2, 3, -1])
    def test_a_message_that_is_not_the_next_one_is_a_bug_and_changes_nothing(
        self, first_seq: int
    ) -> None:
        state = State()

        with pytest.raises(AssertionError):
            state.apply(door.add_score(0.5).body, first_seq)
        with pytest.raises(AssertionError):
            state.apply_all([door.add_score(0.5).body], first_seq)
        assert state.seq == 0
        assert len(state.score_history) == 0


class TestTransactions:
    def test_all_of_it_takes_effect_and_the_last_seq_is_answered(self) -> None:
        state = State()
        (ack,) = apply(
            state,
            door.transaction(
                [door.add_score(0.5), door.put_document("d", 1), door.add_knowledge("k", ONE)]
            ),
        )

        assert ack == Ack(3, "ok")
        assert list(state.score_history) == [0.5]
        assert state.documents == {"d": 1}
        assert list(state.knowledge_base) == ["k"]

    def test_a_condition_that_fails_undoes_all_of_it_and_is_named(self) -> None:
        state = State()
        apply(state, door.put_document("d", "first"))
        (ack,) = apply(
            state,
            door.transaction(
                [
                    door.add_score(0.5),
                    door.put_document("d", "second", if_seq=0),
                    door.remove_knowledge("k"),
                    door.append_history("new", 1),
                ]
            ),
        )

        assert (ack.seq, ack.result, ack.failed_seq) == (5, "conflict", 3)
        assert state.seq == 5
        assert len(state.score_history) == 0
        assert state.documents == {"d": "first"}
        assert "new" not in state.histories

    def test_removing_what_is_not_there_does_not_abort(self) -> None:
        state = State()
        (ack,) = apply(
            state,
            door.transaction(
                [
                    door.remove_knowledge("absent"),
                    door.remove_document("absent"),
                    door.set_history_maxlen(5, "absent"),
                    door.add_score(0.5),
                ]
            ),
        )

        assert ack == Ack(4, "ok")
        assert list(state.score_history) == [0.5]

    def test_a_condition_sees_what_the_transaction_did_before_it(self) -> None:
        state = State()
        (ok,) = apply(
            state,
            door.transaction(
                [door.put_document("d", 1, if_seq=0), door.put_document("d", 2, if_seq=1)]
            ),
        )
        (conflict,) = apply(
            state,
            door.transaction(
                [door.put_document("e", 1, if_seq=0), door.put_document("e", 2, if_seq=0)]
            ),
        )
        (again,) = apply(
            state,
            door.transaction([door.remove_document("d"), door.put_document("d", 3, if_seq=0)]),
        )

        assert (ok.result, ok.seq) == ("ok", 2)
        assert (conflict.result, conflict.seq, conflict.failed_seq) == ("conflict", 4, 4)
        assert (again.result, again.seq) == ("ok", 6)
        assert state.documents == {"d": 3}
        assert apply(state, door.put_document("d", 4, if_seq=6))[0].result == "ok"

    def test_an_empty_transaction_is_refused(self) -> None:
        with pytest.raises(ValueError, match="transitions"):
            door.transaction([])


class TestViews:
    def test_later_changes_do_not_reach_a_view(self) -> None:
        state = State(2)
        matrix = np.ones((2, 3), dtype=np.float32)
        apply(
            state,
            door.add_knowledge("k", ONE),
            *door.extend_knowledge(["a", "b"], matrix),
            door.add_score(0.5),
            door.append_history("h", [1]),
            door.put_document("d", {"a": [1]}),
        )
        view = state.view()
        before = b"".join(encode_snapshot(view, Envelope()))
        apply(
            state,
            door.remove_knowledge("a"),
            door.add_knowledge("k", NumericVectorArtifact([9.0])),
            door.extend_scores([1.0, 2.0, 3.0]),
            door.append_history("h", [2]),
            door.append_history("new", 1),
            door.put_document("d", {"a": [2]}),
            door.set_history_maxlen(1),
        )

        assert b"".join(encode_snapshot(view, Envelope())) == before
        assert snapshot(state) != before

    def test_a_history_can_be_copied(self) -> None:
        state = State(3)
        apply(state, door.extend_scores([1.0, math.inf]))

        for made in (copy.copy(state.score_history), copy.deepcopy(state.score_history)):
            assert list(made) == [1.0, math.inf]
            assert made.maxlen == 3
        assert list(deque(state.score_history)) == [1.0, math.inf]
