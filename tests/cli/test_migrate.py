"""`penin migrate`, as a process."""

from __future__ import annotations

import json
import signal

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

MIGRATIONS = """
import time

def to_1(draft):
    draft.documents["offset"] = {"line": draft.documents["offset"]}
    draft.documents.pop("old", None)

def to_2(draft):
    for task in draft.tasks:
        task["title"] = task.pop("name")
    draft.map_metadata(lambda key, metadata: {**metadata, "key": key})

def broken(draft):
    draft.documents["offset"] = {1, 2}

def raising(draft):
    return draft.documents["not there"]

def slow(draft):
    print("migrating", flush=True)
    time.sleep(600)

MIGRATIONS = {0: to_1, 1: to_2}
BROKEN = {0: to_1, 1: broken}
RAISING = {0: raising}
GAP = {0: to_1, 2: to_2}
SLOW = {0: slow}
EMPTY = {}
TEXTS = {"0": to_1}
LIST = [to_1]
NOT_A_FUNCTION = {0: 7}
"""


@pytest.fixture
def store(place):
    (place / "mine.py").write_text(MIGRATIONS)
    with penin.open_sync(place / "store") as orchestrator:
        orchestrator.put_document("offset", 7)
        orchestrator.put_document("old", value=True)
        orchestrator.add_task({"name": "first"})
        orchestrator.add_knowledge("a", penin.NumericVectorArtifact([0.5]))
    return place / "store"


def contents_of(store):
    return {path: path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def test_a_dry_run_shows_what_would_change_and_writes_nothing(place, store):
    before = contents_of(store)
    process = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store", "--dry-run")
    assert process.code == ExitCode.SUCCESS
    assert contents_of(store) == before
    rows = {line[:14].strip(): line[14:].strip() for line in process.out[:3]}
    assert rows == {
        "documents": "0 added, 1 changed, 1 removed",
        "metadata": "0 added, 1 changed, 0 removed",
        "task_history": "1 appended, 1 dropped, 1 now",
    }
    assert process.out[3:] == ["", "~ artifact a", "~ document offset", "- document old"]
    (said,) = process.err
    assert said.endswith("would go from schema version 0 to 2; nothing was done")


def test_it_is_done_once_and_says_where_the_state_before_is(place, store):
    process = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store")
    assert process.code == ExitCode.SUCCESS
    original = store / "state.before-schema-2.json"
    (said,) = process.err
    assert said.startswith(f"penin: {store} went from schema version 0 to 2 at seq 5; ")
    assert said.endswith(f"the state before is kept in {original}")
    memory = penin.load(store)
    assert (memory.schema_version, memory.seq) == (2, 5)
    assert dict(memory.documents) == {"offset": {"line": 7}}
    assert memory.knowledge_base["a"].metadata == {"key": "a"}
    before = penin.OmegaMetaOrchestrator()
    assert before.load_state(original)
    assert dict(before.documents) == {"offset": 7, "old": True}
    again = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store")
    assert again.code == ExitCode.SUCCESS
    assert again.err[0].endswith("is of schema version 2 already; nothing was done")
    assert (again.out, penin.load(store).seq) == ([], 5)
    status = json.loads("\n".join(run_penin(place, "status", "--json", "--dir", "store").out))
    assert status["schema_version"] == 2


def test_programs_get_one_object(place, store):
    words = ("migrate", "mine:MIGRATIONS", "--dir", "store", "--json")
    dry = json.loads("\n".join(run_penin(place, *words, "--dry-run").out))
    assert (dry["seq"], dry["original"]) == (None, None)
    made = json.loads("\n".join(run_penin(place, *words).out))
    assert made == dry | {"seq": 5, "original": str(store / "state.before-schema-2.json")}
    assert made["dir"] == str(store)
    assert (made["schema_version_before"], made["schema_version"]) == (0, 2)
    assert made["documents"]["changed"] == {"count": 1, "names": ["offset"]}
    assert made["histories"]["task_history"]["appended"] == 1
    again = json.loads("\n".join(run_penin(place, *words).out))
    assert (again["documents"], again["histories"], again["schema_version_before"]) == (None, {}, 2)


def test_of_many_names_the_first_are_shown_and_no_option_is_named_that_it_has_not(place, store):
    with penin.open_sync(store) as orchestrator:
        for number in range(11):
            orchestrator.add_knowledge(f"n{number}", penin.NumericVectorArtifact([0.5]))
    process = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store", "--dry-run")
    assert "~ artifact n8" in process.out
    assert "~ 2 more changed artifacts" in process.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine:BROKEN", "schema version 1 to 2: documents.offset: set has no place in JSON"),
        ("mine:RAISING", "schema version 0 to 1: it raised KeyError('not there') in "),
        ("mine:GAP", "schema version 1 to 2: there is no migrations[1]"),
        ("mine:EMPTY", "dict is not a dictionary of functions by version"),
        ("mine:LIST", "list is not a dictionary of functions by version"),
        ("mine:TEXTS", "a version is a whole number"),
        ("mine:NOT_A_FUNCTION", "migrations[0]: not a function"),
        ("mine:NOWHERE", "mine has no NOWHERE"),
        ("nowhere:X", "there is no module nowhere"),
        ("mine", "it is named as module:name"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_nothing_is_changed(place, store, name, words):
    before = contents_of(store)
    for more in ((), ("--dry-run",)):
        process = run_penin(place, "migrate", name, "--dir", "store", *more)
        assert process.code == ExitCode.USAGE
        assert process.out == []
        assert words in "\n".join(process.err)
    assert contents_of(store) == before


def test_where_there_is_no_store_none_is_made(place, store):
    process = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "nowhere")
    assert process.code == ExitCode.USAGE
    assert "there is no store" in "\n".join(process.err)
    assert not (place / "nowhere").exists()


def test_a_store_of_a_later_version_is_refused_with_both_numbers(place, store):
    assert run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store").code == 0
    process = run_penin(place, "migrate", "mine:SLOW", "--dir", "store")
    assert process.code == ExitCode.CORRUPT
    assert "schema version 2; this program works with 1" in "\n".join(process.err)


def test_killed_while_the_functions_run_nothing_was_changed(place, store):
    before = contents_of(store)
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with Penin(place, "migrate", "mine:SLOW", "--dir", "store") as process:
            process.output(1)
            process.signal(number)
            assert process.end() == code
    after = contents_of(store)
    for found in (before, after):  # who held it last
        found.pop(store / "lock")
    assert after == before
    assert run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store").code == 0


def test_a_store_that_is_open_elsewhere_is_shown_and_not_migrated(place, store):
    with Penin(place, "run", "workers:wait", "--dir", "store") as worker:
        worker.output(1)
        dry = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store", "--dry-run")
        assert dry.code == ExitCode.SUCCESS
        process = run_penin(place, "migrate", "mine:MIGRATIONS", "--dir", "store")
        assert process.code == ExitCode.LOCKED
        worker.signal(signal.SIGTERM)
        assert worker.end() == ExitCode.SUCCESS
    assert penin.load(store).schema_version == 0
