"""`penin diff`: tables, names and JSON of what differs, and its exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import penin as run_penin
from tests.cli.small_store import STORE_ID, write_store
from tests.cli.test_status import files_of

pytestmark = pytest.mark.sliced  # each is a process or several

DIFFERENT = """\
before          store/state.json: seq 7 at 2026-01-31T12:03:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
after           store: seq 12 at 2026-01-31T12:06:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
knowledge base  1 added, 1 changed, 1 removed
documents       1 added, 0 changed, 0 removed
score_history   1 appended, 0 dropped, 3 now

+ artifact new
~ artifact champion
- artifact single
+ document cursor
"""  # noqa: E501  # as it is said

BY_SEQ = """\
before          3: seq 2 (the message before seq 3, which is inside one) at 2026-01-31T12:02:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
after           7: seq 7 at 2026-01-31T12:03:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
knowledge base  2 added, 0 changed, 0 removed
documents       1 added, 0 changed, 0 removed
score_history   1 appended, 0 dropped, 2 now
losses          added, with 1 item (the newest 1,000 kept)

+ artifact champion
+ artifact single
+ document budget
"""  # noqa: E501  # as it is said

EQUAL = """\
before  12: seq 12 at 2026-01-31T12:06:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
after   now: seq 12 at 2026-01-31T12:06:00.000000Z, store 6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3
equal   knowledge base, documents and histories, bit for bit
"""


def diff(place, *words):
    """The process, and what it wrote to stdout."""
    process = run_penin(place, "diff", *words)
    return process, "".join(f"{line}\n" for line in process.out)


def test_the_table_of_a_file_and_a_store(place):
    write_store(place / "store")
    before = files_of(place / "store")
    process, text = diff(place, "store/state.json", "store")
    assert (process.code, process.err) == (ExitCode.NEGATIVE, [])
    assert text == DIFFERENT
    assert files_of(place / "store") == before


def test_the_table_of_two_seqs(place):
    write_store(place / "store", ".safetensors")
    process, text = diff(place, "3", "7", "--dir", "store")
    assert (process.code, process.err) == (ExitCode.NEGATIVE, [])
    assert text == BY_SEQ


def test_the_table_of_what_is_the_same(place):
    write_store(place / "store")
    process, text = diff(place, "--dir", "store", "12", "now")
    assert (process.code, process.err) == (ExitCode.SUCCESS, [])
    assert text == EQUAL


def test_the_json_has_the_documented_members(place):
    write_store(place / "store")
    process, text = diff(place, "store/state.json", "now", "--dir", "store", "--json")
    none = {"count": 0, "names": []}
    said: dict[str, Any] = {"store": STORE_ID, "asked_seq": None, "passed_over": []}
    assert process.code == ExitCode.NEGATIVE
    assert json.loads(text) == {
        "before": {
            **said,
            "name": "store/state.json",
            "seq": 7,
            "at": "2026-01-31T12:03:00.000000Z",
        },
        "after": {**said, "name": "now", "seq": 12, "at": "2026-01-31T12:06:00.000000Z"},
        "equal": False,
        "knowledge_base": {
            "added": {"count": 1, "names": ["new"]},
            "changed": {"count": 1, "names": ["champion"]},
            "removed": {"count": 1, "names": ["single"]},
        },
        "documents": {
            "added": {"count": 1, "names": ["cursor"]},
            "changed": none,
            "removed": none,
        },
        "histories": {
            "score_history": {
                "change": "changed",
                "size_before": 2,
                "size_after": 3,
                "dropped": 0,
                "appended": 1,
                "maxlen_before": 1000,
                "maxlen_after": 1000,
            }
        },
        "history_maxlen": None,
    }


def saved(place, name, count, maxlen=1000):
    orchestrator = penin.OmegaMetaOrchestrator(history_maxlen=maxlen)
    for number in range(count):
        orchestrator.add_knowledge(f"k\n{number}", penin.NumericVectorArtifact([1.0]))
        orchestrator.add_score(float(number))
    orchestrator.save_state(place / name)


def test_of_many_names_the_first_are_shown_or_all(place):
    saved(place, "a.json", 0)
    saved(place, "b.json", 25)
    lines = diff(place, "a.json", "b.json")[0].out
    assert "+ artifact k\\n9" in lines
    assert "+ artifact k\\n10" not in lines
    assert lines[-1] == "+ 15 more added artifacts (--all names them)"
    lines = diff(place, "a.json", "b.json", "--all")[0].out
    assert lines[-1] == "+ artifact k\\n24"
    for words, count in ((), 10), (("--all",), 25):
        names = json.loads(diff(place, "a.json", "b.json", "--json", *words)[1])
        assert names["knowledge_base"]["added"]["count"] == 25
        assert len(names["knowledge_base"]["added"]["names"]) == count


def test_bounds_and_what_they_dropped_are_told(place):
    saved(place, "a.json", 6)
    saved(place, "b.json", 8, maxlen=4)
    text = diff(place, "a.json", "b.json")[1]
    bounds = "the newest 4 kept, and before the newest 1,000 kept"
    assert f"new histories   {bounds}\n" in text
    assert f"score_history   2 appended, 4 dropped, 4 now ({bounds})\n" in text
    assert f"task_history    0 appended, 0 dropped, 0 now ({bounds})\n" in text


def test_an_error_is_no_difference(place):
    write_store(place / "store")
    damaged = (place / "store" / "state.json").read_bytes().replace(b"0.85", b"0.86")
    (place / "damaged.json").write_bytes(damaged)
    codes = {
        ("damaged.json", "store"): (ExitCode.CORRUPT, "damaged at byte"),
        ("store", "nowhere"): (ExitCode.USAGE, "nowhere: neither a file nor a store"),
        ("0", "99", "--dir", "store"): (ExitCode.USAGE, "99 is not there yet; kept is seq 0 to 12"),
        ("0", "now", "--dir", "nowhere"): (ExitCode.USAGE, "there is no store in"),
    }
    for words, (code, reason) in codes.items():
        process, text = diff(place, *words)
        assert (process.code, text) == (code, "")
        assert reason in process.err[0]


def test_a_damaged_checkpoint_that_is_passed_over_is_said(place):
    write_store(place / "store")
    (checkpoint,) = (place / "store" / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    process, _ = diff(place, "9", "now", "--dir", "store")
    assert process.code == ExitCode.NEGATIVE
    assert str(checkpoint) in process.err[0]
    assert "an older snapshot and the journal took its place" in process.err[0]
