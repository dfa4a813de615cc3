"""`OmegaMetaOrchestrator`: every writer and every reader, and what an acknowledgement tells."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.errors import PeninError

ONE = NumericVectorArtifact([1.0])
TWO = NumericVectorArtifact([2.0, 2.5], {"n": 2})

# What a read-only container may raise for an attempt to write.
READ_ONLY = (TypeError, AttributeError, PeninError)


class Key(str, enum.Enum):  # noqa: UP042  # it differs from a StrEnum in str(), which matters
    BEST = "best"


@pytest.fixture
def orchestrator() -> OmegaMetaOrchestrator:
    return OmegaMetaOrchestrator()


class TestAcknowledgements:
    def test_every_writer_uses_the_next_seq(self, orchestrator: OmegaMetaOrchestrator) -> None:
        assert orchestrator.seq == 0
        acks = [
            orchestrator.add_knowledge("k", ONE),
            orchestrator.remove_knowledge("k"),
            orchestrator.extend_knowledge(["a", "b"], np.ones((2, 3))),
            orchestrator.add_task({"id": 1}),
            orchestrator.add_score(0.5),
            orchestrator.extend_scores([0.1, 0.2]),
            orchestrator.append_history("losses", 1.0),
            orchestrator.put_document("d", {"a": 1}),
            orchestrator.remove_document("d"),
            orchestrator.set_history_maxlen(5),
        ]

        assert [ack.seq for ack in acks] == list(range(1, 11))
        assert {ack.result for ack in acks} == {"ok"}
        assert {ack.failed_seq for ack in acks} == {None}
        assert orchestrator.seq == 10

    def test_a_missing_key_is_a_result_and_uses_a_seq(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        assert orchestrator.remove_knowledge("absent").result == "missing"
        assert orchestrator.remove_document("absent").result == "missing"
        assert orchestrator.seq == 2

    def test_a_refused_call_uses_no_seq(self, orchestrator: OmegaMetaOrchestrator) -> None:
        with pytest.raises(PeninError):
            orchestrator.add_knowledge("", ONE)
        assert orchestrator.add_score(0.5).seq == 1


class TestKnowledge:
    def test_knowledge_is_read_back_by_key(self, orchestrator: OmegaMetaOrchestrator) -> None:
        orchestrator.add_knowledge("one", ONE)
        orchestrator.add_knowledge("two", TWO)

        assert orchestrator.knowledge_base["one"] == ONE
        assert orchestrator.knowledge_base["two"] == TWO
        assert dict(orchestrator.knowledge_base) == {"one": ONE, "two": TWO}
        assert len(orchestrator.knowledge_base) == 2
        assert "one" in orchestrator.knowledge_base
        assert "three" not in orchestrator.knowledge_base
        assert orchestrator.knowledge_base.get("three") is None
        assert orchestrator.knowledge_base == {"two": TWO, "one": ONE}

    def test_a_key_of_a_special_string_type_becomes_a_plain_one(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.add_knowledge(np.str_("numpy"), ONE)
        orchestrator.add_knowledge(Key.BEST, ONE)
        orchestrator.extend_knowledge(np.array(["row"]), np.ones((1, 2)))  # type: ignore[arg-type]

        assert list(orchestrator.knowledge_base) == ["numpy", "best", "row"]
        assert {type(key) for key in orchestrator.knowledge_base} == {str}
        assert orchestrator.remove_knowledge(Key.BEST).result == "ok"

    def test_removed_knowledge_is_gone_and_can_come_back(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.add_knowledge("k", ONE)
        assert orchestrator.remove_knowledge("k").result == "ok"
        assert "k" not in orchestrator.knowledge_base
        with pytest.raises(KeyError):
            orchestrator.knowledge_base["k"]
        assert orchestrator.remove_knowledge("k").result == "missing"

        orchestrator.add_knowledge("k", TWO)
        assert dict(orchestrator.knowledge_base) == {"k": TWO}

    def test_a_replacement_may_have_another_dimension_and_dtype(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        for vector in ([1.0], [1.0, 2.0], np.array([1], dtype=np.int8), np.ones(4, np.float32)):
            artifact = NumericVectorArtifact(vector)
            orchestrator.add_knowledge("k", artifact)
            assert orchestrator.knowledge_base["k"] == artifact
            assert orchestrator.knowledge_base["k"].dtype == artifact.dtype
        assert len(orchestrator.knowledge_base) == 1

    def test_an_artifact_that_was_read_stays_what_it_was(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.add_knowledge("k", TWO)
        read = orchestrator.knowledge_base["k"]
        array = read.array
        orchestrator.add_knowledge("k", ONE)
        orchestrator.extend_knowledge([f"k{n}" for n in range(100)], np.zeros((100, 2)))
        orchestrator.remove_knowledge("k")

        assert read == TWO
        assert array.tolist() == [2.0, 2.5]
        assert not array.flags.writeable

    def test_the_knowledge_base_can_not_be_written_past_the_writers(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.add_knowledge("k", ONE)
        knowledge: Any = orchestrator.knowledge_base

        assert isinstance(orchestrator.knowledge_base, Mapping)
        with pytest.raises(READ_ONLY):
            knowledge["x"] = ONE
        with pytest.raises(READ_ONLY):
            del knowledge["k"]
        with pytest.raises(READ_ONLY):
            knowledge.clear()
        with pytest.raises(READ_ONLY):
            setattr(orchestrator, "knowledge_base", {})  # noqa: B010  # it cannot, says mypy too

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint64"])
    def test_a_bulk_adds_one_artifact_a_row(
        self, orchestrator: OmegaMetaOrchestrator, dtype: str
    ) -> None:
        matrix = np.arange(12, dtype=dtype).reshape(4, 3)
        keys = ["a", "b", "c", "d"]
        orchestrator.extend_knowledge(keys, matrix, [{"row": n} for n in range(4)])

        assert list(orchestrator.knowledge_base) == keys
        for number, key in enumerate(keys):
            expected = NumericVectorArtifact(matrix[number], {"row": number})
            assert orchestrator.knowledge_base[key] == expected
            assert orchestrator.knowledge_base[key].dtype == np.dtype(dtype)

    def test_a_bulk_replaces_what_is_there(self, orchestrator: OmegaMetaOrchestrator) -> None:
        orchestrator.add_knowledge("a", TWO)
        orchestrator.extend_knowledge(["a", "b"], np.array([[5.0], [6.0]]))

        assert orchestrator.knowledge_base["a"] == NumericVectorArtifact([5.0])
        assert orchestrator.knowledge_base["b"] == NumericVectorArtifact([6.0])
        assert orchestrator.get_statistics()["knowledge_base_size"] == 2

    def test_a_large_bulk_is_all_there(self, orchestrator: OmegaMetaOrchestrator) -> None:
        matrix = np.arange(5000 * 64, dtype=np.float64).reshape(5000, 64)
        keys = [f"key-{number}" for number in range(5000)]
        ack = orchestrator.extend_knowledge(keys, matrix)

        assert ack.result == "ok"
        assert ack.seq == orchestrator.seq
        assert list(orchestrator.knowledge_base) == keys
        for number in (0, 1, 2047, 2048, 4999):
            array = orchestrator.knowledge_base[keys[number]].array
            assert array.tobytes() == matrix[number].tobytes()


@dataclasses.dataclass
class Budget:
    left: float
    spent: list[float]


class TestDocuments:
    def test_a_document_is_put_replaced_and_removed(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.put_document("d", {"a": [1]})
        assert orchestrator.get_document("d") == {"a": [1]}
        orchestrator.put_document("d", None)
        assert orchestrator.get_document("d") is None
        assert list(orchestrator.documents) == ["d"]
        assert orchestrator.remove_document("d").result == "ok"
        assert list(orchestrator.documents) == []

    def test_a_typed_document_comes_back_as_its_type(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        budget = Budget(1.5, [0.25, math.inf])
        orchestrator.put_document("budget", budget)

        assert orchestrator.get_document("budget", type=Budget) == budget
        assert orchestrator.get_document("budget") == {"left": 1.5, "spent": [0.25, math.inf]}

    def test_a_document_that_is_not_of_the_type_is_an_error(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.put_document("budget", {"left": "much"})

        with pytest.raises((ValueError, TypeError)):
            orchestrator.get_document("budget", type=Budget)

    def test_changing_what_was_read_changes_nothing(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.put_document("d", {"a": [1]})
        orchestrator.get_document("d")["a"].append(2)

        assert orchestrator.get_document("d") == {"a": [1]}

    def test_zero_means_that_the_document_must_not_exist(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        assert orchestrator.put_document("d", "first", if_seq=0).result == "ok"
        conflict = orchestrator.put_document("d", "second", if_seq=0)

        assert (conflict.result, conflict.seq) == ("conflict", 2)
        assert orchestrator.get_document("d") == "first"
        orchestrator.remove_document("d")
        assert orchestrator.put_document("d", "third", if_seq=0).result == "ok"
        assert orchestrator.get_document("d") == "third"

    def test_a_document_is_replaced_only_at_the_seq_of_its_last_change(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        first = orchestrator.put_document("d", 1)
        orchestrator.add_score(0.5)
        orchestrator.put_document("other", 1)
        second = orchestrator.put_document("d", 2, if_seq=first.seq)
        assert (second.result, second.seq) == ("ok", 4)

        assert orchestrator.put_document("d", 3, if_seq=first.seq).result == "conflict"
        assert orchestrator.put_document("d", 3, if_seq=second.seq + 100).result == "conflict"
        assert orchestrator.get_document("d") == 2
        assert orchestrator.put_document("d", 4, if_seq=second.seq).result == "ok"
        assert orchestrator.get_document("d") == 4

    def test_a_conflict_does_not_move_the_seq_of_the_last_change(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        first = orchestrator.put_document("d", 1)
        conflict = orchestrator.put_document("d", 2, if_seq=99)

        assert orchestrator.put_document("d", 3, if_seq=conflict.seq).result == "conflict"
        assert orchestrator.put_document("d", 3, if_seq=first.seq).result == "ok"

    def test_a_condition_on_a_document_that_is_not_there_is_a_conflict(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        put = orchestrator.put_document("d", 1)
        orchestrator.remove_document("d")

        assert orchestrator.put_document("d", 2, if_seq=put.seq).result == "conflict"
        assert orchestrator.put_document("absent", 2, if_seq=5).result == "conflict"
        assert len(orchestrator.documents) == 0

    def test_the_documents_can_not_be_written_past_the_writers(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.put_document("d", 1)
        documents: Any = orchestrator.documents
        histories: Any = orchestrator.histories

        assert isinstance(orchestrator.documents, Mapping)
        assert isinstance(orchestrator.histories, Mapping)
        for mapping in (documents, histories):
            with pytest.raises(READ_ONLY):
                mapping["x"] = 1
            with pytest.raises(READ_ONLY):
                mapping.clear()


class TestStatistics:
    def test_the_average_is_over_the_scores_that_are_kept(self) -> None:
        orchestrator = OmegaMetaOrchestrator(history_maxlen=2)
        orchestrator.extend_scores([100.0, 1.0, 2.0])

        assert orchestrator.get_statistics()["avg_score"] == 1.5
        assert orchestrator.get_statistics()["score_history_size"] == 2

    @pytest.mark.parametrize(
        ("scores", "average"),
        [([], 0.0), ([1.0, -math.inf], -math.inf), ([0.1] * 10, 0.1), ([1], 1.0)],
    )
    def test_the_average_of_any_scores_is_a_float(
        self, orchestrator: OmegaMetaOrchestrator, scores: list[float], average: float
    ) -> None:
        for score in scores:
            orchestrator.add_score(score)
        result = orchestrator.get_statistics()["avg_score"]

        assert type(result) is float
        assert result == pytest.approx(average)

    def test_scores_that_have_no_average_give_nan(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.extend_scores([math.inf, -math.inf])

        assert math.isnan(orchestrator.get_statistics()["avg_score"])

    def test_scores_whose_sum_leaves_the_floats_still_have_statistics(
        self, orchestrator: OmegaMetaOrchestrator
    ) -> None:
        orchestrator.extend_scores([1.5e308, 1.5e308])

        assert orchestrator.get_statistics()["avg_score"] in {1.5e308, math.inf}
