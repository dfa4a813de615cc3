"""What can be wrong with a stream stays in the log: stalled, closed, gone, non-blocking."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penin.logs.owned import configure
from penin.logs.streams import DescriptorSink, FileSink
from tests.logs.fakes import (
    PATIENCE_S,
    stalled_pipe,
)


def test_a_stalled_pipe_blocks_nobody_and_loses_nothing_uncounted():
    reading, writing = stalled_pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as stream:
        logs = configure(stream=stream, events_max=100, linger_s=0.0)
        for number in range(1_000):
            logs.info("state.transition", seq=number)
        assert logs.dropped > 0
        counted = 0
        for line in reader:
            if line.strip():
                event = json.loads(line)
                counted += event["count"] if event["event"] == "log.dropped" else 1
            if counted == 1_000:
                break
        assert logs.close(PATIENCE_S)
        assert counted == 1_000


def test_closing_on_a_stalled_pipe_is_bounded():
    reading, writing = stalled_pipe()
    with os.fdopen(writing, "wb") as stream:
        logs = configure(stream=stream, linger_s=0.0)
        logs.info("state.transition", seq=1)
        assert not logs.close(0.01)
    os.close(reading)
    logs._buffer._thread.join(PATIENCE_S)


def test_a_reader_that_went_away_is_nobodys_problem():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream:
        logs = configure(stream=stream)
        logs.info("state.transition", seq=1)
        assert not logs.close(PATIENCE_S)
        logs.info("state.transition", seq=2)
        assert isinstance(logs._buffer.failure, BrokenPipeError)
        assert logs.dropped == 2


def test_a_stream_that_its_owner_closed_is_nobodys_problem():
    stream = io.StringIO()
    logs = configure(stream=stream)
    stream.close()
    logs.info("state.transition", seq=1)
    assert not logs.close(PATIENCE_S)
    assert logs.dropped == 1


def test_a_file_may_be_closed_while_lines_are_on_their_way(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("wb") as stream:
        logs = configure(stream=stream)
    logs.info("state.transition", seq=1)
    assert logs.close(PATIENCE_S)
    assert json.loads(path.read_bytes())["seq"] == 1


def test_a_process_without_stderr_logs_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    logs = configure()
    logs.info("state.transition", seq=1)
    assert logs.close(PATIENCE_S)


def test_a_non_blocking_descriptor_gets_everything_in_pieces():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = DescriptorSink(writing)
    lines = [b"%06d\n" % number for number in range(100_000)]

    def write() -> None:
        sink.write(lines)
        sink.close()

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as reader:
        assert reader.read() == b"".join(lines)
    writer.join()


def test_after_a_write_that_ended_inside_a_line_the_next_one_starts_a_line():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = DescriptorSink(writing)
    sink.stop()
    sink.write([b"x" * 1_000_000 + b"\n"])
    torn = os.read(reading, 1_000_000)
    sink.write([b"whole\n"])
    sink.close()
    with os.fdopen(reading, "rb") as reader:
        assert set(torn) == {ord("x")}
        assert reader.read() == b"\nwhole\n"


def run_python(code: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)


def test_a_buffer_that_nobody_closed_is_drained_at_the_end_of_the_interpreter():
    ended = run_python(
        "from penin.logs.owned import configure\n"
        "logs = configure(linger_s=60.0)\n"
        "for seq in range(1000): logs.info('state.transition', seq=seq)\n"
    )
    assert [json.loads(line)["seq"] for line in ended.stderr.splitlines()] == list(range(1000))


def test_a_stalled_stderr_does_not_keep_the_interpreter_from_ending():
    code = (
        "from penin.logs.owned import configure\n"
        "logs = configure()\n"
        "for seq in range(10000): logs.info('state.transition', seq=seq)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert process.wait(PATIENCE_S) == 0


def test_a_forked_child_writes_its_own_lines_itself_and_none_of_its_parents():
    ended = run_python(
        "import os\n"
        "from penin.logs.owned import configure\n"
        "logs = configure(linger_s=0.5)\n"
        "logs.info('parent')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    logs.info('child')\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "assert logs.close(10.0)\n"
    )
    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert sorted(events) == ["child", "parent"]


# -- a file ---------------------------------------------------------------------------------------


def test_a_file_is_made_for_its_owner_alone_and_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "penin.log"
    for line in (b"a\n", b"b\n"):
        sink = FileSink(path)
        sink.write([line])
        sink.close()
    assert path.read_bytes() == b"a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_after_it_is_reopened_lines_go_to_the_file_that_has_the_name_then(tmp_path):
    path, rotated = tmp_path / "penin.log", tmp_path / "penin.log.1"
    before = set(Path("/proc/self/fd").iterdir())
    sink = FileSink(path)
    sink.write([b"a\n"])
    path.rename(rotated)
    sink.write([b"b\n"])
    sink.reopen()
    sink.reopen()
    sink.write([b"c\n"])
    assert (rotated.read_bytes(), path.read_bytes()) == (b"a\nb\n", b"c\n")
    path.unlink()
    sink.reopen()
    sink.close()
    assert path.read_bytes() == b""
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_where_it_cannot_be_reopened_the_file_before_goes_on(tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    sink = FileSink(directory / "penin.log")
    directory.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        sink.reopen()
    sink.write([b"a\n"])
    sink.close()
    assert (tmp_path / "moved" / "penin.log").read_bytes() == b"a\n"


def test_a_pipe_with_a_name_that_nobody_reads_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        FileSink(tmp_path / "pipe")
