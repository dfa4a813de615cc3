"""A real process, a real disk, a real `kill -9` in a stream of acknowledged messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

import penin

STREAM = """
import asyncio, sys
import penin

async def main(directory, fsync):
    settings = penin.Settings(fsync=fsync, checkpoint_transitions_max=40, history_maxlen=1_000_000)
    async with penin.open(directory, settings=settings) as orchestrator:
        numbers = iter(range(len(orchestrator.view.score_history), 10**9))

        async def sender():
            for number in numbers:
                await orchestrator.add_score(float(number))
                # Acknowledgements come in the order of seqs: all up to this one were given.
                print(number, flush=True)

        await asyncio.gather(*(sender() for _ in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


def killed_after(directory, fsync, acknowledgements):
    """Run the stream, kill it after so many acknowledgements; the last number that was told."""
    with subprocess.Popen(
        [sys.executable, "-c", STREAM, directory, fsync], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(acknowledgements)]
        process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
    told += [int(line) for line in rest if line.endswith("\n")]
    return max(told)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_every_acknowledged_message_is_there_in_order_and_none_twice(tmp_path, fsync):
    store = tmp_path / "store"
    for acknowledgements in (1, 60, 333):
        last = killed_after(str(store), fsync, acknowledgements)
        found = list(penin.load(store).score_history)
        assert found == [float(number) for number in range(len(found))]
        assert last < len(found)
