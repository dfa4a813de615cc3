from __future__ import annotations

import threading

import numpy as np
import pytest

import penin
from penin.core import NumericVectorArtifact
from penin.core.transitions import Ack
from penin.errors import (
    ClosedError,
    LockedError,
    RefusedError,
    WrongContextError,
)
from penin.runtime.protocol import AsyncOrchestrator
from penin.settings import Settings
from tests.runtime.stores import PATIENCE_S


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def test_every_writer_and_every_reader_without_await(store):
    with penin.open_sync(store) as orchestrator:
        assert orchestrator.phase == "running"
        assert orchestrator.add_knowledge("k", NumericVectorArtifact([1.0])) == Ack(1)
        assert orchestrator.extend_knowledge(["x", "y"], np.ones((2, 2))) == Ack(2)
        assert orchestrator.remove_knowledge("x") == Ack(3)
        assert orchestrator.add_task({"a": 1}) == Ack(4)
        assert orchestrator.add_score(0.5) == Ack(5)
        assert orchestrator.extend_scores([1.5]) == Ack(6)
        assert orchestrator.append_history("h", "v") == Ack(7)
        assert orchestrator.put_document("d", [1, 2], if_seq=0) == Ack(8)
        assert orchestrator.remove_document("nothing") == Ack(9, "missing")
        assert orchestrator.set_history_maxlen(5, "h") == Ack(10)
        assert orchestrator.send({"type": "add_score", "score": 1.0}) == Ack(11)
        orchestrator.durable(11)
        assert orchestrator.applied_seq == orchestrator.durable_seq == 11
        assert orchestrator.checkpoint() == 11
        assert orchestrator.get("k") == NumericVectorArtifact([1.0])
        assert orchestrator.get("x") is None
        assert orchestrator.get_document("d", tuple[int, int]) == (1, 2)
        assert orchestrator.history("score_history", 2) == [1.5, 1.0]
        assert orchestrator.statistics()["avg_score"] == 1.0
    loaded = penin.load(store)
    assert loaded.seq == 11
    assert loaded.get_statistics()["knowledge_base_size"] == 2


def test_it_has_every_call_of_the_async_one_that_blocks():
    without = {"send_nowait", "stopping"}
    names = {name for name in vars(AsyncOrchestrator) if not name.startswith("_")} - without
    assert names <= set(dir(penin.BlockingOrchestrator))


def test_a_transaction_is_all_or_nothing(store):
    with penin.open_sync(store) as orchestrator:
        with orchestrator.transaction() as t:
            t.add_score(1.0)
            t.put_document("d", 1, if_seq=0)
        assert t.ack == Ack(2)
        with pytest.raises(KeyError), orchestrator.transaction() as t:  # noqa: PT012  # the body is the point
            t.add_score(2.0)
            raise KeyError("mine")
        assert orchestrator.applied_seq == 2


def test_errors_are_the_same_as_with_await(store):
    with penin.open_sync(store) as orchestrator:
        with pytest.raises(RefusedError):
            orchestrator.add_score("much")  # type: ignore[arg-type]
        with (
            pytest.raises(LockedError),
            penin.open_sync(store, settings=Settings(lock_wait_s=0.0)),
        ):
            pytest.fail("it was opened")
        assert orchestrator.add_score(1.0) == Ack(1)


def test_the_exception_of_the_body_comes_out_and_the_state_is_saved(store):
    with pytest.raises(KeyError, match="mine"), penin.open_sync(store) as orchestrator:  # noqa: PT012  # the body is the point
        orchestrator.add_score(1.0)
        raise KeyError("mine")
    assert penin.load(store).seq == 1


def test_an_interrupt_of_the_body_comes_out_and_the_state_is_saved(store):
    with pytest.raises(KeyboardInterrupt), penin.open_sync(store) as orchestrator:  # noqa: PT012  # the body is the point
        orchestrator.add_score(1.0)
        raise KeyboardInterrupt
    assert penin.load(store).seq == 1


def test_several_threads_may_use_it_at_once(store):
    with penin.open_sync(store) as orchestrator:
        threads = [
            threading.Thread(target=lambda: [orchestrator.add_score(1.0) for _ in range(10)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert orchestrator.applied_seq == 80


def test_two_stores_side_by_side(tmp_path):
    with penin.open_sync(tmp_path / "a") as one, penin.open_sync(tmp_path / "b") as other:
        one.add_score(1.0)
        other.add_score(2.0)
    assert list(penin.load(tmp_path / "b").score_history) == [2.0]


def test_in_memory():
    with penin.open_sync(":memory:") as orchestrator:
        assert orchestrator.add_score(1.0) == Ack(1)


async def test_on_an_event_loop_it_refuses_instead_of_blocking_it(store):
    with pytest.raises(WrongContextError), penin.open_sync(store):
        pytest.fail("it was opened")
    assert not store.exists()


def test_a_call_on_an_event_loop_is_refused_too(store):
    import asyncio

    with penin.open_sync(store) as orchestrator:

        async def main():
            with pytest.raises(WrongContextError):
                orchestrator.add_score(1.0)

        asyncio.run(main())
        assert orchestrator.applied_seq == 0


def test_after_the_block_a_call_is_refused(store):
    with penin.open_sync(store) as orchestrator:
        orchestrator.add_score(1.0)
    with pytest.raises((ClosedError, RuntimeError)) as caught:
        orchestrator.add_score(2.0)
    assert isinstance(caught.value, ClosedError), "as documented for every closed orchestrator"
