"""Commands on a store that a worker may have open: the same through its socket and without it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

import penin
from penin.cli.exits import ExitCode
from penin.ingress.socket.address import SOCKET_NAME
from tests.cli.processes import Penin, jsonl, scores
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is several processes

STORE = ".penin_omega"
FIRST = [
    {
        "type": "extend_knowledge",
        "keys": ["a", "b"],
        "matrix": [[1.0, 0.0], [0.6, 0.8]],
        "metadata": [{"n": 1}, {"n": 2}],
    },
    {"type": "put_document", "name": "d", "value": {"left": 7}},
    {"type": "append_history", "name": "h", "value": "x"},
    {"type": "add_score", "score": 0.5},
]


@contextmanager
def worker(place):
    """A worker that serves the store, once it does."""
    with Penin(place, "run") as process:
        process.event("ingress.opened", source="socket")
        yield process


def send(place, data):
    """Run `penin send` to its end, with stdin."""
    with Penin(place, "send", stdin=subprocess.PIPE) as process:
        process.stdin.write(data)
        process.stdin.close()
        process.code = process.end()
    return process


def said(place, *arguments):
    process = run_penin(place, *arguments)
    return process.code, process.out, process.err


def test_a_message_that_the_worker_refuses_is_in_its_log_and_in_that_of_its_sender(place):
    line = {"type": "add_score", "score": 1, "id": "m-7"}
    bad = [line | {"score": 2}, line | {"score": "high"}]
    with worker(place) as process:
        assert send(place, jsonl(line)).code == ExitCode.SUCCESS
        sending = send(place, jsonl(*bad))
        assert sending.code == ExitCode.REFUSED_INPUT
        theirs = process.event("message.refused")
        assert theirs["name"] == f"process {sending.pid}"
        status = json.loads("".join(said(place, "status", "--json")[1]))
        process.signal(signal.SIGTERM)
        assert process.end() == 0
    told = [event for event in sending.events if event["event"] == "message.refused"]
    assert {event["field"] for event in told} == {"id", "score"}
    assert [event["id"] for event in [theirs, *told]] == ["m-7"] * 3
    assert {event["store"] for event in [theirs, *told]} == {status["store"]}


ASKED = [
    ("get", "a"),
    ("get", "a", "--json"),
    ("get", "d", "--json"),
    ("get", "h"),
    ("get", "task_histor"),
    ("get", "h", "--kind", "document"),
    ("nearest", "[2, 1]"),
    ("nearest", "--like", "b", "--count", "1", "--json"),
    ("nearest", "--like", "c"),
    ("nearest", "[1, 2, 3]"),
]


@pytest.mark.long
@pytest.mark.timeout(300)  # each question is a process
def test_what_is_asked_is_answered_alike_with_and_without_a_worker(place):
    assert send(place, jsonl(*FIRST)).code == ExitCode.SUCCESS
    without = [said(place, *words) for words in ASKED]
    with worker(place) as process:
        assert [said(place, *words) for words in ASKED] == without
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


def test_messages_go_through_the_worker_that_runs(place):
    with worker(place) as process:
        sent = send(place, jsonl(*FIRST) + b"nonsense\n")
        assert sent.code == ExitCode.REFUSED_INPUT
        sent.said("4 messages stored")
        process.event("state.transition", type="add_score", source="stdin")
        status = json.loads("\n".join(run_penin(place, "status", "--json").out))
        assert status["worker"]["pid"] == process.pid
        assert (status["seq"], status["documents"]) == (4, 1)
        code, _, err = said(place, "checkpoint")
        assert (code, "seq 4" in err[0]) == (ExitCode.SUCCESS, True)
        process.event("checkpoint.finished", reason="request", seq=4)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
    assert (place / STORE / "rejected.jsonl").read_bytes() == b"nonsense\n"


def test_a_checkpoint_without_a_worker_needs_a_store(place):
    code, _, err = said(place, "checkpoint")
    assert (code, "no store" in err[0]) == (ExitCode.USAGE, True)
    assert not (place / STORE).exists()


def test_when_the_worker_stops_in_the_middle_the_rest_goes_into_the_store_once(place):
    with worker(place) as process, Penin(place, "send", stdin=subprocess.PIPE) as sending:
        sending.stdin.write(scores(300))
        process.event("state.transition", seq=300)
        process.signal(signal.SIGTERM)
        sending.stdin.write(scores(300, start=300))
        assert process.end() == ExitCode.SUCCESS
        sending.stdin.write(scores(300, start=600))
        sending.stdin.close()
        assert sending.end() == ExitCode.SUCCESS
        sending.said("900 messages stored")
    assert list(penin.load(place / STORE).score_history) == list(range(900))


@pytest.mark.long
def test_when_the_worker_stops_the_next_one_gets_the_rest(place):
    with worker(place) as first, Penin(place, "send", stdin=subprocess.PIPE) as sending:
        sending.stdin.write(scores(100))
        first.event("state.transition", seq=100)
        first.signal(signal.SIGTERM)
        assert first.end() == ExitCode.SUCCESS
        with worker(place) as second:
            sending.stdin.write(scores(100, start=100))
            sending.stdin.close()
            assert sending.end() == ExitCode.SUCCESS
            second.event("state.transition", seq=200)
            second.signal(signal.SIGTERM)
            assert second.end() == ExitCode.SUCCESS
    assert list(penin.load(place / STORE).score_history) == list(range(200))


@pytest.mark.long
def test_when_the_worker_is_killed_what_is_unknown_is_said(place):
    with worker(place) as process, Penin(place, "send", stdin=subprocess.PIPE) as sending:
        sending.stdin.write(scores(100))
        process.event("state.transition", seq=100)
        os.kill(process.pid, signal.SIGSTOP)  # what is sent now is not answered
        sending.stdin.write(scores(100, start=100))
        sending.stdin.close()
        os.kill(process.pid, signal.SIGKILL)
        process.end()
        code = sending.end()
        if code == ExitCode.STORAGE_FAILED:
            sending.said("may be stored, or not")
        else:  # it had not been sent to that one yet
            sending.said("200 messages stored")
    found = list(penin.load(place / STORE).score_history)
    assert found == list(range(len(found)))
    assert len(found) >= 100


@pytest.mark.long
def test_an_import_goes_on_wherever_the_worker_goes(place):
    rows = 20_000
    np.save(place / "vectors.npy", np.random.default_rng(7).random((rows, 64), np.float32))
    (place / "keys.txt").write_text("".join(f"k{row}\n" for row in range(rows)))
    words = ("import", "vectors.npy", "--keys", "keys.txt")
    with worker(place) as process, Penin(place, *words) as importing:
        process.event("state.transition", type="put_document")
        process.signal(signal.SIGKILL)
        process.end()
        assert importing.end() == ExitCode.SUCCESS
    state = penin.load(place / STORE)
    matrix = np.load(place / "vectors.npy")
    assert len(state.knowledge_base) == rows
    assert np.array_equal(state.knowledge_base["k19999"].array, matrix[-1])
    assert not state.documents


@pytest.mark.long
def test_a_worker_without_a_socket_is_named(place):
    with Penin(place, "run", "--no-socket") as process:
        process.event("supervisor.phase", phase="running")
        assert not (place / STORE / SOCKET_NAME).exists()
        sent = send(place, scores(1))
        assert sent.code == ExitCode.LOCKED
        sent.said(str(process.pid))
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


@pytest.mark.long
def test_ctrl_c_ends_a_sender_and_not_the_worker(place):
    with worker(place) as process, Penin(place, "send", stdin=subprocess.PIPE) as sending:
        sending.stdin.write(scores(10))
        process.event("state.transition", seq=10)
        sending.signal(signal.SIGINT)
        assert sending.end() == 128 + signal.SIGINT
        sending.said("10 messages stored")
        assert send(place, scores(1)).code == ExitCode.SUCCESS
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS


@pytest.mark.long
def test_where_the_worker_hangs_the_files_are_read(place):
    assert send(place, jsonl(*FIRST)).code == ExitCode.SUCCESS
    with worker(place) as process:
        os.kill(process.pid, signal.SIGSTOP)
        code, out, _ = said(place, "get", "d", "--json")
        assert (code, json.loads("\n".join(out))["value"]) == (ExitCode.SUCCESS, {"left": 7})
        sent = send(place, scores(1))
        assert sent.code == ExitCode.LOCKED
        os.kill(process.pid, signal.SIGCONT)
        process.signal(signal.SIGTERM)
        assert process.end() == ExitCode.SUCCESS
