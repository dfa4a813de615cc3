"""What the seed promised and every later version keeps: artifacts, the two JSON hooks, the state.

Twenty-four tests in five groups, written from the description alone: artifact 4, encoder 4,
decoder 4, orchestrator 10, integration 2. Details of each part have files of their own beside
this one.
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penin.core import (
    NumericVectorArtifact,
    OmegaMetaOrchestrator,
    StateEncoder,
    state_decoder,
)
from penin.errors import PeninError, RefusedValueError
from tests.core.original import original_load, original_save


class TestNumericVectorArtifact:
    def test_an_artifact_keeps_its_vector_and_metadata(self) -> None:
        artifact = NumericVectorArtifact([0.1, 0.2, 0.3], {"source": "trial", "step": 7})

        assert artifact.vector == [0.1, 0.2, 0.3]
        assert artifact.metadata == {"source": "trial", "step": 7}
        assert NumericVectorArtifact([1.5]).metadata == {}

    def test_a_numpy_array_keeps_its_dtype_and_is_read_only(self) -> None:
        artifact = NumericVectorArtifact(np.array([0.1, 0.2], dtype=np.float32))

        assert artifact.dtype == np.float32
        assert artifact.array.dtype == np.float32
        assert artifact.vector == np.array([0.1, 0.2], dtype=np.float32).tolist()
        with pytest.raises(ValueError, match="read-only"):
            artifact.array[0] = 1.0

    def test_an_artifact_survives_to_dict_and_from_dict(self) -> None:
        artifact = NumericVectorArtifact([1.0, -2.5], {"tags": ["a", "b"]})

        assert artifact.to_dict() == {
            "__type__": "NumericVectorArtifact",
            "vector": [1.0, -2.5],
            "metadata": {"tags": ["a", "b"]},
        }
        assert NumericVectorArtifact.from_dict(artifact.to_dict()) == artifact
        without_metadata = {"__type__": "NumericVectorArtifact", "vector": [1.0, -2.5]}
        assert NumericVectorArtifact.from_dict(without_metadata).metadata == {}

    def test_what_is_no_finite_vector_of_numbers_is_refused(self) -> None:
        nan, infinity = float("nan"), float("inf")
        refused: list[Any] = [[], [nan], [infinity], ["1"], [True], [[1.0], [2.0, 3.0]]]
        for vector in refused:
            with pytest.raises((ValueError, TypeError)) as refusal:
                NumericVectorArtifact(vector)
            assert isinstance(refusal.value, PeninError), vector


class TestStateEncoder:
    def test_an_artifact_is_written_with_its_mark(self) -> None:
        text = json.dumps(NumericVectorArtifact([1.0, 2.0], {"k": "v"}), cls=StateEncoder)

        assert json.loads(text) == {
            "__type__": "NumericVectorArtifact",
            "vector": [1.0, 2.0],
            "metadata": {"k": "v"},
        }

    def test_a_bounded_deque_is_written_with_its_bound(self) -> None:
        text = json.dumps(deque([1, 2, 3], maxlen=5), cls=StateEncoder)

        assert json.loads(text) == {"__type__": "deque", "items": [1, 2, 3], "maxlen": 5}

    def test_an_unbounded_deque_is_written_with_a_null_bound(self) -> None:
        text = json.dumps(deque(["a"]), cls=StateEncoder)

        assert json.loads(text) == {"__type__": "deque", "items": ["a"], "maxlen": None}

    def test_artifacts_and_deques_are_written_at_any_depth(self) -> None:
        artifact = NumericVectorArtifact([3.0])
        state = {"plain": [1, "two", None], "nested": {"deep": [deque([artifact], maxlen=2)]}}

        assert json.loads(json.dumps(state, cls=StateEncoder)) == {
            "plain": [1, "two", None],
            "nested": {"deep": [{"__type__": "deque", "items": [artifact.to_dict()], "maxlen": 2}]},
        }


class TestStateDecoder:
    def test_a_marked_artifact_is_read_as_an_artifact(self) -> None:
        text = '{"__type__": "NumericVectorArtifact", "vector": [1.0, 2.5], "metadata": {"a": 1}}'

        artifact = json.loads(text, object_hook=state_decoder)

        assert isinstance(artifact, NumericVectorArtifact)
        assert artifact == NumericVectorArtifact([1.0, 2.5], {"a": 1})

    def test_a_marked_deque_is_read_as_a_deque_with_its_bound(self) -> None:
        bounded = json.loads(
            '{"__type__": "deque", "items": [1, 2], "maxlen": 3}', object_hook=state_decoder
        )
        unbounded = json.loads(
            '{"__type__": "deque", "items": [], "maxlen": null}', object_hook=state_decoder
        )

        assert isinstance(bounded, deque)
        assert (list(bounded), bounded.maxlen) == ([1, 2], 3)
        assert isinstance(unbounded, deque)
        assert (list(unbounded), unbounded.maxlen) == ([], None)

    def test_a_dictionary_with_an_unknown_or_no_mark_passes_unchanged(self) -> None:
        state = {
            "plain": {"a": 1},
            "unknown": {"__type__": "Galaxy", "vector": [1]},
            "odd": {"__type__": 5},
        }

        assert json.loads(json.dumps(state), object_hook=state_decoder) == state

    def test_what_the_encoder_wrote_comes_back_with_its_types(self) -> None:
        state = {
            "history": deque([{"best": NumericVectorArtifact([0.5, 0.25], {"g": 1})}], maxlen=4),
            "ints": NumericVectorArtifact(np.array([1, 2], dtype=np.int16)),
        }

        back = json.loads(json.dumps(state, cls=StateEncoder), object_hook=state_decoder)

        assert back == state
        assert back["history"].maxlen == 4
        assert back["ints"].dtype == np.int16


class TestOmegaMetaOrchestrator:
    def test_a_new_state_is_empty(self) -> None:
        orchestrator = OmegaMetaOrchestrator()

        assert len(orchestrator.knowledge_base) == 0
        assert list(orchestrator.task_history) == []
        assert list(orchestrator.score_history) == []
        assert orchestrator.task_history.maxlen == 1000
        assert orchestrator.score_history.maxlen == 1000

    def test_knowledge_is_kept_under_its_key_and_replaced(self) -> None:
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_knowledge("best", NumericVectorArtifact([1.0]))
        orchestrator.add_knowledge("best", NumericVectorArtifact([2.0, 3.0]))

        assert orchestrator.knowledge_base["best"] == NumericVectorArtifact([2.0, 3.0])
        assert list(orchestrator.knowledge_base) == ["best"]

    def test_tasks_are_kept_in_order(self) -> None:
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_task({"id": 1, "name": "first"})
        orchestrator.add_task({"id": 2, "name": "second"})

        assert list(orchestrator.task_history) == [
            {"id": 1, "name": "first"},
            {"id": 2, "name": "second"},
        ]

    def test_scores_are_kept_in_order_also_those_that_are_not_finite(self) -> None:
        orchestrator = OmegaMetaOrchestrator()
        for score in (0.5, float("-inf"), 0.75):
            orchestrator.add_score(score)

        assert list(orchestrator.score_history) == [0.5, float("-inf"), 0.75]

    def test_a_full_history_drops_its_oldest(self) -> None:
        orchestrator = OmegaMetaOrchestrator(history_maxlen=3)
        for number in range(5):
            orchestrator.add_task({"number": number})
            orchestrator.add_score(float(number))

        assert [task["number"] for task in orchestrator.task_history] == [2, 3, 4]
        assert list(orchestrator.score_history) == [2.0, 3.0, 4.0]

    def test_statistics_count_what_is_there_and_average_the_scores(self) -> None:
        orchestrator = OmegaMetaOrchestrator()
        empty = orchestrator.get_statistics()
        orchestrator.add_knowledge("k", NumericVectorArtifact([1.0]))
        orchestrator.add_task({"id": 1})
        orchestrator.add_score(0.5)
        orchestrator.add_score(1.0)
        filled = orchestrator.get_statistics()

        names = ("knowledge_base_size", "task_history_size", "score_history_size", "avg_score")
        assert [empty[name] for name in names] == [0, 0, 0, 0.0]
        assert [filled[name] for name in names] == [1, 1, 2, 0.75]

    def test_saving_makes_parent_directories_and_writes_indented_json(self, tmp_path: Path) -> None:
        path = tmp_path / "not" / "there" / "yet" / "state.json"
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_knowledge("k", NumericVectorArtifact([1.0, 2.0], {"a": 1}))
        orchestrator.save_state(str(path))

        text = path.read_text(encoding="utf-8")
        saved = json.loads(text)
        assert text.startswith('{\n  "')
        assert {"knowledge_base", "task_history", "score_history"} <= saved.keys()
        assert saved["score_history"] == {"__type__": "deque", "items": [], "maxlen": 1000}
        assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]

    def test_loading_where_no_file_is_returns_false_and_changes_nothing(
        self, tmp_path: Path
    ) -> None:
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_score(0.5)

        assert orchestrator.load_state(str(tmp_path / "absent.json")) is False
        assert list(orchestrator.score_history) == [0.5]

    def test_loading_restores_everything_with_its_types(self, tmp_path: Path) -> None:
        path = str(tmp_path / "state.json")
        saved = OmegaMetaOrchestrator(history_maxlen=7)
        vector = np.array([1, 2], dtype=np.uint8)
        saved.add_knowledge("k", NumericVectorArtifact(vector, {"m": [1]}))
        saved.add_task({"nested": deque([NumericVectorArtifact([9.5])], maxlen=2)})
        saved.add_score(0.125)
        saved.save_state(path)
        loaded = OmegaMetaOrchestrator()

        assert loaded.load_state(path) is True
        assert loaded.knowledge_base["k"] == saved.knowledge_base["k"]
        assert loaded.knowledge_base["k"].dtype == np.uint8
        nested = loaded.task_history[0]["nested"]
        assert isinstance(nested, deque)
        assert (nested.maxlen, list(nested)) == (2, [NumericVectorArtifact([9.5])])
        assert isinstance(loaded.task_history, deque)
        assert loaded.task_history.maxlen == 7
        assert list(loaded.score_history) == [0.125]

    def test_a_failed_load_leaves_the_state_as_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_task({"id": 1})
        orchestrator.save_state(str(path))
        path.write_bytes(path.read_bytes()[:-20])
        orchestrator.add_score(0.5)

        with pytest.raises(PeninError):
            orchestrator.load_state(str(path))
        assert list(orchestrator.task_history) == [{"id": 1}]
        assert list(orchestrator.score_history) == [0.5]


class TestIntegration:
    def test_a_state_goes_on_over_several_saves_and_loads(self, tmp_path: Path) -> None:
        path = str(tmp_path / "state.json")
        for generation in range(4):
            orchestrator = OmegaMetaOrchestrator()
            assert orchestrator.load_state(path) is (generation > 0)
            assert orchestrator.get_statistics()["task_history_size"] == generation
            vector = np.full(3, generation, dtype=np.float32)
            orchestrator.add_knowledge(f"g{generation}", NumericVectorArtifact(vector))
            orchestrator.add_task({"generation": generation, "champion": f"g{generation}"})
            orchestrator.add_score(generation / 4)
            with pytest.raises(RefusedValueError):
                orchestrator.add_knowledge("", NumericVectorArtifact([1.0]))
            orchestrator.save_state(path)

        last = OmegaMetaOrchestrator()
        assert last.load_state(path) is True
        assert [task["generation"] for task in last.task_history] == [0, 1, 2, 3]
        assert list(last.score_history) == [0.0, 0.25, 0.5, 0.75]
        assert sorted(last.knowledge_base) == ["g0", "g1", "g2", "g3"]
        assert last.knowledge_base["g3"].vector == [3.0, 3.0, 3.0]

    def test_original_files_load_and_an_original_reader_reads_ours(self, tmp_path: Path) -> None:
        original, ours = tmp_path / "original.json", tmp_path / "ours.json"
        original_save(
            original,
            {"k": NumericVectorArtifact([1.0, 2.0], {"a": "b"})},
            deque([{"id": 1, "loss": float("inf"), "odd": {"__type__": "Galaxy"}}], maxlen=10),
            deque([0.5, 0.25], maxlen=10),
        )
        orchestrator = OmegaMetaOrchestrator()
        assert orchestrator.load_state(str(original)) is True
        assert orchestrator.task_history[0] == {
            "id": 1,
            "loss": float("inf"),
            "odd": {"__type__": "Galaxy"},
        }
        orchestrator.add_score(1.0)
        orchestrator.save_state(str(ours))

        read = original_load(ours)
        assert read["knowledge_base"] == {"k": NumericVectorArtifact([1.0, 2.0], {"a": "b"})}
        assert read["task_history"][0]["id"] == 1
        assert read["task_history"].maxlen == 10
        assert list(read["score_history"]) == [0.5, 0.25, 1.0]
