"""Whatever an event holds, its line is one line, and JSON where it shall be."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.logs.rendering import Stamp, ToConsole, to_json


class Nameless:
    def __repr__(self):
        raise RuntimeError("no repr")


class Colour(enum.Enum):
    RED = "red"


def json_of(**fields: object) -> dict[str, Any]:
    line = to_json(None, "info", {"event": "e", **fields})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        (math.nan, None),
        (-math.inf, None),
        (b"\xff\x00", repr(b"\xff\x00")),
        (2**64 - 1, 2**64 - 1),
        (2**64, str(2**64)),
        (-(2**200), str(-(2**200))),
        (10**5000, hex(10**5000)),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int8(-3), -3),
        (np.arange(2)[1] == 1, True),
        (np.arange(3), [0, 1, 2]),
        (np.datetime64("2026-01-31"), "2026-01-31T00:00:00"),
        ({1: "a"}, {"1": "a"}),
        ({2, 1}, ["1", "2"]),
        ((1, (2,)), [1, [2]]),
        ("line\nbreak\x1b[2J", "line\nbreak\x1b[2J"),
        ("lone \ud800 surrogate", "lone \\ud800 surrogate"),
        ({"\ud800": [1, "\ud800"]}, {"\\ud800": [1, "\\ud800"]}),
        (Path("/x"), repr(Path("/x"))),
        (Colour.RED, "red"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.datetime(2026, 1, 31, tzinfo=dt.UTC), "2026-01-31T00:00:00+00:00"),
        (Nameless(), "<Nameless without a repr>"),
        ([Nameless(), "\ud800"], ["<Nameless without a repr>", "\\ud800"]),
        (KeyError("k"), "KeyError('k')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values_become_valid_json(value, rendered):
    assert json_of(value=value)["value"] == rendered


def test_one_odd_value_leaves_the_others_as_they_are():
    line = json_of(odd=2**70, score=np.float32(0.5), at=math.inf, colour=Colour.RED, n=[1, None])
    assert line == {
        "event": "e",
        "odd": str(2**70),
        "score": 0.5,
        "at": None,
        "colour": "red",
        "n": [1, None],
    }


def test_a_value_that_holds_itself_is_rendered_to_some_depth():
    loop: list[object] = []
    loop.append(loop)
    assert json_of(value=loop)["value"][0][0]


def test_a_very_deep_value_is_rendered_to_some_depth():
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert json_of(value=deep)["value"][0][0]


def test_a_long_repr_is_cut():
    assert len(json_of(value=b"x" * 1_000_000)["value"]) == 10_000


def everything() -> st.SearchStrategy[object]:
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(2**300), max_value=2**300),
        st.floats(),
        st.text(st.characters(codec=None, exclude_categories=())),
        st.binary(),
        st.builds(Nameless),
        st.sampled_from([np.float32(1), np.uint64(2**63), np.complex64(1j), 1j]),
    )
    keys = st.one_of(st.text(), st.integers(), st.none(), st.binary())
    return st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner), st.dictionaries(keys, inner))
    )


@given(everything())
def test_every_value_becomes_one_line_of_valid_json(value):
    assert set(json_of(value=value)) == {"event", "value"}


@given(everything())
def test_every_value_becomes_one_readable_line_without_control_characters(value):
    line = ToConsole(colours=False)(None, "info", {"event": "e", "level": "info", "value": value})
    text = line.decode("utf-8")
    assert text.endswith("\n")
    assert text[:-1].isprintable()


def test_a_traceback_is_in_the_line():
    with pytest.raises(ValueError, match="what happened") as caught:
        int("what happened")
    line = json_of(exc_info=caught.value, stack_info=True)
    console = ToConsole(colours=False)(
        None, "error", {"event": "e", "level": "error", "exc_info": caught.value}
    )
    assert "ValueError: invalid literal" in line["exception"]
    assert "test_a_traceback_is_in_the_line" in line["stack"]
    assert "exc_info" not in line
    assert b"ValueError: invalid literal" in console


def test_no_exception_is_no_field():
    assert json_of(exc_info=None) == {"event": "e"}


def test_what_comes_from_outside_cannot_move_a_terminals_cursor():
    event = {"event": "e\x1b[2J", "level": "info", "key": "k\x1b[2J\n"}
    line = ToConsole(colours=False)(None, "info", event)
    assert b"\x1b" not in line
    assert line.count(b"\n") == 1


def test_the_timestamp_is_utc_with_microseconds_across_a_change_of_second():
    times = iter([1_769_860_800_000_123_999, 1_769_860_800_999_999_999, 1_769_860_801_000_000_000])
    stamp = Stamp(clock=lambda: next(times))
    assert [stamp(None, "info", {"event": "e"})["timestamp"] for _ in range(3)] == [
        "2026-01-31T12:00:00.000123Z",
        "2026-01-31T12:00:00.999999Z",
        "2026-01-31T12:00:01.000000Z",
    ]


@pytest.mark.parametrize(
    ("method", "level"), [("warn", "warning"), ("exception", "error"), ("critical", "critical")]
)
def test_the_level_is_the_methods(method, level):
    assert Stamp()(None, method, {"event": "e"})["level"] == level
