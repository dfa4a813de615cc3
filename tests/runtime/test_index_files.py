"""The files of indexes: whose they are, and what is removed."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import numpy as np
import pytest

from penin.core import OmegaMetaOrchestrator
from penin.core.nearest import query_of
from penin.core.vector_index import VectorIndex
from penin.errors import CorruptionError, FormatError
from penin.runtime.index_files import IndexFiles, IndexKind
from penin.storage.filesystem import OsFileSystem
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem

KIND = IndexKind("dot", 3)
PLACE = Path("/store")
OURS, THEIRS = "6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3", "0a1b2c3d-2b34-4a58-9c6d-7e8f90a1b2c3"


def an_index(scores=1):
    """One that covers as many transitions as there are scores, and one more."""
    memory = OmegaMetaOrchestrator()
    memory.extend_knowledge(["x", "y"], np.ones((2, KIND.dimension)))
    for score in range(scores):
        memory.add_score(score)
    index = VectorIndex(KIND.dimension, KIND.metric)
    index.extend(memory.knowledge_base.view(), memory.seq, threads=1)
    return index


@pytest.fixture
def files(tmp_path):
    made = IndexFiles(OsFileSystem(), tmp_path)
    made.prepare()
    return made


def written(files, index=None):
    temporary = files.temporary(KIND, 1)
    files.write(temporary, index or an_index(), OURS)
    files.put(temporary, KIND)
    return files.path(KIND)


def test_it_is_there_once_it_was_put_for_its_owner_alone(files, tmp_path):
    temporary = files.temporary(KIND, 7)
    size = files.write(temporary, an_index(), OURS)
    assert files.load(files.path(KIND), OURS) is None
    assert files.found() == []
    files.put(temporary, KIND)
    assert not temporary.exists()
    path = tmp_path / "index" / "dot-3.index"
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, size)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    loaded = files.load(path, OURS, seq_max=2)
    assert (len(loaded), loaded.seq) == (2, 2)
    (found,) = files.found()
    assert (found.path, found.card.seq, found.size_bytes) == (path, 2, size)


def test_one_of_another_store_or_kind_or_of_the_future_is_refused(files):
    path = written(files)
    with pytest.raises(FormatError, match=f"store {OURS}"):
        files.load(path, THEIRS)
    with pytest.raises(FormatError, match="covers seq 2, and the store is at 1"):
        files.load(path, OURS, seq_max=1)
    other = files.path(IndexKind("cosine", 3))
    path.rename(other)
    with pytest.raises(FormatError, match="an index of dot"):
        files.load(other, OURS)


def test_cleaning_removes_what_cannot_be_used_and_says_why(files, tmp_path):
    directory = tmp_path / "index"
    path = written(files)
    whole = path.read_bytes()
    (directory / "dot-4.index").write_bytes(whole)
    (directory / "cosine-3.index").write_bytes(whole[:-9])
    (directory / "euclidean-3.index").write_bytes(b"")
    (directory / "dot-3.index.tmp-4").write_bytes(whole)
    (directory / "notes.txt").write_text("somebody else's")
    complaints = files.clean(OURS, seq=2)
    kinds = {(error.path.name, type(error)) for error in complaints}
    assert kinds == {
        ("dot-4.index", FormatError),
        ("cosine-3.index", CorruptionError),
        ("euclidean-3.index", CorruptionError),
    }
    assert {each.name for each in directory.iterdir()} == {"dot-3.index", "notes.txt"}
    assert [error.path for error in files.clean(OURS, seq=1)] == [path]
    assert not path.exists()


def test_where_there_is_no_directory_there_is_nothing_to_clean(tmp_path):
    files = IndexFiles(OsFileSystem(), tmp_path)
    assert files.clean(OURS, 0) == []
    assert files.found() == []
    assert not (tmp_path / "index").exists()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "index").symlink_to(tmp_path / "elsewhere")
    files = IndexFiles(OsFileSystem(), tmp_path / "store")
    with pytest.raises(OSError, match="index"):
        files.prepare()
    other = IndexFiles(OsFileSystem(), tmp_path / "elsewhere")
    other.prepare()
    path = other.path(KIND)
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        other.load(path, OURS)


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_after_a_crash_anywhere_there_is_the_old_index_or_the_new_one(effect):
    disk = CrashableFileSystem()
    files = IndexFiles(disk, PLACE)
    files.prepare()
    written(files)
    seqs = []
    for crash_at in range(1, 100):
        fs = disk.after_kill()
        fs.crash_at, fs.crash_effect = crash_at, effect
        with contextlib.suppress(Crash):
            written(IndexFiles(fs, PLACE), an_index(scores=2))
        if len(fs.operations) < crash_at:
            break
        for found in (fs.after_crash(seed=crash_at), fs.after_kill()):
            files = IndexFiles(found, PLACE)
            assert files.clean(OURS, 3) == []
            index = files.load(files.path(KIND), OURS, 3)
            assert index is not None
            seqs.append(index.seq)
            assert index.candidates(query_of(np.ones(3), 1, "dot"), 1)[0][0].key in {"x", "y"}
            assert found.names(PLACE / "index") == ["dot-3.index"]
    assert set(seqs) == {2, 3}


def test_without_room_nothing_is_left_of_the_new_one():
    fs = CrashableFileSystem()
    files = IndexFiles(fs, PLACE)
    files.prepare()
    fs.fail("write", errno.ENOSPC, at=2, partial=10)
    with pytest.raises(OSError, match="No space"):
        files.write(files.temporary(KIND, 1), an_index(), OURS)
    assert fs.names(PLACE / "index") == []
