"""`penin get`: tables and JSON of one thing in a store, and what is not there."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin
from tests.cli.small_store import STORE_ID, write_store
from tests.cli.test_status import files_of

pytestmark = pytest.mark.sliced  # each is a process or several

TABLES = {
    ("champion",): """\
name         champion
kind         artifact
last change  at seq 8
store        at seq 12 of 2026-01-31T12:06:00.000000Z
dtype        float64
dimension    2
vector       0.5, -1.25
metadata     {"a": 1}
""",
    ("budget",): """\
name         budget
kind         document
last change  at seq 4
store        at seq 12 of 2026-01-31T12:06:00.000000Z
size         60 bytes

{
  "left": {
    "__type__": "int",
    "value": "1180591620717411303424"
  }
}
""",
    ("score_history", "--last", "2"): """\
name         score_history
kind         history
last change  at seq 9
store        at seq 12 of 2026-01-31T12:06:00.000000Z
size         3 items (the newest 1,000 kept); the newest 2 here, oldest first (--last N)

0.25
1.5
""",
}


def get(place, *words):
    """The process, and what it wrote to stdout."""
    process = run_penin(place, "get", *words, "--dir", "store")
    return process, "".join(f"{line}\n" for line in process.out)


def got(place, *words):
    process, text = get(place, *words, "--json")
    assert (process.code, process.err) == (ExitCode.SUCCESS, [])
    return json.loads(text)


@pytest.mark.parametrize("words", TABLES, ids=lambda words: words[0])
def test_the_table(place, words):
    write_store(place / "store")
    before = files_of(place / "store")
    process, text = get(place, *words)
    assert (process.code, process.err) == (ExitCode.SUCCESS, [])
    assert text == TABLES[words]
    assert files_of(place / "store") == before


def test_the_json_has_all_of_it(place):
    write_store(place / "store")
    store = {"store": STORE_ID, "store_seq": 12, "at": "2026-01-31T12:06:00.000000Z"}
    assert got(place, "new") == {
        "kind": "artifact",
        "name": "new",
        "seq": 12,
        **store,
        "dtype": "int64",
        "dimension": 2,
        "vector": [1, 2],
        "metadata": {},
    }
    assert got(place, "cursor") == {
        "kind": "document",
        "name": "cursor",
        "seq": 11,
        **store,
        "size_bytes": 8,
        "value": "line 7",
    }
    assert got(place, "losses") == {
        "kind": "history",
        "name": "losses",
        "seq": 7,
        **store,
        "size": 1,
        "maxlen": 1000,
        "items": [[1.5, "x"]],
    }
    assert got(place, "score_history", "--last", "0")["items"] == []


def test_people_see_the_first_numbers_and_the_newest_items(place):
    with penin.open_sync(place / "store") as orchestrator:
        artifact = penin.NumericVectorArtifact([float(n) for n in range(500)])
        orchestrator.add_knowledge("long", artifact)
        orchestrator.extend_scores([float(n) for n in range(500)])
        assert "7.0, ... (--json has all)" in get(place, "long")[1]
        assert got(place, "long")["vector"] == artifact.vector
        text = get(place, "score_history")[1]
        assert text.endswith(
            "\n490.0\n491.0\n492.0\n493.0\n494.0\n495.0\n496.0\n497.0\n498.0\n499.0\n"
        )
        assert len(got(place, "score_history")["items"]) == 500


def test_a_name_of_several_things_asks_for_the_kind(place):
    with penin.open_sync(place / "store") as orchestrator:
        orchestrator.add_knowledge("best", penin.NumericVectorArtifact([1.0]))
        orchestrator.put_document("best", "the document")
        orchestrator.append_history("best", "an item")
    process, text = get(place, "best")
    assert (process.code, text) == (ExitCode.USAGE, "")
    said = "best: it is an artifact and a document and a history; choose with --kind"
    assert process.err == [f"penin: {said}"]
    assert got(place, "best", "--kind", "document")["value"] == "the document"
    assert got(place, "best", "--kind", "history")["items"] == ["an item"]
    assert got(place, "best", "--kind", "artifact")["vector"] == [1.0]


def test_what_is_not_there_has_an_exit_code_of_its_own_and_near_names(place):
    write_store(place / "store")
    process, text = get(place, "chmpion")
    assert (process.code, text) == (ExitCode.NEGATIVE, "")
    nothing = "nothing of this name in the store"
    assert process.err == [f"penin: chmpion: {nothing}; near it: champion"]
    process, _ = get(place, "wholly-unknown")
    assert (process.code, process.err) == (ExitCode.NEGATIVE, [f"penin: wholly-unknown: {nothing}"])
    process, _ = get(place, "budget", "--kind", "artifact")
    assert process.code == ExitCode.NEGATIVE
    assert process.err == ["penin: budget: it is a document, and no artifact"]


def test_mistakes_are_named(place):
    process, _ = get(place, "budget")
    assert process.code == ExitCode.USAGE
    assert process.err == ["penin: --dir store: there is no store"]
    assert not (place / "store").exists()
    write_store(place / "store")
    process, _ = get(place, "budget", "--last", "3")
    assert process.code == ExitCode.USAGE
    assert process.err == ["penin: --last 3: budget is a document, and no history"]


def test_what_json_has_no_word_for_is_tagged_as_in_a_state_file(place):
    artifact = penin.NumericVectorArtifact([1.5])
    deep: Any = [float("nan"), deque([artifact], maxlen=3)]
    for _ in range(55):
        deep = [deep]
    with penin.open_sync(place / "store") as orchestrator:
        orchestrator.put_document("deep", deep)
    state = json.loads((place / "store" / "state.json").read_text())
    assert got(place, "deep")["value"] == state["documents"]["deep"]


def test_beside_a_worker_it_shows_what_is_acknowledged(place):
    with Penin(place, "run", "workers:count", "workers:wait", "--dir", "store") as worker:
        worker.output(4)
        worker.event("state.transition", seq=3)
        found = got(place, "score_history")
        assert (found["items"], found["seq"], found["store_seq"]) == ([0.0, 1.0, 2.0], 3, 3)
        worker.signal(15)
        worker.end()


def test_what_is_shown_cannot_move_the_cursor(place):
    with penin.open_sync(place / "store") as orchestrator:
        orchestrator.put_document("\x1b[2J", {"\x9b2J": "\x7f"})
    process, text = get(place, "\x1b[2J")
    assert process.code == ExitCode.SUCCESS
    assert text.isascii()
    assert "\x1b" not in text
    assert "\x7f" not in text
