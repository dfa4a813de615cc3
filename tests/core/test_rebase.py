"""`rebase`: all content replaced by that of a snapshot, which the journal names by digest."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator
from penin.core.formats import encode_state
from penin.core.replay import ready
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.core.transitions import (
    Message,
    Rebase,
    RebaseLoaded,
    SnapshotFile,
    decode_messages,
    encode_body,
)
from penin.core.vocabulary import message
from penin.errors import CorruptionError, FormatError, RefusedError
from penin.storage.mapped import MappedFile, block_digests, checked_file
from tests.core import strategies

NAME = f"{0:020}-{'ab' * 32}"
FORMATS = ["json", "safetensors"]


def file_of(data: bytes) -> MappedFile:
    return checked_file(Path(NAME), memoryview(data), block_digests(memoryview(data)))


def encoded(state: State, format_: str, *, seq: int | None = None) -> bytes:
    view = state.view()
    view = msgspec.structs.replace(view, seq=view.seq if seq is None else seq)
    return b"".join(encode_state(view, Envelope(), f".{format_}"))


def lines(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), Envelope()))


def state_of(messages: list[Message]) -> State:
    state = State()
    for each in messages:
        state.apply(each.body, state.seq + 1)
    return state


def raw_rebase(format_: str, version: int = 3) -> bytes:
    place = {"file": NAME, "format": format_}
    return json.dumps([{"type": "rebase", "schema_version": version, "snapshot": place}]).encode()


@given(
    st.lists(strategies.journalled(), max_size=6),
    st.lists(strategies.journalled(), max_size=6),
    st.lists(strategies.journalled(), max_size=4),
    st.sampled_from(FORMATS),
)
def test_the_state_is_that_of_the_snapshot_and_goes_on_from_it(before, other, after, format_):
    state, content = state_of(before), state_of(other)
    content.schema_version = 3
    content.seq = state.seq + 1
    data = encoded(content, format_)
    (body,) = ready(decode_messages(raw_rebase(format_)), lambda _: file_of(data))
    assert state.apply(body, state.seq + 1).seq == content.seq
    assert lines(state) == lines(content)
    assert state.task_history is state.histories["task_history"]
    assert state.score_history is state.histories["score_history"]
    for each in after:
        assert state.apply(each.body, state.seq + 1) == content.apply(each.body, content.seq + 1)
    assert lines(state) == lines(content)


def test_without_a_snapshot_the_version_alone_is_another_one():
    state = state_of([message({"type": "add_score", "score": 0.5})])
    before = json.loads(lines(state))
    raw = encode_body(Rebase(schema_version=3))
    assert raw == b'{"type":"rebase","schema_version":3}'
    (body,) = ready(decode_messages(b"[" + raw + b"]"), lambda _: pytest.fail("it names no file"))
    state.apply(body, 2)
    after = json.loads(lines(state))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"seq", "schema_version", "digest"}
    assert (after["seq"], after["schema_version"]) == (2, 3)


def test_the_journal_has_what_the_documentation_says():
    body = Rebase(schema_version=3, snapshot=SnapshotFile(NAME, "safetensors"))
    raw = encode_body(body)
    assert raw == (
        b'{"type":"rebase","schema_version":3,"snapshot":{"file":"%b","format":"safetensors"}}'
        % NAME.encode()
    )
    assert decode_messages(b"[" + raw + b"]") == [body]


def test_nobody_can_send_one():
    for content in (
        {"type": "rebase", "schema_version": 3},
        {"type": "transaction", "transitions": [{"type": "rebase", "schema_version": 3}]},
    ):
        with pytest.raises(RefusedError, match="'rebase' is none of"):
            OmegaMetaOrchestrator().send(content)


def test_in_a_transaction_of_a_journal_it_is_no_message():
    inside = {"type": "rebase", "schema_version": 3}
    raw = json.dumps([{"type": "transaction", "transitions": [inside]}]).encode()
    with pytest.raises(msgspec.ValidationError, match="rebase"):
        decode_messages(raw)


def test_a_snapshot_of_a_format_that_is_none_is_no_message():
    with pytest.raises(msgspec.ValidationError, match="pickle"):
        decode_messages(raw_rebase("pickle"))


@pytest.mark.parametrize("format_", FORMATS)
def test_a_damaged_snapshot_is_an_error_that_names_the_file(format_):
    data = bytearray(encoded(state_of([message({"type": "add_score", "score": 0.5})]), format_))
    data[len(data) // 2] ^= 1
    with pytest.raises((CorruptionError, FormatError)) as raised:
        ready(decode_messages(raw_rebase(format_)), lambda _: file_of(bytes(data)))
    assert raised.value.path == Path(NAME)


def test_a_snapshot_of_another_seq_or_version_is_a_bug_of_ours():
    for seq, version in ((2, 3), (1, 4)):
        content = State()
        content.seq, content.schema_version = seq, version
        body = RebaseLoaded(schema_version=3, snapshot=SnapshotFile(NAME, "json"), content=content)
        with pytest.raises(AssertionError):
            State().apply(body, 1)
    with pytest.raises(AssertionError, match="not loaded"):
        State().apply(Rebase(schema_version=3, snapshot=SnapshotFile(NAME, "json")), 1)
