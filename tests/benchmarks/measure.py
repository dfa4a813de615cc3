"""The two measurements: acknowledgements a second of many senders, and the latency of one."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from tests.benchmarks.machine import sync_file
from tests.benchmarks.peers import StoreRunner


class Latency(NamedTuple):
    """Of messages that one sender sends one after the other."""

    median_s: float
    p99_s: float


class _Window:
    """Open until its time is over. A plain attribute, since senders look at it every message."""

    def __init__(self, seconds: float) -> None:
        self.is_open = True
        asyncio.get_running_loop().call_later(seconds, self._close)

    def _close(self) -> None:
        self.is_open = False


async def _send_until_closed(runner: StoreRunner, first: int, step: int, window: _Window) -> int:
    """Sends one message after the other, each awaited; the first one's number not sent."""
    submit = runner.submit
    number = first
    while window.is_open:
        await submit(number)
        number += step
    return number


async def _send_for(seconds: float, runner: StoreRunner, firsts: list[int]) -> list[int]:
    """A sender for each of `firsts`; returns what each would have sent next."""
    window = _Window(seconds)
    async with asyncio.TaskGroup() as group:
        senders = [
            group.create_task(_send_until_closed(runner, first, len(firsts), window))
            for first in firsts
        ]
    return [sender.result() for sender in senders]


async def throughput(
    runner: StoreRunner, *, senders: int, warm_up_s: float, measured_s: float
) -> float:
    """Acknowledged messages a second of `senders` tasks, each awaiting one at a time.

    The senders run for `warm_up_s` first, uncounted, so that what grows to its size once has done
    so. The time until the last sender was answered counts. What a sender is raised, is raised.
    """
    warmed_up = await _send_for(warm_up_s, runner, list(range(senders)))
    start = perf_counter()
    done = await _send_for(measured_s, runner, warmed_up)
    elapsed_s = perf_counter() - start
    return (sum(done) - sum(warmed_up)) // senders / elapsed_s


async def latency(runner: StoreRunner, *, messages: int) -> Latency:
    """From the call to the acknowledgement, for one sender. A tenth more is sent to warm up."""
    submit = runner.submit
    for number in range(messages // 10):
        await submit(number)
    samples: list[float] = []
    for number in range(messages // 10, messages // 10 + messages):
        start = perf_counter()
        await submit(number)
        samples.append(perf_counter() - start)
    return _summary(samples)


def write_and_sync_latency(
    directory: Path, payload: Callable[[int], bytes], *, messages: int
) -> Latency:
    """A write and an fdatasync of each raw payload, in a plain loop: no asyncio, no thread."""
    path = directory / "payloads"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    samples: list[float] = []
    try:
        for number in range(messages + messages // 10):
            data = payload(number)
            start = perf_counter()
            os.write(descriptor, data)
            sync_file(descriptor)
            samples.append(perf_counter() - start)
    finally:
        os.close(descriptor)
    return _summary(samples[messages // 10 :])


def _summary(samples: list[float]) -> Latency:
    samples.sort()
    return Latency(statistics.median(samples), samples[len(samples) * 99 // 100])
