"""`penin send`: files and stdin into a store."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import PATIENCE_S, REPOSITORY, Penin, jsonl, on_a_terminal, scores
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


def test_files_and_stdin_are_stored_in_order_and_summed_up(place):
    (place / "one.jsonl").write_bytes(scores(3))
    (place / "two.jsonl").write_bytes(scores(2, start=5))
    with Penin(place, "send", "one.jsonl", "-", "two.jsonl", stdin=subprocess.PIPE) as process:
        process.stdin.write(scores(2, start=3))
        process.stdin.close()
        assert process.end() == ExitCode.SUCCESS
    assert process.err == [f"penin: 7 messages stored in {place / STORE} (seq 1 to 7)"]
    assert list(penin.load(place / STORE).score_history) == [float(n) for n in range(7)]


def test_refused_lines_are_named_and_kept_and_the_rest_goes_on(place):
    bad = [
        b"nope",
        b'{"type": "add_score", "score": "x"}',
        b"\xff\xfe\x00",
        b"[" * 1_000_000,
        b"[]",
    ]
    lines = [b'{"type": "add_score", "score": 1}', b"", b"  \r"]
    (place / "in.jsonl").write_bytes(b"\n".join([*bad, *lines, lines[0]]))
    process = run_penin(place, "send", "in.jsonl")
    assert process.code == ExitCode.REFUSED_INPUT
    events = [event for event in process.events if event["event"] == "message.refused"]
    assert [event["line"] for event in events] == [1, 2, 3, 4, 5]
    assert {event["name"] for event in events} == {"in.jsonl"}
    assert [event["field"] for event in events][1] == "score"
    assert "2 messages stored" in process.err[-1]
    assert "5 lines refused" in process.err[-1]
    kept = place / STORE / "rejected.jsonl"
    assert kept.read_bytes() == b"\n".join([*bad, b""])
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_sent_twice_is_stored_once_where_its_lines_have_ids(place):
    lines = [{"type": "add_score", "score": n, "id": f"m-{n}"} for n in range(50)]
    (place / "in.jsonl").write_bytes(jsonl(*lines))
    assert run_penin(place, "send", "in.jsonl").err == [
        f"penin: 50 messages stored in {place / STORE} (seq 1 to 50)"
    ]
    again = run_penin(place, "send", "in.jsonl", "in.jsonl")
    assert again.code == ExitCode.SUCCESS
    (said,) = again.err
    assert said.endswith(
        "100 messages stored in "
        f"{place / STORE}, 100 of them known by their id and not stored again"
    )
    (place / "in.jsonl").write_bytes(jsonl(lines[7] | {"score": 0.5}, lines[7] | {"id": "new"}))
    other = run_penin(place, "send", "in.jsonl")
    assert other.code == ExitCode.REFUSED_INPUT
    assert "1 message stored" in other.err[-1]
    assert "1 line refused" in other.err[-1]
    assert other.event("message.refused")["reason"] == "'m-7' was another message, with seq 8"
    assert penin.load(place / STORE).seq == 51


def test_many_messages_share_commits(place):
    (place / "in.jsonl").write_bytes(scores(20_000))
    assert run_penin(place, "send", "in.jsonl", "--history-maxlen", "100000").code == 0
    store = penin.load(place / STORE)
    assert list(store.score_history) == [float(n) for n in range(20_000)]
    commits = sum(path.read_bytes().count(b"\n") for path in (place / STORE / "journal").iterdir())
    assert commits < 1000


def test_a_file_that_is_not_there_is_a_mistake_of_usage(place):
    process = run_penin(place, "send", "one.jsonl")
    assert process.code == ExitCode.USAGE
    assert process.err == ["penin: one.jsonl: No such file or directory"]
    assert not (place / STORE).exists()


def test_ctrl_c_ends_it_with_what_was_acknowledged(place):
    options = ["--log-level", "info"]
    with Penin(place, "send", *options, stdin=subprocess.PIPE) as process:
        process.stdin.write(scores(3))
        process.event("state.transition", seq=3)
        process.signal(signal.SIGINT)
        assert process.end() == 128 + signal.SIGINT
    assert "3 messages stored" in process.err[-1]
    assert list(penin.load(place / STORE).score_history) == [0.0, 1.0, 2.0]


def test_a_full_disk_is_said_and_what_was_acknowledged_is_counted(place):
    size = 200_000
    filling = "x" * 1000
    (place / "in.jsonl").write_bytes(
        jsonl(*({"type": "add_task", "task": {"n": n, "x": filling}} for n in range(1000)))
    )
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from penin.cli import main\n"
        "sys.exit(main(['send', 'in.jsonl', '--batch-messages-max', '10']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == ExitCode.STORAGE_FAILED, done.stderr
    assert "Traceback" not in done.stderr
    summary, failure = done.stderr.splitlines()[-2:]
    assert "File too large" in failure
    stored = penin.load(place / STORE).task_history
    assert f" {len(stored)} messages stored" in summary
    assert [task["n"] for task in stored] == list(range(len(stored)))
    assert len(stored) > 0


def test_a_terminal_gets_a_progress_bar_with_log_lines_above_it(place):
    (place / "in.jsonl").write_bytes(scores(5000) + b"nope\n")
    code, shown = on_a_terminal(place, "send", "in.jsonl")
    assert code == ExitCode.REFUSED_INPUT
    assert "sending" in shown
    assert "message.refused" in shown
    assert "5,000 messages stored" in shown


def test_a_file_of_refused_lines_that_is_a_symlink_is_named(place):
    (place / STORE).mkdir()
    (place / STORE / "rejected.jsonl").symlink_to(place / "elsewhere")
    (place / "in.jsonl").write_text("nothing\n")
    process = run_penin(place, "send", "in.jsonl")
    assert process.code == ExitCode.STORAGE_FAILED
    path = str(place / STORE / "rejected.jsonl")
    failed = process.event("ingress.failed", path=path)
    assert failed["cause"] == "it is a symlink, which is not followed"
    assert process.err[-1] == f"penin: {path}: it is a symlink, which is not followed"
    assert not (place / "elsewhere").exists()
