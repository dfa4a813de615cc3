"""`penin backup`, as a process, beside a worker that writes."""

from __future__ import annotations

import json
import shutil

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several


def numbers_in(directory):
    return list(penin.load(directory).score_history)


def test_copies_of_a_store_that_a_worker_writes_are_moments_of_it(place):
    settings = ["--checkpoint-transitions-max", "20", "--history-maxlen", "1000000"]
    with Penin(place, "run", "workers:endless", "--no-log-transitions", *settings) as worker:
        worker.output(30)
        acknowledged = []
        for number in range(4):
            acknowledged.append(len(worker.out))
            process = run_penin(place, "backup", f"copy-{number}", "--json")
            assert process.code == ExitCode.SUCCESS
            assert json.loads("\n".join(process.out))["seq"] >= acknowledged[-1]
        worker.signal(15)
        assert worker.end() == ExitCode.SUCCESS
    everything = numbers_in(place / ".penin_omega")
    for number, least in enumerate(acknowledged):
        copied = numbers_in(place / f"copy-{number}")
        assert least <= len(copied) <= len(everything)
        assert copied == everything[: len(copied)]
        verified = run_penin(place, "checkpoints", "--dir", f"copy-{number}", "--verify")
        assert verified.code == ExitCode.SUCCESS
        with penin.open_sync(place / f"copy-{number}") as orchestrator:
            assert orchestrator.applied_seq >= len(copied)


def test_it_says_what_was_copied_and_takes_the_place_of_the_original(place):
    with penin.open_sync(place / "memory") as orchestrator:
        orchestrator.add_score(0.5)
    process = run_penin(place, "backup", "copy", "--dir", "memory")
    assert process.code == ExitCode.SUCCESS
    assert "(1 checkpoint, " in process.said("copied and verified up to seq 1 of 2")
    shutil.rmtree(place / "memory")
    (place / "copy").rename(place / "memory")
    with penin.open_sync(place / "memory") as orchestrator:
        assert orchestrator.add_score(0.75).seq == 2


def test_damage_is_named_and_is_the_exit_code(place):
    with penin.open_sync(place / "memory") as orchestrator:
        orchestrator.add_score(0.5)
    state = place / "memory" / "state.json"
    state.write_bytes(state.read_bytes().replace(b"0.5", b"0.6"))
    process = run_penin(place, "backup", "copy", "--dir", "memory")
    assert process.code == ExitCode.CORRUPT
    assert process.said(str(place / "memory" / "checkpoints"))
    assert sorted(path.name for path in place.iterdir()) == ["memory", "workers.py"]


def test_mistakes_have_a_sentence(place):
    assert run_penin(place, "backup", "copy").code == ExitCode.USAGE
    assert run_penin(place, "backup").code == ExitCode.USAGE
    with penin.open_sync(place / "memory") as orchestrator:
        orchestrator.add_score(0.5)
    assert run_penin(place, "backup", "memory", "--dir", "memory").code == ExitCode.STORAGE_FAILED
    assert run_penin(place, "backup", "workers.py", "--dir", "memory").code == ExitCode.USAGE
