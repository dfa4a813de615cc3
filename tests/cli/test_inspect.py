"""`penin inspect`: tables and JSON of snapshot and journal files, whole and damaged."""

from __future__ import annotations

import json
import os

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import penin as run_penin
from tests.cli.small_store import STORE_ID, write_store
from tests.cli.test_status import files_of

pytestmark = pytest.mark.sliced  # each is a process or several

FIRST = f"store/journal/{1:020d}.jsonl"
SECOND = f"store/journal/{8:020d}.jsonl"

SNAPSHOT_TABLE = """\
file            store/state.json
format          penin-snapshot 2
size            1,516 bytes
digest          right
store           6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
epoch           1
seq             7 at 2026-01-31T12:03:00.000000Z
schema version  0
journal hash    958dbae24d234cc1da8c22a467b7bcfa52d25adbc04a0da8ba5021e3caf42934
knowledge base  2 artifacts: 28 bytes of vectors, 14 of keys, 9 of metadata
                float64 x 2: 1 artifact, 16 bytes of vectors, 7 of metadata
                float32 x 3: 1 artifact, 12 bytes of vectors, 2 of metadata
task_history    1 item (the newest 1,000 kept), changed at seq 2
score_history   2 items (the newest 1,000 kept), changed at seq 6, min 0.25, mean 0.55, max 0.85
losses          1 item (the newest 1,000 kept), changed at seq 7
documents       1
                budget: 60 bytes, changed at seq 4
"""

JOURNAL_TABLE = """\
file         store/journal/00000000000000000001.jsonl
format       penin-journal 1
size         1,749 bytes
chain        right
store        6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
epochs       0 to 1
seqs         1 to 7 (its last line knew those up to 4 to be durable)
times        2026-01-31T12:00:00.000000Z to 2026-01-31T12:03:00.000000Z
commits      3, and 1 opening
messages     6: 1 add_knowledge, 2 add_score, 1 add_task, 1 append_history, 1 transaction
transitions  7: 2 add_knowledge, 2 add_score, 1 add_task, 1 append_history, 1 put_document
hash before  0000000000000000000000000000000000000000000000000000000000000000
last hash    958dbae24d234cc1da8c22a467b7bcfa52d25adbc04a0da8ba5021e3caf42934
"""


def inspect(place, *words):
    """The process, and what it wrote to stdout."""
    process = run_penin(place, "inspect", *words)
    return process, "".join(f"{line}\n" for line in process.out)


def inspected(place, file, code=ExitCode.SUCCESS):
    process, text = inspect(place, file, "--json")
    assert process.code == code
    return json.loads(text)


