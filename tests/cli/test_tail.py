"""`penin tail`, as a process: the last transitions, those that come, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, Penin, jsonl, scores
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


@pytest.fixture
def store(place):
    """A store with twelve transitions, closed."""
    put = {"type": "put_document", "name": "offset", "value": 7, "id": "batch-1"}
    key = {"type": "add_knowledge", "key": "a\nb\x1b[31m", "vector": [0.5, 1.5]}
    (place / "lines.jsonl").write_bytes(scores(10) + jsonl(put, key))
    assert run_penin(place, "send", "lines.jsonl").code == ExitCode.SUCCESS
    return place / STORE


def shown_seqs(lines):
    return [int(line.split()[0]) for line in lines]


def tail(place, *arguments, code=ExitCode.SUCCESS):
    process = run_penin(place, "tail", *arguments)
    assert process.code == code, process.err
    return process


def test_the_last_ones_and_those_from_a_place_on_are_shown(place, store):
    assert shown_seqs(tail(place).out) == list(range(3, 13))
    assert shown_seqs(tail(place, "--since", 2, "-n", 1, "--type", "add_score").out) == [10]
    assert shown_seqs(tail(place, "--since", "2026-01-01", "--key", "offset").out) == [11]


def test_a_line_is_that_of_the_ledger_and_stays_a_line(place, store):
    last = tail(place, "-n", 2).out
    assert last == run_penin(place, "ledger", "show", "--from-seq", 11).out
    assert "(id 'batch-1')" in last[0]
    assert "\\u001b" in last[1]
    as_json = tail(place, "-n", 2, "--json").out
    assert as_json == run_penin(place, "ledger", "show", "--from-seq", 11, "--json").out
    assert json.loads(as_json[0])["transition"]["value"] == 7


def test_it_follows_workers_over_restarts_and_kills_until_ctrl_c(place):
    (place / STORE / "journal").mkdir(parents=True)
    with Penin(place, "run", "workers:count", "--log-level", "error") as worker:
        worker.end()
    with Penin(place, "tail", "-f", "-n", 1) as process:
        assert shown_seqs(process.output(1)) == [3]
        seq = 3
        for _ in range(2):
            with Penin(place, "run", "workers:count", "workers:wait") as worker:
                worker.output(4)
                seq += 3
                assert shown_seqs(process.output(seq - 2))[-3:] == [seq - 2, seq - 1, seq]
                worker.signal(signal.SIGUSR1)
                worker.event("checkpoint.finished")
                worker.signal(signal.SIGKILL)
                worker.end()
        process.signal(signal.SIGINT)
        assert process.end() == 128 + signal.SIGINT
    assert shown_seqs(process.out) == list(range(3, seq + 1))
    assert process.err == []


def test_what_checkpoints_take_away_before_it_was_read_is_told(place, store):
    (place / "more.jsonl").write_bytes(scores(12))
    for _ in range(3):  # each run leaves a checkpoint, of which two are kept
        run_penin(place, "send", "more.jsonl")
    process = tail(place, "--since", 1)
    seqs = shown_seqs(process.out)
    assert seqs == list(range(seqs[0], 49))
    assert process.err == [f"penin: missed seq 1 to {seqs[0] - 1}: they are not kept any more"]


def test_a_reader_that_goes_ends_it_also_while_nothing_comes(place, store):
    command = [sys.executable, "-m", "penin", "tail", "-f", "-n", "1"]
    with subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().split()[0] == b"12"
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""


def test_a_store_that_is_not_there_yet_is_followed_from_its_first_transition_on(place):
    (place / "lines.jsonl").write_bytes(scores(12))
    with Penin(place, "tail", "-f", "-n", 2) as process:
        assert f"there is no store in {place / STORE} yet" in process.said("waiting for one")
        assert run_penin(place, "send", "lines.jsonl").code == ExitCode.SUCCESS
        assert shown_seqs(process.output(12)) == list(range(1, 13))
        process.signal(signal.SIGINT)
        assert process.end() == 128 + signal.SIGINT


def test_a_reader_that_goes_ends_the_waiting_for_a_store(place):
    command = [sys.executable, "-m", "penin", "tail", "-f"]
    with subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"waiting for one" in process.stderr.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""


def test_a_store_that_goes_while_it_is_followed_ends_it_with_a_sentence(place, store):
    with Penin(place, "tail", "-f", "-n", 1) as process:
        process.output(1)
        shutil.rmtree(store)
        assert process.end() == ExitCode.USAGE
    assert process.err == ["penin: --dir .penin_omega: no journal here"]


def test_on_a_terminal_it_has_colours_and_fits(place, store):
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "penin", "tail", "-n", "2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "70"}
    subprocess.run(command, cwd=place, stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "\x1b[32m  put_document" in shown
    assert "\x1b[31m" not in shown  # that of the key
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert [len(line.rstrip("\r")) for line in plain.splitlines()] == [70, 70]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "-1"], "--last -1"),
        (["--since", "soon"], "--since"),
        (["--dir", "nowhere"], "--dir nowhere: no journal here"),
        (["--type", "add_scores", "-f"], "--type add_scores: it is none of add_knowledge, "),
    ],
)
def test_a_mistake_in_the_command_line_has_one_sentence(place, store, arguments, said):
    process = tail(place, *arguments, code=ExitCode.USAGE)
    assert len(process.err) == 1
    assert said in process.err[0]
