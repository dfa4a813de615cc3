"""Exactly once: a queue that delivers everything at least twice, into a process that is killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import penin

COUNT = 600
REDELIVERY = """
import asyncio, sys
import penin

async def main(directory, format, count):
    settings = penin.Settings(
        format=format, checkpoint_transitions_max=100, history_maxlen=10_000, batch_messages_max=16
    )
    async with penin.open(directory, settings=settings) as orchestrator:
        async def deliver(number):
            first = await put(number)
            # Once more, when it is known, or on its way with others.
            assert await put(number) == first, number
            print(number, first.seq, flush=True)

        async def put(number):
            async with orchestrator.transaction(id=f"order-{number}") as t:
                t.add_score(float(number))
                t.append_history("orders", number)
            assert t.ack.result == "ok"
            return t.ack

        # From the beginning in every life: the queue does not know what was taken.
        for start in range(0, count, 50):
            numbers = [*range(start, start + 50), *range(start, start + 50)]
            await asyncio.gather(*map(deliver, numbers))
    print("done", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def live(directory, format_, answers):
    """Deliver from the beginning, until so many answers; what was answered, and whether to the end.

    Each number must be answered with one seq, in every life.
    """
    with subprocess.Popen(
        [sys.executable, "-c", REDELIVERY, directory, format_, str(COUNT)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if len(lines) == answers:
                process.kill()
    told = [line.split() for line in lines if line.endswith("\n") and line != "done\n"]
    return {(int(number), int(seq)) for number, seq in told}, lines[-1:] == ["done\n"]


@pytest.mark.sliced
@pytest.mark.parametrize("format_", ["json", "safetensors"])
def test_what_is_delivered_twice_through_kills_is_there_exactly_once(tmp_path, format_):
    store, told = str(tmp_path / "store"), set()
    for answers in (1, 333, 801, None):
        answered, is_done = live(store, format_, answers)
        told |= answered
        assert is_done == (answers is None)
    assert len(told) == COUNT, "a number was answered with two seqs"
    assert {number for number, _ in told} == set(range(COUNT))
    memory = penin.load(store)
    orders = list(memory.histories["orders"])
    assert sorted(orders) == list(range(COUNT))
    assert memory.seq == 1 + 2 * COUNT  # and the bound of the histories
    # The seq that each was answered with is the one that it has.
    assert [number for number, _ in sorted(told, key=lambda pair: pair[1])] == orders
