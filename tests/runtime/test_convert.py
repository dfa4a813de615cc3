"""Making a new store of a snapshot file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import penin
from penin.errors import CorruptionError, FormatError, StorageError
from penin.runtime.convert import convert


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.add_knowledge("best", penin.NumericVectorArtifact([0.5, 1.5], {"run": 7}))
    orchestrator.add_score(float("-inf"))
    path = tmp_path / "saved.json"
    orchestrator.save_state(path)
    return path


def edited(path: Path) -> Path:
    text = path.read_text()
    assert '"run": 7' in text
    path.write_text(text.replace('"run": 7', '"run": 8'))
    return path


def test_a_new_store_holds_what_the_file_held_and_opens(saved: Path, tmp_path: Path) -> None:
    made = convert(saved, tmp_path / "store")

    with penin.open_sync(tmp_path / "store") as orchestrator:
        assert orchestrator.applied_seq == made.seq == 2
        artifact = orchestrator.get("best")
        assert artifact == penin.NumericVectorArtifact([0.5, 1.5], {"run": 7})
        assert orchestrator.history("score_history") == [float("-inf")]
        assert orchestrator.add_score(1.0).seq == 3


def test_the_new_store_names_what_it_came_from(saved: Path, tmp_path: Path) -> None:
    with penin.open_sync(tmp_path / "first") as orchestrator:
        orchestrator.add_score(0.5)
    first = json.loads((tmp_path / "first" / "state.json").read_text())

    made = convert(tmp_path / "first" / "state.json", tmp_path / "second")

    journal = tmp_path / "second" / "journal" / "00000000000000000002.jsonl"
    header = json.loads(journal.read_text().splitlines()[0])
    assert header["store"] == made.store != first["store"]
    assert header["forked_from"] == {
        "store": first["store"],
        "seq": 1,
        "hash": first["journal_hash"],
    }


def test_a_directory_with_a_saved_state_names_its_digest(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    saved.rename(tmp_path / "first" / "state.json")
    convert(tmp_path / "first", tmp_path / "second")

    journal = tmp_path / "second" / "journal" / "00000000000000000003.jsonl"
    header = json.loads(journal.read_text().splitlines()[0])
    digest = hashlib.sha256((tmp_path / "first" / "state.json").read_bytes()).hexdigest()
    assert header["forked_from"] == {"store": None, "seq": 2, "hash": digest}


def test_an_edited_file_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CorruptionError, match="penin convert --accept-edited"):
        convert(edited(saved), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_edited_file_is_taken_where_its_owner_says_so(saved: Path, tmp_path: Path) -> None:
    convert(edited(saved), tmp_path / "store", accept_edited=True)

    artifact = penin.load(tmp_path / "store").knowledge_base["best"]
    assert artifact.metadata == {"run": 8}


def test_an_edit_that_makes_no_sense_is_refused_by_its_content(saved: Path, tmp_path: Path) -> None:
    saved.write_text(saved.read_text().replace('"seq": 2', '"seq": "two"'))

    with pytest.raises(FormatError, match="seq"):
        convert(saved, tmp_path / "store", accept_edited=True)


def test_a_store_that_is_there_is_not_touched(saved: Path, tmp_path: Path) -> None:
    convert(saved, tmp_path / "store")

    with pytest.raises(StorageError, match="there is a store already"):
        convert(saved, tmp_path / "store")


def test_a_conversion_that_was_interrupted_is_no_empty_store(saved: Path, tmp_path: Path) -> None:
    original = tmp_path / "original.json"
    original.write_text(
        json.dumps(
            {
                "knowledge_base": {},
                "task_history": {"__type__": "deque", "items": [{"n": 1}], "maxlen": 5},
                "score_history": {"__type__": "deque", "items": [0.5], "maxlen": 5},
            }
        )
    )
    convert(original, tmp_path / "store")
    (tmp_path / "store" / "state.json").unlink()

    with (
        pytest.raises(FormatError, match="a conversion was interrupted"),
        penin.open_sync(tmp_path / "store"),
    ):
        pass

    convert(original, tmp_path / "store")
    assert penin.load(tmp_path / "store").score_history[0] == 0.5


def test_a_store_whose_snapshot_was_removed_says_so(saved: Path, tmp_path: Path) -> None:
    convert(saved, tmp_path / "store")
    (tmp_path / "store" / "state.json").unlink()

    with (
        pytest.raises(FormatError, match="no snapshot beside a journal"),
        penin.open_sync(tmp_path / "store"),
    ):
        pass


def test_a_snapshot_beside_the_journal_of_another_store_is_refused(
    saved: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        convert(saved, tmp_path / name)
    for journal in (tmp_path / "first" / "journal").iterdir():
        journal.unlink()
    for journal in (tmp_path / "second" / "journal").iterdir():
        (tmp_path / "first" / "journal" / journal.name).write_bytes(journal.read_bytes())

    with pytest.raises(StorageError):
        penin.load(tmp_path / "first")
