"""Message ids: which messages are known by theirs, in the state and in both snapshot formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator, door
from penin.core.formats import decode_state, encode_state
from penin.core.message_ids import MESSAGE_IDS_MAX_DEFAULT
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.transitions import Ack, Message, SetMessageIdsMax, decode_messages
from penin.errors import CorruptionError, FormatError, IdReusedError, RefusedError
from penin.storage.filesystem import FileBlocks, OsFileSystem
from tests.core import strategies

SCORE = {"type": "add_score", "score": 0.5}


def named(identity: str, score: float = 0.5) -> Message:
    return door.stamp(door.add_score(score), identity, None)


def apply(state: State, *messages: Message) -> list[Ack]:
    return [state.apply(message.body, state.seq + 1) for message in messages]


def known(state: State) -> list[tuple[str, int]]:
    return [(message.id, message.seq) for message in state.message_ids.kept()]


def saved(state: State, path: Path) -> State:
    """The same state after a way over a file."""
    path.write_bytes(b"".join(encode_state(state.view(), Envelope(), path.suffix)))
    with FileBlocks(OsFileSystem(), path) as blocks:
        return decode_state(blocks, path, path.suffix)[0]


def test_a_message_with_an_id_is_applied_once_and_answered_as_the_first_time() -> None:
    memory = OmegaMetaOrchestrator()
    first = memory.send({**SCORE, "id": "a"})
    memory.add_score(1.0)
    assert memory.send({**SCORE, "id": "a"}) == first == Ack(1)
    assert memory.send({**SCORE, "id": "a", "from": {"source": "queue", "line": 7}}) == first
    assert (memory.seq, list(memory.score_history)) == (2, [0.5, 1.0])


def test_the_same_id_with_another_content_is_refused_with_the_first_seq() -> None:
    memory = OmegaMetaOrchestrator()
    memory.add_score(1.0)
    memory.send({**SCORE, "id": "a"})
    with pytest.raises(IdReusedError, match="id: 'a' was another message, with seq 2") as refused:
        memory.send({"type": "add_score", "score": 0.75, "id": "a"})
    assert isinstance(refused.value, ValueError)
    assert (refused.value.id, refused.value.first_seq, refused.value.field) == ("a", 2, "id")
    assert memory.seq == 2


def test_a_failed_condition_is_the_answer_to_its_repeats_too() -> None:
    memory = OmegaMetaOrchestrator()
    memory.put_document("d", 1)
    content = {
        "type": "transaction",
        "id": "t",
        "transitions": [SCORE, {"type": "put_document", "name": "d", "value": 2, "if_seq": 7}],
    }
    assert memory.send(content) == Ack(3, "conflict", 3)
    memory.remove_document("d")
    assert memory.send(content) == Ack(3, "conflict", 3)


def test_the_digest_is_that_of_the_message_without_id_and_sender() -> None:
    plain = door.add_score(0.5)
    stamped = door.stamp(plain, "a", None)
    (body,) = decode_messages(b"[" + stamped.raw + b"]")
    assert body == stamped.body
    assert stamped.raw.startswith(plain.raw[:-1] + b',"id":"a","digest":"')
    content = json.loads(stamped.raw)
    assert OmegaMetaOrchestrator().send(content) == Ack(1)
    for wrong in ({"score": 0.75}, {"digest": "0" * 64}, {"digest": 7}, {"id": None}):
        with pytest.raises(RefusedError, match="digest: not that of this content"):
            OmegaMetaOrchestrator().send({**content, **wrong})


def test_the_oldest_is_forgotten_beyond_the_bound() -> None:
    state = State()
    apply(state, named("a"), named("b"), door.add_score(1.0), named("c"))
    state.apply(SetMessageIdsMax(maxlen=2), 5)
    assert known(state) == [("b", 2), ("c", 4)]
    apply(state, named("d"))
    assert known(state) == [("c", 4), ("d", 6)]
    assert state.message_ids.get("b") is None
    # Forgotten, it is a new one.
    apply(state, named("a"))
    assert known(state) == [("d", 6), ("a", 7)]
    assert len(state.message_ids) == 2


def test_what_has_no_digest_is_applied_as_ever_and_not_known() -> None:
    lines = b'[{"type":"add_score","score":0.5,"id":"a"},{"type":"add_score","score":1.5,"id":"a"}]'
    state = State()
    acks = [state.apply(body, state.seq + 1) for body in decode_messages(lines)]
    assert acks == [Ack(1), Ack(2)]
    assert (list(state.score_history), known(state)) == ([0.5, 1.5], [])


def test_an_id_that_a_journal_has_twice_keeps_its_first_answer() -> None:
    state = State()
    assert apply(state, named("a"), named("a", 0.75), named("a")) == [Ack(1), Ack(2), Ack(3)]
    assert known(state) == [("a", 1)]
    assert list(state.score_history) == [0.5, 0.75, 0.5]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@given(st.lists(strategies.journalled(), max_size=8), st.integers(0, 3))
def test_a_snapshot_keeps_them_with_their_order_and_bound(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, messages: list[Message], maxlen: int
) -> None:
    state = State()
    state.apply(SetMessageIdsMax(maxlen=maxlen), 1)
    apply(state, *messages)
    again = saved(state, tmp_path_factory.mktemp("ids") / f"state{suffix}")
    assert again.message_ids.kept() == state.message_ids.kept()
    assert again.message_ids.maxlen == maxlen
    for message in state.message_ids.kept():
        assert again.message_ids.get(message.id) == message


def test_a_file_of_a_version_that_did_not_answer_ids_has_the_first_bound(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    memory = OmegaMetaOrchestrator()
    golden = Path(__file__).parent.parent / "data" / "version-1" / "expected.json"
    assert b"message_ids_max" not in golden.read_bytes()
    assert memory.load_state(golden)
    assert memory._state.message_ids.maxlen == MESSAGE_IDS_MAX_DEFAULT == 100_000
    memory.save_state(path)
    assert b'"message_ids_max": 100000,\n  "message_ids": {}' in path.read_bytes()


def edited(path: Path, change: dict[str, Any]) -> State:
    """The state in a file in which the answer to `a` was edited."""
    memory = OmegaMetaOrchestrator()
    memory.send({**SCORE, "id": "a"})
    memory.send({**SCORE, "id": "b"})
    memory.save_state(path)
    content = json.loads(path.read_text())
    content["message_ids"]["a"].update(change)
    path.write_text(json.dumps(content))
    with FileBlocks(OsFileSystem(), path) as blocks:
        return decode_state(blocks, path, ".json", accept_edited=True)[0]


def test_an_edited_file_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert known(edited(path, {})) == [("a", 1), ("b", 2)]
    assert known(edited(path, {"seq": 2})) == [("a", 2), ("b", 2)]
    for change in (
        {"seq": 0},
        {"seq": 3},
        {"failed_seq": 3},
        {"result": "maybe"},
        {"digest": "short"},
    ):
        with pytest.raises(FormatError, match=r"message_ids|length|enum"):
            edited(path, change)
    with pytest.raises(CorruptionError), FileBlocks(OsFileSystem(), path) as blocks:
        decode_state(blocks, path, ".json")
