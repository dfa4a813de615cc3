"""Conversion at the door: what people hand in comes back as JSON values, exactly, or is refused."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import uuid
from collections import OrderedDict, deque
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from tests.core import strategies
from tests.core.strategies import INTEGER_MAX, exactly_equal


class Colour(enum.Enum):
    RED = "red"


class Pair(enum.Enum):
    DEEP = (1, 2)


class Rate(enum.Enum):
    LOW = 0.5


class Level(enum.IntEnum):
    HIGH = 3


class Mode(str, enum.Enum):  # noqa: UP042  # it differs from a StrEnum in str(), which matters
    FAST = "fast"


@dataclasses.dataclass
class Point:
    x: float
    tags: list[str]


class Trial(msgspec.Struct):
    name: str
    when: datetime.datetime
    points: list[Point]


class Renamed(msgspec.Struct, rename="camel", tag="renamed"):
    first_name: str


class Account(pydantic.BaseModel):
    id: uuid.UUID
    opened: datetime.date
    mode: Mode


@dataclasses.dataclass
class Nest:
    account: Account
    artifact: NumericVectorArtifact
    recent: deque[float]


@dataclasses.dataclass
class Optimiser:
    mean: np.ndarray
    sigma: float


ACCOUNT = Account(id=uuid.UUID(int=5), opened=datetime.date(2026, 1, 31), mode=Mode.FAST)


def kept(value: object) -> Any:
    """What the state keeps of `value`; the same as document, task member and history item."""
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("value", value)
    orchestrator.add_task({"value": value})
    orchestrator.append_history("values", value)
    document = orchestrator.get_document("value")
    assert exactly_equal(orchestrator.task_history[0]["value"], document)
    assert exactly_equal(orchestrator.histories["values"][0], document)
    return document


NAIVE = datetime.datetime(2026, 1, 31, 12, 0, 0, 123)  # noqa: DTZ001  # people hand in these too
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": (1,)}, {"a": [1]}),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(-5), -5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(1), True),
        (np.str_("text"), "text"),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (np.array([[1, 2], [3, 4]], dtype=np.int8), [[1, 2], [3, 4]]),
        (np.array([True, False]), [True, False]),
        (np.array([]), []),
        ([np.array([1.0]), {"a": np.int8(1)}], [[1.0], {"a": 1}]),
        (Point(1.5, ["a"]), {"x": 1.5, "tags": ["a"]}),
        (Colour.RED, "red"),
        (Pair.DEEP, [1, 2]),
        (Rate.LOW, 0.5),
        (Level.HIGH, 3),
        (Mode.FAST, "fast"),
        ({Mode.FAST: 1}, {"fast": 1}),
        ({Mode.FAST: float("inf")}, {"fast": float("inf")}),
        (UUID, str(UUID)),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": [1]}), {"a": [1]}),
        ({"": 1, "a.b": 2}, {"": 1, "a.b": 2}),
    ],
)
def test_what_people_have_becomes_json_values(value: object, expected: object) -> None:
    assert exactly_equal(kept(value), expected)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Trial, Trial("t", NAIVE, [Point(0.5, [])])),
        (Renamed, Renamed("Ada")),
        (Point, Point(-0.0, ["x", "y"])),
        (list[Point], [Point(1.0, []), Point(2.0, ["z"])]),
        (Account, ACCOUNT),
        (list[Account], [ACCOUNT]),
        (Nest, Nest(ACCOUNT, NumericVectorArtifact([0.5]), deque([0.5, -math.inf]))),
        (datetime.datetime, datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
        (datetime.time, datetime.time(23, 59, 59, 5)),
        (datetime.timedelta, datetime.timedelta(days=3, microseconds=7)),
        (datetime.timedelta, datetime.timedelta(seconds=-0.5)),
        (uuid.UUID, UUID),
        (Decimal, Decimal("0.10")),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (Rate, Rate.LOW),
        (dict[str, Trial], {"a": Trial("t", NAIVE, [])}),
        (tuple[int, str], (1, "a")),
        (float, math.inf),
        (int, INTEGER_MAX),
    ],
)
def test_get_document_gives_the_type_back(type_: Any, value: object) -> None:
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("value", value)

    back = orchestrator.get_document("value", type=type_)

    assert back == value
    assert type(back) is type(value)


def test_get_document_gives_arrays_back_also_inside_a_dataclass() -> None:
    orchestrator = OmegaMetaOrchestrator()
    optimiser = Optimiser(np.array([0.1, np.inf, -0.0]), 0.25)
    orchestrator.put_document("optimiser", optimiser)
    orchestrator.put_document("mean", optimiser.mean)

    back = orchestrator.get_document("optimiser", type=Optimiser)
    mean = orchestrator.get_document("mean", type=np.ndarray)

    assert back is not None
    assert mean is not None
    assert back.mean.tobytes() == mean.tobytes() == optimiser.mean.tobytes()
    assert back.sigma == 0.25


def test_a_document_that_is_not_there_is_none() -> None:
    orchestrator = OmegaMetaOrchestrator()

    assert orchestrator.get_document("absent") is None
    assert orchestrator.get_document("absent", type=Point) is None


def test_a_time_with_an_offset_is_the_same_moment() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    moment = datetime.datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=zone)

    assert datetime.datetime.fromisoformat(kept(moment)) == moment


# -- exactness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e22]
)
def test_every_float_is_kept_exactly(number: float) -> None:
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_score(number)

    assert exactly_equal(orchestrator.score_history[0], number)
    assert exactly_equal(kept([number, {"deep": number}]), [number, {"deep": number}])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "number", [0, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**128, INTEGER_MAX]
)
def test_integers_to_4096_bits_are_kept_exactly(number: int, sign: int) -> None:
    assert exactly_equal(kept(sign * number), sign * number)
    assert exactly_equal(kept({"n": [sign * number]}), {"n": [sign * number]})


def test_true_one_and_one_point_zero_stay_apart() -> None:
    assert exactly_equal(kept([True, 1, 1.0, False, 0, 0.0]), [True, 1, 1.0, False, 0, 0.0])


@pytest.mark.parametrize("generator", [np.random.PCG64, np.random.MT19937])
def test_the_state_of_a_random_generator_goes_on_exactly(generator: Any) -> None:
    source = np.random.Generator(generator(20260131))
    source.standard_normal(7)
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("rng", source.bit_generator.state)
    expected = source.standard_normal(100)

    back = np.random.Generator(generator())
    back.bit_generator.state = orchestrator.get_document("rng")

    assert back.standard_normal(100).tobytes() == expected.tobytes()


def test_the_state_of_a_random_generator_survives_a_file(tmp_path: Any) -> None:
    path = tmp_path / "state.json"
    for generator in (np.random.PCG64, np.random.MT19937):
        source = np.random.Generator(generator(7))
        saved = OmegaMetaOrchestrator()
        saved.put_document("rng", source.bit_generator.state)
        saved.save_state(path)
        loaded = OmegaMetaOrchestrator()
        loaded.load_state(path)
        back = np.random.Generator(generator())
        back.bit_generator.state = loaded.get_document("rng")

        assert back.random(50).tobytes() == source.random(50).tobytes()


def test_an_artifact_and_a_deque_keep_their_types_inside_a_value() -> None:
    value = {
        "best": NumericVectorArtifact(np.array([1, 2], dtype=np.uint16), {"a": 1}),
        "recent": deque([NumericVectorArtifact([0.5]), deque([1])], maxlen=3),
    }

    assert exactly_equal(kept(value), value)


@given(strategies.values())
def test_every_value_is_kept_exactly(value: object) -> None:
    assert exactly_equal(kept(value), value)


# -- values, not references --------------------------------------------------------------------


def test_the_caller_can_change_what_it_handed_in() -> None:
    task: dict[str, Any] = {"list": [1], "dict": {"a": 1}, "deque": deque([1]), "array": None}
    task["array"] = np.array([1.0])
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_task(task)
    orchestrator.put_document("document", task)
    orchestrator.append_history("values", task)
    task["list"].append(2)
    task["dict"]["b"] = 2
    task["deque"].append(2)
    task["array"][0] = 9.0
    task["new"] = True

    expected = {"list": [1], "dict": {"a": 1}, "deque": deque([1]), "array": [1.0]}
    assert exactly_equal(orchestrator.task_history[0], expected)
    assert exactly_equal(orchestrator.get_document("document"), expected)
    assert exactly_equal(orchestrator.histories["values"][0], expected)


def test_the_caller_can_change_a_matrix_and_its_metadata() -> None:
    matrix, metadata = np.ones((2, 3), dtype=np.float32), [{"a": [1]}, {"a": [2]}]
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.extend_knowledge(["x", "y"], matrix, metadata)
    matrix[:] = 7.0
    metadata[0]["a"].append(5)

    assert orchestrator.knowledge_base["x"].vector == [1.0, 1.0, 1.0]
    assert orchestrator.knowledge_base["x"].metadata == {"a": [1]}


def test_the_caller_can_change_an_array_of_scores() -> None:
    scores = np.array([0.25, 0.5])
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.extend_scores(scores)
    scores[:] = 9.0

    assert list(orchestrator.score_history) == [0.25, 0.5]


def test_a_value_is_plain_json_for_the_standard_library() -> None:
    value = kept({"a": (np.int64(1), Level.HIGH, Mode.FAST), "b": Point(1.0, [])})

    assert json.loads(json.dumps(value)) == value
    assert type(value["a"][1]) is int
    assert type(value["a"][2]) is str
