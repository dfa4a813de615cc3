"""What PENIN keeps, three times: the synchronous API, the asynchronous one, and after `kill -9`.

python examples/persistence_example.py
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import penin
from penin import NumericVectorArtifact


def with_the_synchronous_api(store: Path) -> None:
    """For scripts and optimisers: each call returns when its change is on the disk."""
    with penin.open_sync(store) as orchestrator:
        paris = NumericVectorArtifact([0.25, 0.5, 1.0], metadata={"country": "France"})
        orchestrator.add_knowledge("paris", paris)
        ack = orchestrator.add_score(0.85)
    print(f"sync:   stored two transitions, the last has seq {ack.seq}")


async def with_the_asynchronous_api(store: Path) -> None:
    """For workers and agents: the same store, opened again, remembers."""
    async with penin.open(store) as orchestrator:
        artifact = await orchestrator.get("paris")
        print(f"async:  remembered {artifact}")

        # All of a transaction or none of it, whatever happens in between.
        async with orchestrator.transaction() as t:
            t.add_task({"visit": "paris", "cost": 120})
            t.put_document("budget", {"left": 880})
        print(f"async:  now there are {await orchestrator.statistics()}")


def with_a_crash(store: Path) -> None:
    """A child stores scores and is killed amid its work. What it acknowledged is there."""
    command = [sys.executable, __file__, "child", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = 0
        for line in child.stdout:  # one line for each acknowledged score
            acknowledged = int(line)
            if acknowledged == 100:
                child.kill()  # SIGKILL: no handler, no clean-up, no last words
    print(f"crash:  a child was killed after it saw score {acknowledged} acknowledged")

    with penin.open_sync(store) as orchestrator:
        scores = orchestrator.history("score_history")[1:]  # the first is from the synchronous API
    assert scores == [float(number) for number in range(1, len(scores) + 1)]
    assert len(scores) >= acknowledged
    print(f"crash:  recovered {len(scores)} scores: every acknowledged one, in order, none twice")


async def child(store: Path) -> None:
    """Store scores for ever, and tell of each that it is safe."""
    async with penin.open(store) as orchestrator:
        number = 0
        while True:
            number += 1
            await orchestrator.add_score(number)
            print(number, flush=True)


def main() -> None:
    """Show all three in a temporary directory."""
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "store"
        with_the_synchronous_api(store)
        asyncio.run(with_the_asynchronous_api(store))
        with_a_crash(store)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        asyncio.run(child(Path(sys.argv[2])))
    else:
        main()
