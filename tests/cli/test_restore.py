"""`penin restore`, as a process."""

from __future__ import annotations

import json

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several


@pytest.fixture
def store(place):
    settings = penin.Settings(keep_journal="forever")
    with penin.open_sync(place / "memory", settings=settings) as orchestrator:
        orchestrator.add_score(1.0)
        with orchestrator.transaction() as t:
            t.add_score(2.0)
            t.add_score(3.0)
        orchestrator.checkpoint()
        orchestrator.add_score(4.0)
    return place / "memory"


def scores_in(directory):
    return list(penin.load(directory).score_history)


def restore(place, *arguments):
    return run_penin(place, "restore", "--dir", "memory", *arguments)


def test_it_says_exactly_what_was_restored(place, store):
    process = restore(place, "--seq", 2, "--to", "before")
    assert process.code == ExitCode.SUCCESS
    said = process.said("restored seq 1 of 2")
    assert "seq 2 is inside a message, so this rounds down" in said
    assert scores_in(place / "before") == [1.0]


def test_the_same_for_programs(place, store):
    process = restore(place, "--checkpoint", 3, "--to", "earlier", "--json")
    said = json.loads("\n".join(process.out))
    assert (said["seq"], said["checkpoint_seq"], said["inside_message"]) == (3, 3, False)
    assert said["store"] == json.loads((place / "earlier" / "state.json").read_text())["store"]
    assert scores_in(place / "earlier") == [1.0, 2.0, 3.0]


def test_a_dry_run_makes_nothing(place, store):
    process = restore(place, "--at", "2999-01-01", "--to", "later", "--dry-run")
    assert process.code == ExitCode.SUCCESS
    assert process.said("would restore seq 4 of 2")
    assert not (place / "later").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "new"], "exactly one of --seq, --checkpoint and --at"),
        (["--to", "new", "--seq", "1", "--at", "2026-01-01"], "exactly one of"),
        (["--to", "new", "--seq", "99"], "kept is seq 0 to 4"),
        (["--to", "new", "--at", "soon"], "at: 'soon' is no time"),
        (["--to", "new", "--at", "2001-01-01"], "kept is seq 0 to 4"),
        (["--to", "new", "--checkpoint", "2"], "there are: 3, 4"),
        (["--seq", "1"], "--to"),
    ],
)
def test_a_mistake_has_a_sentence_and_makes_nothing(place, store, arguments, sentence):
    process = restore(place, *arguments)
    assert process.code == ExitCode.USAGE
    assert process.said(sentence)
    assert not (place / "new").exists()


@pytest.mark.parametrize("target", ["memory", "memory/new", "full", "workers.py"])
def test_never_where_something_is(place, store, target):
    (place / "full").mkdir()
    (place / "full" / "file").touch()
    process = restore(place, "--seq", 1, "--to", target)
    assert process.code in {ExitCode.STORAGE_FAILED, ExitCode.USAGE}
    assert scores_in(store) == [1.0, 2.0, 3.0, 4.0]


def test_there_must_be_a_store(place):
    process = restore(place, "--seq", 1, "--to", "new")
    assert process.code == ExitCode.USAGE
    assert process.said("there is no store")


def test_beside_a_worker_that_writes(place):
    with Penin(place, "run", "workers:endless") as worker:
        worker.output(50)
        process = run_penin(place, "restore", "--seq", 30, "--to", "before")
        worker.signal(15)
        assert worker.end() == ExitCode.SUCCESS
    assert process.code == ExitCode.SUCCESS
    assert scores_in(place / "before") == [float(number) for number in range(30)]
    with penin.open_sync(place / "before") as orchestrator:
        assert orchestrator.add_score(0.5).seq == 31
