"""`save_state` and `load_state`: the file, and everything that comes back from it."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, state_decoder
from penin.errors import PeninError
from tests.core import strategies
from tests.core.model import contents
from tests.core.original import original_load
from tests.core.samples import filled, loaded
from tests.core.strategies import exactly_equal


def refuse_constant(name: str) -> Any:
    pytest.fail(f"{name} is not JSON")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


class TestFile:
    def test_the_file_is_strict_json_with_indent_two(self, path: Path) -> None:
        filled().save_state(path)
        text = path.read_text(encoding="utf-8")
        saved = json.loads(text, parse_constant=refuse_constant)

        assert list(saved)[:2] == ["format", "version"]
        assert list(saved)[-1] == "digest"
        lines = text.splitlines()
        assert lines[0] == "{"
        for key in saved:
            assert any(line.startswith(f'  "{key}": ') for line in lines), key
        assert all((len(line) - len(line.lstrip(" "))) % 2 == 0 for line in lines)

    def test_every_vector_stands_in_one_line(self, path: Path) -> None:
        orchestrator = filled()
        orchestrator.put_document("champion", {"best": NumericVectorArtifact([4.0, 5.0])})
        orchestrator.append_history("champions", NumericVectorArtifact([6.0, 7.0]))
        orchestrator.save_state(path)
        vectors = [line for line in path.read_text().splitlines() if '"vector": ' in line]

        assert len(vectors) == 7
        for line in vectors:
            text = line.strip().removeprefix('"vector": ').rstrip(",")
            assert isinstance(json.loads(text), list)

    def test_outside_a_store_the_file_names_no_store(self, path: Path) -> None:
        orchestrator = filled()
        orchestrator.save_state(path)
        saved = json.loads(path.read_text())

        for key in ("store", "epoch", "at", "journal_hash"):
            assert saved[key] is None
        assert saved["seq"] == orchestrator.seq
        assert saved["schema_version"] is not None
        assert set(saved["histories"]) == {"losses"}
        assert set(saved["documents"]) == {"rng", "none"}
        assert len(saved["message_ids"]) == 0

    def test_what_json_has_no_word_for_is_tagged(self, path: Path) -> None:
        filled().save_state(path)
        saved = json.loads(path.read_text())

        assert saved["score_history"]["items"] == [
            0.1,
            {"__type__": "float", "value": "inf"},
            {"__type__": "float", "value": "-inf"},
            {"__type__": "float", "value": "nan"},
        ]
        task = saved["task_history"]["items"][0]
        assert task["big"] == {"__type__": "int", "value": str(2**200)}
        state = saved["documents"]["rng"]["state"]
        assert state == {"__type__": "int", "value": str(2**4096 - 1)}

    def test_the_digest_is_of_everything_before_it(self, path: Path) -> None:
        filled().save_state(path)
        data = path.read_bytes()
        before, _, rest = data.rpartition(b',\n  "digest"')

        assert hashlib.sha256(before).hexdigest().encode() in rest

    def test_the_same_state_gives_the_same_bytes(self, path: Path, tmp_path: Path) -> None:
        filled().save_state(path)
        filled().save_state(tmp_path / "again.json")
        loaded(path).save_state(tmp_path / "loaded.json")

        assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
        assert (tmp_path / "loaded.json").read_bytes() == path.read_bytes()

    def test_strings_and_paths_are_taken_also_relative_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        orchestrator = filled()
        orchestrator.save_state("plain.json")
        orchestrator.save_state(Path("a") / "b" / "c.json")

        assert OmegaMetaOrchestrator().load_state("plain.json") is True
        assert OmegaMetaOrchestrator().load_state(tmp_path / "a" / "b" / "c.json") is True

    def test_an_empty_state_survives(self, path: Path) -> None:
        OmegaMetaOrchestrator().save_state(path)

        assert exactly_equal(contents(loaded(path)), contents(OmegaMetaOrchestrator()))


class TestOriginalReader:
    def test_an_original_reader_reads_the_three_keys(self, path: Path) -> None:
        orchestrator = OmegaMetaOrchestrator(history_maxlen=5)
        orchestrator.add_knowledge("k", NumericVectorArtifact([0.1, 2.0], {"m": {"n": 1}}))
        orchestrator.add_task({"best": NumericVectorArtifact([1.5]), "q": deque([1], maxlen=2)})
        orchestrator.extend_scores([0.5, 0.75])
        orchestrator.append_history("losses", 1.0)
        orchestrator.put_document("d", {"a": 1})
        orchestrator.save_state(path)
        ours = json.loads(path.read_text(), object_hook=state_decoder)

        for read in (ours, original_load(path)):
            assert exactly_equal(read["knowledge_base"], dict(orchestrator.knowledge_base))
            assert exactly_equal(read["task_history"], orchestrator.task_history)
            assert exactly_equal(read["score_history"], orchestrator.score_history)

    @pytest.mark.parametrize("mark", ["deque", "NumericVectorArtifact", "float", "Galaxy"])
    def test_names_that_look_like_marks_do_not_confuse_a_reader(
        self, path: Path, mark: str
    ) -> None:
        orchestrator = OmegaMetaOrchestrator()
        for write in (
            lambda: orchestrator.put_document("__type__", mark),
            lambda: orchestrator.append_history("__type__", mark),
            lambda: orchestrator.add_knowledge("__type__", NumericVectorArtifact([1.0])),
        ):
            try:
                write()
            except PeninError:
                continue  # refusing such a name is the other way to keep the file readable
        orchestrator.add_score(0.5)
        orchestrator.save_state(path)

        assert list(original_load(path)["score_history"]) == [0.5]
        assert exactly_equal(contents(loaded(path)), contents(orchestrator))


class TestRoundTrip:
    def test_everything_comes_back_exactly(self, path: Path) -> None:
        orchestrator = filled()
        orchestrator.save_state(path)

        assert exactly_equal(contents(loaded(path)), contents(orchestrator))

    def test_loading_replaces_what_was_there(self, path: Path) -> None:
        filled().save_state(path)
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.add_knowledge("mine", NumericVectorArtifact([1.0]))
        orchestrator.append_history("mine", 1)
        orchestrator.put_document("mine", 1)
        assert orchestrator.load_state(path) is True

        assert exactly_equal(contents(orchestrator), contents(filled()))

    def test_the_stored_bound_holds_unless_another_was_asked_for(self, path: Path) -> None:
        saved = OmegaMetaOrchestrator(history_maxlen=4)
        for number in range(4):
            saved.add_score(number)
            saved.append_history("losses", number)
        saved.save_state(path)
        asked = OmegaMetaOrchestrator(history_maxlen=2)
        asked.load_state(path)

        assert loaded(path).score_history.maxlen == 4
        assert list(asked.score_history) == [2.0, 3.0]
        assert asked.task_history.maxlen == 2
        assert list(asked.histories["losses"]) == [2, 3]

    def test_a_bound_that_is_stored_already_uses_no_seq(self, path: Path) -> None:
        filled().save_state(path)
        orchestrator = OmegaMetaOrchestrator(history_maxlen=4)
        orchestrator.load_state(path)

        assert orchestrator.seq == filled().seq

    def test_conditions_hold_after_a_load(self, path: Path) -> None:
        saved = OmegaMetaOrchestrator()
        saved.add_score(0.5)
        put = saved.put_document("d", 1)
        saved.add_score(0.25)
        saved.save_state(path)
        orchestrator = loaded(path)

        assert orchestrator.put_document("d", 2, if_seq=0).result == "conflict"
        assert orchestrator.put_document("d", 2, if_seq=put.seq).result == "ok"
        assert orchestrator.seq == saved.seq + 2

    @given(st.dictionaries(strategies.keys(), strategies.artifacts(), max_size=4))
    def test_all_artifacts_come_back_to_the_last_bit(
        self, tmp_path_factory: pytest.TempPathFactory, artifacts: dict[str, Any]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "artifacts.json"
        orchestrator = OmegaMetaOrchestrator()
        for key, artifact in artifacts.items():
            orchestrator.add_knowledge(key, artifact)
        orchestrator.save_state(path)

        assert exactly_equal(dict(loaded(path).knowledge_base), artifacts)

    @given(st.lists(strategies.values(), max_size=4), st.lists(strategies.floats(), max_size=4))
    def test_all_values_and_scores_come_back_to_the_last_bit(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[Any], scores: list[float]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "values.json"
        orchestrator = OmegaMetaOrchestrator()
        for index, value in enumerate(values):
            orchestrator.add_task({"value": value})
            orchestrator.append_history("h", value)
            orchestrator.put_document(f"d{index}", value)
        for score in scores:
            orchestrator.add_score(score)
        orchestrator.save_state(path)

        assert exactly_equal(contents(loaded(path)), contents(orchestrator))