def changed(path, at, target=None):
    """The file with one bit of it changed."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    (target or path).write_bytes(data)


def test_the_table_of_a_snapshot(place):
    write_store(place / "store")
    before = files_of(place / "store")
    process, text = inspect(place, "store/state.json")
    assert (process.code, process.err) == (ExitCode.SUCCESS, [])
    assert text == SNAPSHOT_TABLE
    assert files_of(place / "store") == before


def test_the_table_of_a_snapshot_as_tensors_says_the_same(place):
    write_store(place / "store")
    write_store(place / "other", ".safetensors")
    rows, others = (
        [line for line in inspect(place, name)[1].splitlines() if line[:6] not in SAID_APART]
        for name in ("store/state.json", "other/state.safetensors")
    )
    assert rows[:-1] == others[:-1]
    assert others[-1].endswith("budget: 31 bytes, changed at seq 4")


SAID_APART = ("file  ", "format", "size  ")


def test_the_table_of_a_journal_file(place):
    write_store(place / "store")
    process, text = inspect(place, FIRST)
    assert (process.code, process.err) == (ExitCode.SUCCESS, [])
    assert text == JOURNAL_TABLE


def test_a_checkpoint_and_a_file_of_save_state_are_snapshots_too(place):
    write_store(place / "store")
    (checkpoint,) = (place / "store" / "checkpoints").iterdir()
    assert inspected(place, checkpoint)["seq"] == 7
    penin.OmegaMetaOrchestrator().save_state(place / "saved.json")
    saved = inspected(place, "saved.json")
    assert (saved["digest"], saved["store"], saved["seq"]) == ("right", None, 0)


def test_a_file_of_the_original_format_has_no_digest(place):
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.add_score(float("-inf"))
    seed = {
        "knowledge_base": {},
        "task_history": orchestrator.task_history,
        "score_history": orchestrator.score_history,
    }
    (place / "old.json").write_text(json.dumps(seed, cls=penin.StateEncoder, indent=2))
    found = inspected(place, "old.json")
    assert (found["format"], found["version"], found["digest"]) == ("original", 1, "none")
    assert found["seq"] is None
    infinite = {"__type__": "float", "value": "-inf"}
    scores = found["state"]["histories"]["score_history"]["scores"]
    assert scores == {"min": infinite, "mean": infinite, "max": infinite}


def test_of_a_damaged_snapshot_it_shows_what_can_be_read_and_where_it_ends(place):
    write_store(place / "store")
    data = (place / "store" / "state.json").read_bytes()
    cut = data.index(b'"score_history"') + 100
    (place / "cut.json").write_bytes(data[:cut])
    process, text = inspect(place, "cut.json", "--json")
    found = json.loads(text)
    assert process.code == ExitCode.CORRUPT
    assert process.err[0].startswith(f"penin: cut.json: damaged at byte {cut - 83}: it ends before")
    assert (found["digest"], found["seq"]) == ("wrong", 7)
    assert [damage["position"] for damage in found["damage"]] == [cut - 83, cut]
    assert found["state"]["knowledge_base"]["artifacts"] == 2
    assert list(found["state"]["histories"]) == ["task_history"]
    assert found["state"]["documents"] is None


def test_of_damaged_tensors_it_names_the_block_and_what_the_header_says(place):
    write_store(place / "store", ".safetensors")
    whole = place / "store" / "state.safetensors"
    changed(whole, 4096 + 8, place / "flipped.safetensors")
    (place / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    flipped = inspected(place, "flipped.safetensors", ExitCode.CORRUPT)
    cut = inspected(place, "cut.safetensors", ExitCode.CORRUPT)
    assert [damage["position"] for damage in flipped["damage"]] == [4096]
    assert cut["damage"][0]["position"] == whole.stat().st_size - 100
    for found in (flipped, cut):
        assert (found["digest"], found["seq"]) == ("wrong", 7)
        assert found["state"]["knowledge_base"]["artifacts"] == 2


def test_a_torn_tail_of_the_newest_journal_file_is_no_damage(place):
    write_store(place / "store")
    newest = place / SECOND
    os.truncate(newest, newest.stat().st_size - 30)
    found = inspected(place, SECOND)
    assert (found["chain"], found["damage"], found["last_seq"]) == ("right", [], 11)
    tail = found["torn_tail"]
    assert tail["offset"] + tail["size"] == newest.stat().st_size
    older = place / FIRST
    os.truncate(older, older.stat().st_size - 30)
    found = inspected(place, FIRST, ExitCode.CORRUPT)
    assert (found["chain"], found["torn_tail"], found["last_seq"]) == ("broken", None, 4)


def test_a_damaged_journal_file_is_told_up_to_the_damage(place):
    write_store(place / "store")
    at = (place / FIRST).read_bytes().index(b'{"epoch":1,"first":2')
    changed(place / FIRST, at + 40)
    process, text = inspect(place, FIRST)
    assert process.code == ExitCode.CORRUPT
    assert f"damage       at byte {at:,}: its hash is wrong" in text.splitlines()
    assert "seqs         1 to 1 (its last line knew those up to 0 to be durable)" in text
    assert f"damaged at byte {at}: its hash is wrong" in process.err[0]


def test_names_from_outside_cannot_move_the_cursor(place):
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.append_history("los\x1b[2Jses\n[red]", 1)
    orchestrator.save_state(place / "saved.json")
    _, text = inspect(place, "saved.json")
    assert "los\\x1b[2Jses\\n[red]" in text


def test_a_name_that_is_no_text_is_shown_escaped(place):
    penin.OmegaMetaOrchestrator().save_state(place / "saved.json")
    odd = os.fsdecode(b"saved-\xff.json")
    (place / "saved.json").rename(place / odd)
    assert inspected(place, odd)["path"] == "saved-\\udcff.json"
    assert inspect(place, odd)[0].out[0] == "file            saved-\\udcff.json"


def test_what_is_none_of_ours_is_refused_by_name(place):
    write_store(place / "store")
    (place / "picture.png").write_bytes(b"\x89PNG\r\n")
    (place / "rejected.jsonl").write_text('{"type": "add_score"}\n')
    (place / "other.json").write_text('{"name": "other"}')
    os.mkfifo(place / "pipe")
    refused = {
        "picture.png": (ExitCode.CORRUPT, "neither a snapshot nor a journal file"),
        "rejected.jsonl": (ExitCode.CORRUPT, "neither a snapshot nor a journal file"),
        "other.json": (ExitCode.CORRUPT, "neither a penin snapshot nor a file of the original"),
        "store/lock": (ExitCode.USAGE, "there is no such file"),
        "pipe": (ExitCode.USAGE, "it is not a regular file"),
        "store": (ExitCode.USAGE, "penin status --dir store"),
    }
    for name, (code, reason) in refused.items():
        process, text = inspect(place, name)
        assert (process.code, text) == (code, "")
        assert len(process.err) == 1
        assert reason in process.err[0]


def test_a_later_version_is_named_with_both_numbers(place):
    write_store(place / "store")
    data = (place / "store" / "state.json").read_bytes()
    (place / "later.json").write_bytes(data.replace(b'"version": 2', b'"version": 9'))
    process, _ = inspect(place, "later.json")
    assert process.code == ExitCode.CORRUPT
    assert "format version 9; this program reads 1 and 2" in process.err[0]


def test_the_json_names_the_store(place):
    write_store(place / "store")
    for name in ("store/state.json", FIRST):
        assert inspected(place, name)["store"] == STORE_ID
