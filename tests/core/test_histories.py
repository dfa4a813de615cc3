"""The histories of `OmegaMetaOrchestrator`: bounded, the newest kept, read-only to readers."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.errors import PeninError

ONE = NumericVectorArtifact([1.0])

# What a read-only container may raise for an attempt to write.
READ_ONLY = (TypeError, AttributeError, PeninError)


@pytest.fixture
def orchestrator() -> OmegaMetaOrchestrator:
    return OmegaMetaOrchestrator()


def test_the_newest_are_kept() -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=2)
    for number in range(5):
        orchestrator.add_task({"n": number})
        orchestrator.append_history("losses", number)
    orchestrator.extend_scores([0.0, 1.0, 2.0, 3.0])

    assert list(orchestrator.task_history) == [{"n": 3}, {"n": 4}]
    assert list(orchestrator.score_history) == [2.0, 3.0]
    assert list(orchestrator.histories["losses"]) == [3, 4]


def test_a_new_state_bounds_its_histories_at_one_thousand(
    orchestrator: OmegaMetaOrchestrator,
) -> None:
    orchestrator.extend_scores(float(number) for number in range(1005))
    orchestrator.append_history("losses", 0)

    assert len(orchestrator.score_history) == 1000
    assert orchestrator.score_history[0] == 5.0
    assert orchestrator.histories["losses"].maxlen == 1000


def test_a_bound_may_be_a_numpy_integer() -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=np.int64(3))  # type: ignore[arg-type]
    assert orchestrator.score_history.maxlen == 3
    orchestrator.set_history_maxlen(np.int16(2))  # type: ignore[arg-type]
    assert orchestrator.score_history.maxlen == 2


def test_scores_become_floats(orchestrator: OmegaMetaOrchestrator) -> None:
    scores: list[Any] = [1, np.float32(0.5), np.int64(2), np.float64(0.25)]
    for score in scores:
        orchestrator.add_score(score)
    several: list[Any] = [3, np.float32(1.5)]
    orchestrator.extend_scores(several)
    orchestrator.extend_scores(np.array([4, 5]))
    orchestrator.extend_scores(np.array([0.5], dtype=np.float32))

    assert list(orchestrator.score_history) == [1, 0.5, 2, 0.25, 3, 1.5, 4, 5, 0.5]
    assert {type(score) for score in orchestrator.score_history} == {float}


def test_named_histories_hold_any_value(orchestrator: OmegaMetaOrchestrator) -> None:
    values = [1, "two", None, {"three": [3]}, ONE, deque([4], maxlen=2), -math.inf]
    for value in values:
        orchestrator.append_history("events", value)

    assert list(orchestrator.histories["events"]) == values
    assert isinstance(orchestrator.histories["events"], deque)
    assert orchestrator.history("events") == values


def test_the_last_of_a_history_come_as_a_list(orchestrator: OmegaMetaOrchestrator) -> None:
    orchestrator.extend_scores([0.1, 0.2, 0.3])
    orchestrator.add_task({"n": 1})

    assert orchestrator.history("score_history") == [0.1, 0.2, 0.3]
    assert orchestrator.history("score_history", last=2) == [0.2, 0.3]
    assert orchestrator.history("score_history", last=0) == []
    assert orchestrator.history("score_history", last=9) == [0.1, 0.2, 0.3]
    assert orchestrator.history("task_history", last=1) == [{"n": 1}]


def test_a_smaller_bound_drops_the_oldest_of_every_history(
    orchestrator: OmegaMetaOrchestrator,
) -> None:
    for number in range(4):
        orchestrator.add_task({"n": number})
        orchestrator.add_score(number)
        orchestrator.append_history("losses", number)
    orchestrator.set_history_maxlen(2)

    assert list(orchestrator.task_history) == [{"n": 2}, {"n": 3}]
    assert list(orchestrator.score_history) == [2.0, 3.0]
    assert list(orchestrator.histories["losses"]) == [2, 3]
    assert orchestrator.task_history.maxlen == 2
    orchestrator.append_history("made later", 1)
    assert orchestrator.histories["made later"].maxlen == 2


def test_a_larger_bound_keeps_what_is_there() -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=2)
    orchestrator.extend_scores([1.0, 2.0])
    orchestrator.set_history_maxlen(3)
    orchestrator.add_score(3.0)
    orchestrator.add_score(4.0)

    assert list(orchestrator.score_history) == [2.0, 3.0, 4.0]


def test_one_history_can_have_a_bound_of_its_own(orchestrator: OmegaMetaOrchestrator) -> None:
    for number in range(3):
        orchestrator.add_score(number)
        orchestrator.append_history("losses", number)
    assert orchestrator.set_history_maxlen(1, "losses").result == "ok"

    assert list(orchestrator.histories["losses"]) == [2]
    assert orchestrator.histories["losses"].maxlen == 1
    assert len(orchestrator.score_history) == 3
    assert orchestrator.score_history.maxlen == 1000
    assert orchestrator.set_history_maxlen(2, "score_history").result == "ok"
    assert list(orchestrator.score_history) == [1.0, 2.0]


def test_histories_can_not_be_written_past_the_writers(orchestrator: OmegaMetaOrchestrator) -> None:
    orchestrator.extend_scores([3.0, 1.0, 2.0])
    scores: Any = orchestrator.score_history
    attempts: list[Any] = [
        lambda: scores.append(1.0),
        lambda: scores.appendleft(1.0),
        lambda: scores.extend([1.0]),
        lambda: scores.extendleft([1.0]),
        lambda: scores.insert(0, 1.0),
        scores.pop,
        scores.popleft,
        lambda: scores.remove(1.0),
        scores.clear,
        scores.reverse,
        lambda: scores.rotate(1),
        lambda: scores.__setitem__(0, 9.0),
        lambda: scores.__delitem__(0),
        lambda: scores.__iadd__([1.0]),
        lambda: scores.__imul__(2),
        lambda: setattr(orchestrator, "score_history", deque()),
    ]

    for attempt in attempts:
        with pytest.raises(READ_ONLY):
            attempt()
    assert list(orchestrator.score_history) == [3.0, 1.0, 2.0]


def test_a_copy_of_a_history_is_the_readers_own(orchestrator: OmegaMetaOrchestrator) -> None:
    orchestrator.extend_scores([1.0, 2.0])
    mine = orchestrator.history("score_history")
    mine.append(3.0)
    plain = deque(orchestrator.score_history)
    plain.append(4.0)

    assert list(orchestrator.score_history) == [1.0, 2.0]


@pytest.mark.parametrize(
    "take",
    [
        lambda history: history.copy(),
        copy.copy,
        copy.deepcopy,
        lambda history: history + deque(),
        lambda history: history * 1,
        lambda history: 1 * history,
    ],
)
def test_a_copy_of_any_kind_is_a_plain_deque(
    orchestrator: OmegaMetaOrchestrator, take: Callable[[Any], Any]
) -> None:
    orchestrator.extend_scores([1.0, 2.0])
    mine = take(orchestrator.score_history)

    assert type(mine) is deque
    assert mine == deque([1.0, 2.0])
    assert mine.maxlen == 1000
    mine.append(3.0)
    assert list(orchestrator.score_history) == [1.0, 2.0]
