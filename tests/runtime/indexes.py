"""Open stores whose approximate indexes are made of few vectors; and what is asked of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import get_args

import numpy as np

from penin.core.nearest import Metric
from penin.runtime.index_build import IndexBuild, build
from penin.runtime.store import store_at
from penin.runtime.supervisor import Supervisor
from penin.settings import Settings
from tests.runtime.stores import RecordedLog, Running, within

DIMENSION = 16
NAME = f"cosine-{DIMENSION}.index"
METRICS: tuple[Metric, ...] = get_args(Metric)


class BuildHere(IndexBuild):
    """Builds in this process, which takes less time than to start another one."""

    def run(self):
        build(self.directory, self.kind, self.output, self.key_from)


@asynccontextmanager
async def running_on(directory, **settings):
    """A supervisor on a real directory, with its log."""
    chosen, log = Settings(**settings), RecordedLog()
    running = Running(Supervisor(store_at(directory, chosen), chosen, log), log)
    try:
        await within(running.supervisor.started.wait())
        yield running
    finally:
        await running.end()


def vectors(count, seed=1):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, DIMENSION))
    noise = random.standard_normal((count, DIMENSION)) * 0.2
    return (centres[random.integers(0, 20, count)] + noise).astype(np.float32)


def names(count, start=0):
    return [f"k{number}" for number in range(start, start + count)]


def keys_of(found):
    return [each.key for each in found]


def index_of(running):
    return running.supervisor.store.directory / "index"


async def asked(running, k=10, seed=2, **options):
    """What is found approximately, by some vector."""
    query = vectors(1, seed)[0]
    return await within(running.orchestrator.nearest(query, k, approximate=True, **options))


async def built(running, metric="cosine", event="index.built"):
    """Ask, and wait until what that began is there."""
    count = len(running.log.of(event))
    await asked(running, metric=metric)
    await running.log.comes(event, count + 1)
