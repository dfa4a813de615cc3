"""`NumericVectorArtifact`: what goes in, what comes out, what is refused and with which words."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact
from penin.errors import PeninError, RefusedError, RefusedTypeError, RefusedValueError
from tests.core import strategies
from tests.core.strategies import exactly_equal


class TestVector:
    @pytest.mark.parametrize("vector", [[0.1, -0.0, 5e-324, 1.7976931348623157e308], [1.0], [2.5]])
    def test_a_list_of_floats_is_float64_and_comes_back_exactly(self, vector: list[float]) -> None:
        artifact = NumericVectorArtifact(vector)

        assert artifact.dtype == np.float64
        assert exactly_equal(artifact.vector, vector)

    @pytest.mark.parametrize("vector", [[1, 2, 3], [0], [-(2**63), 2**63 - 1], [2**53 + 1]])
    def test_a_list_of_ints_alone_is_int64(self, vector: list[int]) -> None:
        artifact = NumericVectorArtifact(vector)

        assert artifact.dtype == np.int64
        assert exactly_equal(artifact.vector, vector)

    def test_any_float_among_ints_makes_float64(self) -> None:
        artifact = NumericVectorArtifact([1, 2.5, -(2**53)])

        assert artifact.dtype == np.float64
        assert artifact.vector == [1, 2.5, -(2**53)]

    @pytest.mark.parametrize("name", strategies.VECTOR_DTYPES)
    def test_a_numpy_dtype_is_kept(self, name: str) -> None:
        array = np.array([0, 1, 100], dtype=name)
        artifact = NumericVectorArtifact(array)

        assert artifact.dtype == np.dtype(name)
        assert artifact.array.dtype == np.dtype(name)
        assert exactly_equal(artifact.vector, array.tolist())

    def test_a_big_endian_array_keeps_its_numbers_and_width(self) -> None:
        artifact = NumericVectorArtifact(np.array([0.1, 2.0], dtype=">f4"))

        assert artifact.dtype.name == "float32"
        assert artifact.vector == np.array([0.1, 2.0], dtype=np.float32).tolist()

    def test_a_strided_view_keeps_its_numbers(self) -> None:
        matrix = np.arange(12.0).reshape(3, 4)

        assert NumericVectorArtifact(matrix[:, 1]).vector == [1.0, 5.0, 9.0]
        assert NumericVectorArtifact(matrix[0][::-1]).vector == [3.0, 2.0, 1.0, 0.0]

    def test_numpy_scalars_in_a_list_are_numbers(self) -> None:
        mixed: list[Any] = [np.float32(0.5), np.int8(3), 2]
        whole: list[Any] = [np.int64(5), 6]

        assert NumericVectorArtifact(mixed).vector == [0.5, 3, 2]
        assert NumericVectorArtifact(whole).dtype == np.int64

    @given(strategies.arrays())
    def test_every_finite_array_comes_back_to_the_last_bit(self, array: np.ndarray) -> None:
        artifact = NumericVectorArtifact(array)

        assert artifact.dtype == array.dtype
        assert artifact.array.tobytes() == array.tobytes()
        assert exactly_equal(artifact.vector, array.tolist())


class TestRefusals:
    @pytest.mark.parametrize(
        "vector",
        [
            [],
            np.array([]),
            [1.0, float("nan")],
            [float("inf")],
            [float("-inf"), 1.0],
            np.array([1.0, np.nan], dtype=np.float32),
            np.array([[1.0, 2.0]]),
            np.array(1.0),
            [2**53 + 1, 0.5],
            [2**64],
            [10**400, 0.5],
        ],
    )
    def test_a_vector_of_wrong_values_is_a_value_error(self, vector: Any) -> None:
        with pytest.raises(RefusedValueError, match="vector") as refusal:
            NumericVectorArtifact(vector)
        assert isinstance(refusal.value, PeninError)
        assert isinstance(refusal.value, ValueError)

    @pytest.mark.parametrize(
        "vector",
        [
            "123",
            b"123",
            5.0,
            None,
            {"0": 1.0},
            {1.0, 2.0},
            ["1.0"],
            [None],
            [1.0, "2"],
            [1 + 2j],
            np.array([1 + 2j]),
            np.array(["a"]),
            np.array([object()]),
            [[1.0, 2.0], [3.0]],
            [1.0, [2.0]],
        ],
    )
    def test_what_is_no_vector_of_numbers_is_refused(self, vector: Any) -> None:
        with pytest.raises(RefusedError) as refusal:
            NumericVectorArtifact(vector)
        assert isinstance(refusal.value, (TypeError, ValueError))
        assert refusal.value.field.startswith("vector")
        assert refusal.value.reason

    def test_a_masked_array_is_refused_where_something_is_masked(self) -> None:
        masked = np.ma.array([1.0, 2.0], mask=[False, True])

        with pytest.raises(RefusedError, match="vector"):
            NumericVectorArtifact(masked)

    @pytest.mark.parametrize(
        "vector", [[True], [1, False], [1.0, True], [np.True_], np.array([True, False])]
    )
    def test_bools_are_refused(self, vector: Any) -> None:
        with pytest.raises(RefusedTypeError):
            NumericVectorArtifact(vector)

    @pytest.mark.parametrize(
        ("vector", "field"),
        [
            ([1.0, float("nan")], "vector[1]"),
            ([1.0, 2.0, "x"], "vector[2]"),
            ([0.5, True], "vector[1]"),
            ([2**53 + 1, 0.5], "vector[0]"),
        ],
    )
    def test_the_refusal_names_the_element(self, vector: Any, field: str) -> None:
        with pytest.raises(RefusedError) as refusal:
            NumericVectorArtifact(vector)
        assert refusal.value.field == field

    @pytest.mark.parametrize("metadata", [[], "text", 5, [("a", 1)], NumericVectorArtifact([1.0])])
    def test_metadata_that_is_no_object_is_refused(self, metadata: Any) -> None:
        with pytest.raises(RefusedTypeError, match="metadata"):
            NumericVectorArtifact([1.0], metadata)

    @pytest.mark.parametrize("metadata", [{1: "a"}, {"a": {2: 3}}, {"a": object()}, {"a": {1, 2}}])
    def test_metadata_that_json_cannot_hold_is_refused(self, metadata: Any) -> None:
        with pytest.raises(RefusedTypeError, match="metadata"):
            NumericVectorArtifact([1.0], metadata)

    def test_the_reserved_key_is_refused_in_metadata(self) -> None:
        with pytest.raises(RefusedValueError, match="__type__"):
            NumericVectorArtifact([1.0], {"inner": {"__type__": "deque"}})


class TestImmutability:
    def test_the_callers_array_can_change_afterwards(self) -> None:
        array = np.array([1.0, 2.0])
        artifact = NumericVectorArtifact(array)
        array[0] = 99.0

        assert artifact.vector == [1.0, 2.0]

    def test_the_callers_list_and_metadata_can_change_afterwards(self) -> None:
        vector, metadata = [1.0, 2.0], {"tags": ["a"]}
        artifact = NumericVectorArtifact(vector, metadata)
        vector.append(3.0)
        metadata["tags"].append("b")
        metadata["new"] = []

        assert artifact.vector == [1.0, 2.0]
        assert artifact.metadata == {"tags": ["a"]}

    def test_what_a_reader_does_to_its_copies_changes_nothing(self) -> None:
        artifact = NumericVectorArtifact([1.0, 2.0], {"tags": ["a"]})
        artifact.vector.append(3.0)
        artifact.metadata["tags"].append("b")
        artifact.to_dict()["metadata"]["tags"].append("c")
        artifact.to_dict()["vector"].append(4.0)

        assert artifact.vector == [1.0, 2.0]
        assert artifact.metadata == {"tags": ["a"]}

    def test_the_array_can_not_be_made_writable(self) -> None:
        array = NumericVectorArtifact([1.0]).array

        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True

    @pytest.mark.parametrize("name", ["vector", "array", "metadata", "dtype"])
    def test_no_attribute_can_be_replaced(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(NumericVectorArtifact([1.0]), name, None)

    def test_a_deep_copy_is_equal(self) -> None:
        artifact = NumericVectorArtifact([1.0, 2.0], {"a": [1]})

        assert copy.deepcopy(artifact) == artifact


class TestEquality:
    def test_equality_goes_by_value(self) -> None:
        artifact = NumericVectorArtifact([1.0, 2.0], {"a": 1, "b": 2})

        assert artifact == NumericVectorArtifact(np.array([1.0, 2.0]), {"b": 2, "a": 1})
        assert artifact != NumericVectorArtifact([1.0, 2.5], {"a": 1, "b": 2})
        assert artifact != NumericVectorArtifact([1.0, 2.0], {"a": 1})
        assert artifact != NumericVectorArtifact([1.0, 2.0, 3.0], {"a": 1, "b": 2})
        assert artifact != [1.0, 2.0]


class TestDictionaries:
    def test_the_dtype_is_written_only_where_it_is_not_float64(self) -> None:
        single = NumericVectorArtifact(np.array([0.5], dtype=np.float32))

        assert "dtype" not in NumericVectorArtifact([0.5]).to_dict()
        assert single.to_dict()["dtype"] == "float32"
        assert NumericVectorArtifact([1, 2]).to_dict()["dtype"] == "int64"

    def test_float32_that_has_no_short_decimal_survives(self) -> None:
        artifact = NumericVectorArtifact(np.array([0.1, math.pi], dtype=np.float32))

        assert NumericVectorArtifact.from_dict(artifact.to_dict()) == artifact

    @given(strategies.artifacts())
    def test_every_artifact_survives_the_dictionary(self, artifact: NumericVectorArtifact) -> None:
        assert exactly_equal(NumericVectorArtifact.from_dict(artifact.to_dict()), artifact)

    @pytest.mark.parametrize("numbers", [[1, 2], [1, 2.5], [-3]])
    def test_an_original_dictionary_of_whole_numbers_keeps_their_values(
        self, numbers: list[float]
    ) -> None:
        tagged = {"__type__": "NumericVectorArtifact", "vector": numbers, "metadata": {}}

        assert NumericVectorArtifact.from_dict(tagged).vector == numbers

    @pytest.mark.parametrize(
        "tagged",
        [
            {"__type__": "NumericVectorArtifact"},
            {"__type__": "NumericVectorArtifact", "vector": "abc"},
            {"__type__": "NumericVectorArtifact", "vector": [1.0], "dtype": "complex64"},
            {"__type__": "NumericVectorArtifact", "vector": [300], "dtype": "uint8"},
            {"__type__": "NumericVectorArtifact", "vector": [-1], "dtype": "uint64"},
            {"__type__": "NumericVectorArtifact", "vector": [0.5], "dtype": "int64"},
            {"__type__": "NumericVectorArtifact", "vector": [1.0], "metadata": [1]},
        ],
    )
    def test_a_dictionary_that_is_no_artifact_is_refused(self, tagged: dict[str, Any]) -> None:
        with pytest.raises(RefusedError):
            NumericVectorArtifact.from_dict(tagged)

    @given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    def test_uint64_survives_above_what_float64_and_int64_hold(self, numbers: list[int]) -> None:
        artifact = NumericVectorArtifact(np.array(numbers, dtype=np.uint64))

        assert exactly_equal(NumericVectorArtifact.from_dict(artifact.to_dict()), artifact)
        assert artifact.vector == numbers
