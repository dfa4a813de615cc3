"""`penin run`: real processes, from the first line of the log to the exit code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import REPOSITORY, Penin, scores
from tests.cli.processes import penin as run_penin

STORE = ".penin_omega"


def scores_in(directory):
    return list(penin.load(directory / STORE).score_history)


def test_it_tells_that_there_was_no_previous_state_and_then_what_was_loaded(place):
    first = run_penin(place, "run", "workers:count")
    assert first.code == ExitCode.SUCCESS
    assert first.out == ["1", "2", "3"]
    assert first.event("recovery.started")["dir"] == str(place / STORE)
    assert first.event("recovery.finished")["loaded"] == "no previous state"
    second = run_penin(place, "run", "workers:count", "--", "total=0")
    event = second.event("recovery.finished")
    counts = ("knowledge_base_size", "task_history_size", "score_history_size")
    assert (event["loaded"], *map(event.get, counts)) == ("previous state", 0, 0, 3)


def test_run_is_the_default_also_with_options_only(place):
    process = run_penin(place, "workers:count")
    assert process.out == ["1", "2", "3"]
    with Penin(place, "--dir", "other", "--log-level", "info") as idle:
        idle.event("supervisor.phase", phase="running")
        idle.signal(2)
        assert idle.end() == ExitCode.SUCCESS
    assert (place / "other" / "journal").is_dir()


def test_a_workers_arguments_are_json_where_they_parse(place):
    words = ["total=2", 'nested={"a": [1.5]}', "text=abc", 'quoted="1"', "empty=", "nan=NaN"]
    assert run_penin(place, "run", "workers:arguments", "--", *words).code == ExitCode.SUCCESS
    assert penin.load(place / STORE).get_document("given") == {
        "total": 2,
        "nested": {"a": [1.5]},
        "text": "abc",
        "quoted": "1",
        "empty": "",
        "nan": "NaN",
    }


@pytest.mark.sliced
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere:worker"], "there is no module nowhere"),
        (["workers:nothing"], "workers has no nothing"),
        (["workers:synchronous"], "not an async function"),
        (["workers"], "'workers' is neither a command nor a worker"),
        (["broken:worker"], "importing broken raised"),
        (["needy:worker"], "needy needs nowhere_to_be_found"),
        (["workers:count", "--", "bogus=1"], "bogus"),
        (["workers:count", "--", "total=1", "total=2"], "total is given twice"),
        (["workers:count", "--", "--total=1"], "total=1, without dashes"),
        (["--", "total=1"], "no worker to give an argument to"),
        (["--nonsense"], "No such option: --nonsense"),
        (["--fsync", "sometimes"], "--fsync"),
        (["--lock-wait-s", "-1"], "--lock-wait-s"),
        (["--history-maxlen", "many"], "--history-maxlen"),
        (["--dir", "workers.py"], "not a directory"),
    ],
)
def test_a_mistake_of_usage_is_one_sentence_that_names_it_and_touches_nothing(
    place, words, sentence
):
    (place / "broken.py").write_text("1 / 0\n")
    (place / "needy.py").write_text("import nowhere_to_be_found\n")
    process = run_penin(place, "run", *words)
    assert process.code == ExitCode.USAGE
    (line,) = process.err
    assert sentence in line
    assert not (place / STORE).exists()


def test_every_option_is_an_environment_variable_too(place):
    environment = {
        "PENIN_DIR": "elsewhere",
        "PENIN_FSYNC": "everysec",
        "PENIN_LOG_FORMAT": "console",
        "PENIN_HISTORY_MAXLEN": "2",
    }
    process = run_penin(place, "run", "workers:count", **environment)
    assert process.code == ExitCode.SUCCESS
    assert any("fsync=everysec" in line for line in process.err)
    assert list(penin.load(place / "elsewhere").score_history) == [1.0, 2.0]
    refused = run_penin(place, "run", PENIN_LOCK_WAIT_S="soon")
    assert refused.code == ExitCode.USAGE
    assert "PENIN_LOCK_WAIT_S" in refused.err[0]


def test_a_worker_that_always_fails_gives_up_with_its_own_code(place):
    quick = ["--worker-backoff-min-s", "0.01", "--worker-backoff-max-s", "0.02"]
    process = run_penin(place, "run", "workers:failing", "--worker-failures-max", "3", *quick)
    assert process.code == ExitCode.WORKER_GAVE_UP
    assert [e["failures"] for e in process.events if e["event"] == "worker.failed"] == [1, 2, 3]
    assert process.event("worker.gave_up", failures=3)
    assert "worker workers:failing failed 3 times" in process.err[-1]


def test_a_store_that_is_open_elsewhere_is_locked(place):
    with Penin(place, "run", "workers:wait") as holder:
        holder.output(1)
        process = run_penin(place, "run", "--lock-wait-s", "0.05")
        assert process.code == ExitCode.LOCKED
        assert f"process {holder.pid} on" in process.err[-1]
        holder.signal(15)
        assert holder.end() == ExitCode.SUCCESS


def test_a_store_without_a_way_back_is_refused_and_left_as_it_is(place):
    run_penin(place, "run", "workers:count")
    state = place / STORE / "state.json"
    files = [state, *(state.parent / "checkpoints").iterdir()]
    files.append(min((state.parent / "journal").iterdir()))
    damaged = [path.read_bytes().replace(b"1.0", b"7.0") for path in files]
    for path, content in zip(files, damaged, strict=True):
        path.write_bytes(content)
    for command in (["run"], ["send"], ["status"]):
        process = run_penin(place, *command)
        assert process.code == ExitCode.CORRUPT
        assert str(state) in process.err[-1]
        assert "penin repair" in process.err[-1]
    assert [path.read_bytes() for path in files] == damaged


def test_stdin_is_read_until_it_ends(place):
    with Penin(place, "run", "--stdin", stdin=subprocess.PIPE) as process:
        process.event("ingress.opened", source="stdin")
        process.stdin.write(scores(2))
        process.event("state.transition", seq=2, source="stdin", line=2)
        process.stdin.write(scores(1, start=2)[:-1])  # without the last line feed
        process.stdin.close()
        assert process.end() == ExitCode.SUCCESS
    assert scores_in(place) == [0.0, 1.0, 2.0]


def test_a_refused_line_of_stdin_is_kept_and_told_by_the_exit_code(place):
    with Penin(place, "run", "--stdin", "workers:count", stdin=subprocess.PIPE) as process:
        process.stdin.write(b'{"type": "add_score", "score": "high"}\nnot json\n' + scores(1))
        process.stdin.close()
        assert process.end() == ExitCode.REFUSED_INPUT
    event = process.event("message.refused", line=1)
    assert (event["source"], event["field"]) == ("stdin", "score")
    kept = (place / STORE / "rejected.jsonl").read_bytes()
    assert kept == b'{"type": "add_score", "score": "high"}\nnot json\n'
    assert len(scores_in(place)) == 4


def test_a_closed_stdin_stdout_and_stderr_are_nothing_to_fail_on(place):
    command = f"exec {json.dumps(sys.executable)} -m penin run workers:count"
    done = subprocess.run(
        ["sh", "-c", f"{command} <&- >&- 2>&-"],
        cwd=place,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        timeout=30,
        check=False,
    )
    # The worker prints: without stdout that does nothing.
    assert done.returncode == ExitCode.SUCCESS
    assert scores_in(place) == [0.0, 1.0, 2.0]
    assert penin.load(place / STORE).seq == 3


def test_workers_of_the_working_directory_are_found_by_the_script_too(place):
    # A script has its own directory on sys.path and not the working one, as here with -P.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "penin", "run", "workers:count"],
        cwd=place,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == ExitCode.SUCCESS
    assert done.stdout.split() == [b"1", b"2", b"3"]


def test_a_worker_that_changes_the_working_directory_does_not_move_the_store(place):
    (place / "moving.py").write_text("import os\nos.chdir('/')\nfrom workers import count\n")
    assert run_penin(place, "run", "moving:count").code == ExitCode.SUCCESS
    assert scores_in(place) == [0.0, 1.0, 2.0]


def test_where_only_the_last_checkpoint_fails_the_exit_code_says_so(place):
    with Penin(place, "run", "workers:count", "workers:wait") as process:
        process.output(4)
        (place / STORE / "checkpoints").write_bytes(b"in the way")
        process.signal(15)
        assert process.end() == ExitCode.CHECKPOINT_FAILED
    assert "the journal has everything" in process.err[-1]
    assert scores_in(place) == [0.0, 1.0, 2.0]
