"""`penin verify` and `penin repair`, as processes, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, REPOSITORY, Penin
from tests.cli.processes import penin as run_penin
from tests.cli.test_status import files_of

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


@pytest.fixture
def store(place):
    """Three scores with a checkpoint after the second, the writer killed."""
    with Penin(place, "run", "workers:wait", "--stdin", stdin=subprocess.PIPE) as worker:
        for number in (1, 2):
            worker.stdin.write(b'{"type": "add_score", "score": %d}\n' % number)
            worker.stdin.flush()
            worker.event("state.transition", seq=number)
        worker.signal(10)
        worker.event("checkpoint.finished")
        worker.stdin.write(b'{"type": "add_score", "score": 3}\n')
        worker.stdin.flush()
        worker.event("state.transition", seq=3)
        worker.signal(9)
        worker.end()
    return place / STORE


def break_last_line(store):
    path = max((store / "journal").iterdir())
    path.write_bytes(path.read_bytes().replace(b'"score":3', b'"score":4'))
    return path


def report_of(place, code):
    process = run_penin(place, "verify", "--json")
    assert process.code == code, process.err
    return json.loads("\n".join(process.out))


def test_a_sound_store_beside_a_worker_is_sound_and_unchanged(place):
    with Penin(place, "run", "workers:count", "workers:wait") as worker:
        worker.output(4)
        worker.event("state.transition", seq=3)
        before = files_of(place / STORE)
        report = report_of(place, ExitCode.SUCCESS)
        assert report["is_sound"]
        assert report["journal"]["last_seq"] == 3
        rows = run_penin(place, "verify", "--no-progress").out
        assert rows[-1].split() == ["verdict", "sound"]
        assert files_of(place / STORE) == before


def test_a_damaged_store_has_the_exit_code_and_says_where(place, store):
    path = break_last_line(store)
    report = report_of(place, ExitCode.CORRUPT)
    assert [problem["path"] for problem in report["problems"]] == [str(path)]
    rows = run_penin(place, "verify").out
    assert rows[-1].split(maxsplit=1) == ["verdict", "NOT SOUND"]
    assert any("missing: seq 3" in row for row in rows)


def test_where_there_is_no_store_both_say_so(place):
    for arguments in (["verify"], ["repair", "--to", "mended"]):
        process = run_penin(place, *arguments, "--dir", "nowhere")
        assert process.code == ExitCode.USAGE
        assert process.err == ["penin: --dir nowhere: there is no store"]
    assert not (place / "mended").exists()


def test_a_repair_shows_what_it_cuts_and_makes_nothing_unless_it_is_told_to(place, store):
    path = break_last_line(store)
    before = files_of(store)
    refused = run_penin(place, "repair", "--to", "mended")
    assert refused.code == ExitCode.USAGE
    assert "--yes" in refused.err[0]
    rows = "\n".join(refused.out)
    assert str(path) in rows
    assert "kept" in rows
    assert "seq 3" in rows
    assert not (place / "mended").exists()
    assert files_of(store) == before


def test_a_repaired_store_opens_and_the_original_is_as_it_was(place, store):
    break_last_line(store)
    before = files_of(store)
    process = run_penin(place, "repair", "--to", "mended", "--yes", "--json")
    assert process.code == ExitCode.SUCCESS, process.err
    made = json.loads("\n".join(process.out))
    assert (made["seq"], made["lost_first_seq"]) == (2, 3)
    assert (made["to"], made["is_needed"]) == (str(place / "mended"), True)
    assert files_of(store) == before
    with penin.open_sync(place / "mended") as orchestrator:
        assert orchestrator.history("score_history") == [1.0, 2.0]
        orchestrator.add_score(4.0)
    assert penin.verify(place / "mended").store == made["made"]
    again = run_penin(place, "repair", "--to", "mended", "--yes")
    assert again.code == ExitCode.STORAGE_FAILED
    assert "there is a store already" in again.err[0]


def test_where_nothing_is_damaged_nothing_is_made(place, store):
    process = run_penin(place, "repair", "--to", "mended")
    assert process.code == ExitCode.SUCCESS
    assert "nothing is damaged" in process.err[0]
    assert not (place / "mended").exists()


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"\n", 2), (b"\x04", 2)])
def test_on_a_terminal_it_asks(place, store, answer, code):
    break_last_line(store)
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penin", "repair", "--to", "mended"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(master, 1000)
    os.write(master, answer)
    assert process.wait(PATIENCE_S) == code
    os.close(master)
    assert (place / "mended" / "state.json").exists() == (code == 0)


def test_a_store_that_was_opened_beside_damage_says_so_in_its_status(place, store):
    state = store / "state.json"
    state.write_bytes(state.read_bytes().replace(b"2.0", b"2.5"))
    status = json.loads("\n".join(run_penin(place, "status", "--json").out))
    assert str(state) in [damaged["path"] for damaged in status["damaged"]]
    assert status["seq"] == 3
    with penin.open_sync(store) as orchestrator:
        assert orchestrator.history("score_history") == [1.0, 2.0, 3.0]
    status = json.loads("\n".join(run_penin(place, "status", "--json").out))
    assert status["damaged"] == []
    assert any("state.json.corrupt-" in path for path in status["set_aside"])
    rows = "\n".join(run_penin(place, "status").out)
    assert "set aside" in rows


def test_a_store_that_cannot_be_opened_names_the_commands_that_help(place, store):
    break_last_line(store)
    for arguments in (["run"], ["status"], ["send"]):
        process = run_penin(place, *arguments)
        assert process.code == ExitCode.CORRUPT
        said = "\n".join(process.err)
        assert f"penin verify --dir {store} " in said
        assert f"penin repair --dir {store} --to DIR" in said
