"""`StateEncoder` and `state_decoder` with the standard `json` module."""

from __future__ import annotations

import io
import json
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from penin.core import (
    NumericVectorArtifact,
    OmegaMetaOrchestrator,
    StateEncoder,
    state_decoder,
)
from tests.core import strategies
from tests.core.original import OriginalEncoder, original_decoder
from tests.core.strategies import exactly_equal


def through_json(value: object, **options: Any) -> Any:
    """`value` written with the encoder and read with the decoder."""
    return json.loads(json.dumps(value, cls=StateEncoder, **options), object_hook=state_decoder)


@given(strategies.values())
def test_every_value_survives_the_standard_module(value: object) -> None:
    assert exactly_equal(through_json(value), value)


@pytest.mark.parametrize(
    "options", [{"indent": 2}, {"sort_keys": True}, {"ensure_ascii": False}, {"indent": "\t"}]
)
def test_the_options_of_the_standard_module_work(options: dict[str, Any]) -> None:
    value = {"b": deque([NumericVectorArtifact([0.5], {"ä": 1})], maxlen=2), "a": [1, None]}

    assert exactly_equal(through_json(value, **options), value)


def test_a_file_object_works_too() -> None:
    value = [deque([1.5], maxlen=1), NumericVectorArtifact(np.array([1], dtype=np.int8))]
    file = io.StringIO()
    json.dump(value, file, cls=StateEncoder, indent=2)
    file.seek(0)

    assert exactly_equal(json.load(file, object_hook=state_decoder), value)


@pytest.mark.parametrize("maxlen", [None, 0, 1, 3, 1000])
def test_a_deque_keeps_its_bound(maxlen: int | None) -> None:
    back = through_json(deque([1, 2, 3], maxlen=maxlen))

    assert type(back) is deque
    assert back.maxlen == maxlen
    assert list(back) == list(deque([1, 2, 3], maxlen=maxlen))


def test_deques_in_deques_and_artifacts_in_dictionaries_in_deques_survive() -> None:
    artifact = NumericVectorArtifact(np.array([0.1, 0.2], dtype=np.float32), {"deep": {"er": [1]}})
    value = deque([deque([{"best": artifact}], maxlen=1), [deque()]], maxlen=9)

    assert exactly_equal(through_json(value), value)


def test_a_live_history_is_written_as_a_deque() -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=3)
    orchestrator.add_task({"best": NumericVectorArtifact([1.0])})

    text = json.dumps(orchestrator.task_history, cls=StateEncoder)

    assert json.loads(text) == {
        "__type__": "deque",
        "items": [{"best": NumericVectorArtifact([1.0]).to_dict()}],
        "maxlen": 3,
    }


def test_the_dtype_stands_in_the_text_where_it_is_not_float64() -> None:
    double = json.dumps(NumericVectorArtifact([0.5]), cls=StateEncoder)
    single = json.dumps(NumericVectorArtifact(np.array([0.5], np.float32)), cls=StateEncoder)

    assert "dtype" not in double
    assert json.loads(single)["dtype"] == "float32"


def test_what_nobody_can_write_is_a_type_error() -> None:
    for value in (object(), {1, 2}, 1j, [object()]):
        with pytest.raises(TypeError):
            json.dumps(value, cls=StateEncoder)


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"a": 1},
        {"__type__": "Galaxy"},
        {"__type__": "Deque", "items": [1], "maxlen": None},
        {"__type__": "numericvectorartifact", "vector": [1.0]},
        {"__type__": None, "items": []},
        {"__type__": 1},
        {"__type__": ["deque"]},
        {"__type__": {"a": 1}},
        {"type": "deque", "items": [], "maxlen": 1},
    ],
)
def test_an_unknown_mark_passes_unchanged(mapping: dict[str, Any]) -> None:
    assert state_decoder(dict(mapping)) == mapping
    assert through_json({"in": [mapping]}) == {"in": [mapping]}


@pytest.mark.parametrize(
    "mapping",
    [
        {"__type__": "NumericVectorArtifact"},
        {"__type__": "NumericVectorArtifact", "vector": "abc"},
        {"__type__": "NumericVectorArtifact", "vector": [1.0], "dtype": "no such"},
        {"__type__": "deque"},
        {"__type__": "deque", "items": 5, "maxlen": 1},
        {"__type__": "deque", "items": [], "maxlen": -1},
        {"__type__": "deque", "items": [], "maxlen": "many"},
    ],
)
def test_a_known_mark_that_is_malformed_is_an_error_and_not_passed_on(
    mapping: dict[str, Any],
) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        state_decoder(mapping)


def test_metadata_can_be_absent_or_null() -> None:
    for mapping in (
        {"__type__": "NumericVectorArtifact", "vector": [1.0]},
        {"__type__": "NumericVectorArtifact", "vector": [1.0], "metadata": None},
    ):
        assert state_decoder(mapping) == NumericVectorArtifact([1.0])


# Without a dtype beside them, integers are int64 or nothing.
@given(strategies.values(dtypes=("float32", "float64", "int64", "uint8")))
def test_what_the_original_encoder_writes_is_read_with_its_types(value: object) -> None:
    text = json.dumps(value, cls=OriginalEncoder, indent=2)

    back = json.loads(text, object_hook=state_decoder)

    # The original wrote no dtype: the numbers of a vector are what survives.
    expected = json.loads(text, object_hook=original_decoder)
    assert _numbers(back) == _numbers(expected)


def _numbers(value: Any) -> Any:
    """A value with vectors as lists of numbers and with NaN as something that equals itself."""
    if isinstance(value, NumericVectorArtifact):
        return ["vector", *value.vector, _numbers(value.metadata)]
    if isinstance(value, deque):
        return ["deque", value.maxlen, *map(_numbers, value)]
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return "nan" if value != value else value  # noqa: PLR0124  # NaN is unequal to itself


def test_the_live_knowledge_base_and_other_mappings_are_written_as_objects() -> None:
    orchestrator = OmegaMetaOrchestrator()
    artifact = NumericVectorArtifact([0.5], {"a": 1})
    orchestrator.add_knowledge("k", artifact)
    orchestrator.put_document("d", {"x": [1]})

    assert through_json(orchestrator.knowledge_base) == {"k": artifact}
    assert through_json(orchestrator.documents) == {"d": {"x": [1]}}
    assert through_json(orchestrator.histories) == dict(orchestrator.histories)
