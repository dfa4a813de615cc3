"""Real processes of `penin`, and waiting for what they say, with a bound on every wait."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE_S = 30.0
REPOSITORY = Path(__file__).parents[2]

WORKERS = '''
import asyncio, os, sys, time

async def count(orchestrator, total=3, name="x"):
    """Adds scores and prints the seq of each acknowledgement."""
    for number in range(total):
        ack = await orchestrator.add_score(float(number))
        print(ack.seq, flush=True)

async def endless(orchestrator):
    """Adds scores until it is stopped: 0.0, 1.0, ... from where the last run ended."""
    number = len(await orchestrator.history("score_history"))
    while not orchestrator.stopping.is_set():
        ack = await orchestrator.add_score(float(number))
        number += 1
        print(ack.seq, flush=True)

async def wait(orchestrator):
    print("waiting", flush=True)
    await orchestrator.stopping.wait()

async def stubborn(orchestrator):
    print("waiting", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def deaf(orchestrator):
    await orchestrator.add_score(1.0)
    await stubborn(orchestrator)

async def in_thread(orchestrator):
    await orchestrator.add_score(1.0)
    print("waiting", flush=True)
    await asyncio.to_thread(time.sleep, 600)

async def leaving(orchestrator):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    raise RuntimeError("always")

async def failing(orchestrator):
    raise RuntimeError("always")

async def arguments(orchestrator, **given):
    await orchestrator.put_document("given", given)

def synchronous(orchestrator):
    pass

async def blocking_log(orchestrator, total=2000):
    for number in range(total):
        await orchestrator.add_task({"number": number, "filling": "x" * 200})
    print("done", flush=True)
'''


class Penin:
    """A process of `python -m penin` in a directory; its output is collected as it comes."""

    within: tuple[str, ...] = ()
    """The command that it is started by, if it is not started alone."""

    def __init__(self, directory, *arguments, stdin=subprocess.DEVNULL, stderr=None, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENIN_")}
        self._process = subprocess.Popen(
            [*self.within, sys.executable, "-m", "penin", *map(str, arguments)],
            cwd=directory,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr is None else stderr,
            bufsize=0,
        )
        self.pid = self._process.pid
        self.stdin = self._process.stdin
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        streams = [(self._process.stdout, self.out), (self._process.stderr, self.err)]
        self._threads = [
            threading.Thread(target=self._collect, args=pair, daemon=True)
            for pair in streams
            if pair[0] is not None
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _collect(self, stream, lines):
        with contextlib.suppress(ValueError):  # closed
            for line in stream:
                with self._changed:
                    lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _wait(self, found, what):
        """What `found()` gives as soon as it gives something; fails after PATIENCE_S."""
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while (result := found()) is None:
                is_over = not any(thread.is_alive() for thread in self._threads)
                if is_over or time.monotonic() > deadline:
                    raise AssertionError(f"no {what}: {self.out[-5:]} {self.err[-20:]}")
                self._changed.wait(0.2)
            return result

    @property
    def events(self):
        """The log lines so far, decoded."""
        return [json.loads(line) for line in list(self.err) if line.startswith("{")]

    def event(self, name, **fields):
        """The first event of that name and with those fields, once it is logged."""

        def found():
            for event in self.events:
                if event["event"] == name and fields.items() <= event.items():
                    return event
            return None

        return self._wait(found, f"event {name} {fields}")

    def output(self, count):
        """The first `count` lines of stdout, once they are there."""
        return self._wait(lambda: self.out[:count] if len(self.out) >= count else None, "output")

    def said(self, text):
        """The first line of stderr with `text` in it, once it is there."""
        found = lambda: next((line for line in self.err if text in line), None)  # noqa: E731
        return self._wait(found, repr(text))

    def signal(self, number):
        self._process.send_signal(number)

    def signal_until_it_ends(self, number, interval_s):
        """Send a signal again and again; how long it took in seconds."""
        begun_s = time.monotonic()
        while time.monotonic() < begun_s + PATIENCE_S:
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(interval_s)
                return time.monotonic() - begun_s
        raise AssertionError(f"signal {number} does not end it: {self.err[-20:]}")

    def end(self):
        """The exit code, once it has ended and all its output is here; never a traceback."""
        code = self._process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if code not in (1, -signal.SIGKILL):
            assert "Traceback" not in "\n".join(line for line in self.err if line[:1] != "{")
        return code


def penin(directory, *arguments, **options):
    """Run to the end; the process, with its `code`."""
    with Penin(directory, *arguments, **options) as process:
        process.code = process.end()
    return process


def jsonl(*messages):
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def scores(count, start=0):
    """Lines of `count` scores: start, start + 1, ..."""
    return jsonl(*({"type": "add_score", "score": start + n} for n in range(count)))


def on_a_terminal(directory, *arguments):
    """Run `penin` to its end with stderr on a terminal; its exit code, and what was shown there."""
    ours, theirs = pty.openpty()
    chunks: list[bytes] = []

    def collect():
        try:
            while chunk := os.read(ours, 4096):
                chunks.append(chunk)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=collect)
    with Penin(directory, *arguments, stderr=theirs, TERM="xterm", COLUMNS="120") as process:
        os.close(theirs)
        reader.start()
        code = process.end()
    reader.join(PATIENCE_S)
    os.close(ours)
    return code, b"".join(chunks).decode()
