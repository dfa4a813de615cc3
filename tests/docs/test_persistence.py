"""docs/persistence.md: its example store is byte for byte what the code writes."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from penin.core import StateEncoder, state_decoder
from penin.core.snapshot_reader import read_snapshot
from penin.core.snapshots import encode_snapshot
from penin.core.state import State
from penin.core.transitions import decode_messages, transition_count
from penin.storage.commits import (
    FRAME_BYTES_MAX,
    HEADER_BYTES_MAX,
    ZERO_HASH,
    Header,
    Position,
    encode_commit,
    encode_header,
    parse_line,
)
from penin.storage.journal import SYNC_INTERVAL_S
from penin.storage.tail import Torn
from tests.docs.markdown import blocks, prose, rows, section
from tests.storage.test_tail import CASES

NAME = "docs/persistence.md"
FILES = {block.name: block for block in blocks(NAME) if block.name}
JOURNAL = sorted(name for name in FILES if name.startswith("journal/"))


def lines():
    """The lines of the example's journal, with where they stand."""
    for name in JOURNAL:
        for line in FILES[name].text.encode().splitlines(keepends=True):
            yield name, line, parse_line(line)


def test_the_journal_is_one_chain():
    position = Position(0, 0, ZERO_HASH, 0)
    file = None
    for name, line, parsed in lines():
        if name != file:
            position = msgspec.structs.replace(position, offset=0)
            assert isinstance(parsed, Header)
            assert Path(name).name == f"{parsed.first:020d}.jsonl"
        file = name
        position = position.after(line, parsed)
    assert position.seq == 5


def test_every_line_of_the_journal_is_what_the_code_writes():
    for _, line, parsed in lines():
        members = msgspec.structs.asdict(parsed)
        for name in ("hash", "key", "format", "version"):
            members.pop(name, None)
        if isinstance(parsed, Header):
            assert encode_header(**members) == (line, parsed.hash)
        else:
            members["messages"] = [
                bytes(raw) for raw in msgspec.json.decode(parsed.messages, type=list[msgspec.Raw])
            ]
            assert encode_commit(**members) == (line, parsed.hash)


def test_the_tables_name_every_member_in_its_order():
    text = section(NAME, "Journal")
    named = [name.strip("`") for row in rows(text) for name in row[0].split(", ")]
    names = [list(msgspec.json.decode(line)) for _, line, _ in lines()]
    header, commit = names[0], names[1]
    assert named == ["member", *header, "member", *commit]


def test_the_snapshot_is_what_a_checkpoint_between_the_files_writes():
    state, last_hash = State(), ""
    for name, _, parsed in lines():
        if name == JOURNAL[1]:
            break
        last_hash = parsed.hash
        for body in [] if isinstance(parsed, Header) else decode_messages(parsed.messages):
            state.apply(body, state.seq + 1)
            assert transition_count(body) >= 1
    data = FILES["state.json"].text.encode()
    recovered, envelope = read_snapshot([data], Path("state.json"))
    assert envelope.journal_hash == last_hash
    for name in ("seq", "history_maxlen", "histories", "history_seqs", "document_seqs"):
        assert getattr(recovered, name) == getattr(state, name)
    assert dict(recovered.documents) == dict(state.documents)
    assert b"".join(encode_snapshot(state.view(), envelope)) == data


def test_the_table_names_every_member_of_a_snapshot_in_its_order():
    text = section(NAME, "Snapshot, version 2")
    names = [name.strip("`") for row in rows(text) for name in row[0].split(", ")]
    members = list(msgspec.json.decode(FILES["state.json"].text))
    assert names[1 : len(members) + 1] == members


def test_the_example_of_version_1_is_what_the_original_wrote():
    text = FILES["original/state.json"].text
    content = json.loads(text, object_hook=state_decoder)
    assert set(content) == {"knowledge_base", "task_history", "score_history"}
    assert json.dumps(content, cls=StateEncoder, indent=2) + "\n" == text


@pytest.mark.parametrize("number", [FRAME_BYTES_MAX, HEADER_BYTES_MAX])
def test_the_bounds_of_a_line_are_those_of_the_format(number):
    assert f"{number:,} bytes" in section(NAME, "Journal")


def test_the_second_of_everysec_is_one():
    assert SYNC_INTERVAL_S == 1.0
    assert "at most one second plus the sync under way" in prose(NAME)


def test_the_torn_tail_rule_has_the_cases_of_its_test():
    table = dict(rows(section(NAME, "The torn-tail rule"))[1:])
    assert table == {
        case: "torn tail" if verdict is Torn else "corruption"
        for case, (_, verdict) in CASES.items()
    }


def test_the_readme_makes_the_same_promises():
    promises = rows(section(NAME, "Promises"))
    assert promises
    assert promises == rows(section("README.md", "Promises"))
