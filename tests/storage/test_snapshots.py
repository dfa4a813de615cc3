"""Snapshots on files: the order of the steps, and what each failure leaves."""

from __future__ import annotations

import errno

import pytest

from penin.errors import StorageError, StorageFullError
from penin.storage.filesystem import READ_BYTES
from penin.storage.retention import Retention
from penin.storage.snapshots import CheckpointFile, FileSnapshotStore
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.storage.owner import AT, STORE, content, latest_content

STATE = STORE / "state.json"
CHECKPOINTS = STORE / "checkpoints"
FIRST_NAME = "00000000000000000007-20260131T120000Z.json"


@pytest.fixture
def snapshots(fs) -> FileSnapshotStore:
    return FileSnapshotStore(fs, STORE)


def test_a_snapshot_is_put_in_this_order(fs, snapshots):
    snapshots.put(6, 1, AT, [b"six"])
    del fs.operations[:]
    assert snapshots.put(7, 2, AT, [b"sev", b"en"]) == 5
    assert fs.operations == [
        "sync_directory store",  # that there are checkpoints at all
        "create state.json.tmp-2-7",
        "truncate",
        "write",
        "write",
        "sync_file",
        f"link {FIRST_NAME}.tmp",
        f"rename {FIRST_NAME}",
        "sync_directory checkpoints",
        "rename state.json",
        "sync_directory store",
    ]
    assert fs.content(STATE) == fs.content(CHECKPOINTS / FIRST_NAME) == b"seven"
    assert fs.open_descriptors == 0


@pytest.mark.parametrize(
    ("operation", "at"),
    [
        *[("create", 1), ("truncate", 1), ("write", 1), ("write", 2), ("sync_file", 1)],
        *[("rename", 1), ("rename", 2)],
        *[("sync_directory", 1), ("sync_directory", 2), ("sync_directory", 3)],
    ],
)
def test_a_snapshot_that_fails_leaves_a_whole_one_and_no_temporary_file(
    fs, snapshots, operation, at
):
    snapshots.put(6, 1, AT, [b"six"])
    fs.fail(operation, errno.ENOSPC, at=at)
    with pytest.raises(StorageFullError):
        snapshots.put(7, 1, AT, [b"seven", b"!"])
    after_rename = (operation, at) == ("sync_directory", 3)
    assert latest_content(snapshots) == (b"seven!" if after_rename else b"six")
    names = fs.names(STORE) + fs.names(CHECKPOINTS)
    assert [name for name in names if "tmp" in name] == []
    assert fs.open_descriptors == 0
    assert snapshots.checkpoints()[0].seq == 6
    assert snapshots.put(8, 1, AT, [b"eight"]) == 5
    assert latest_content(snapshots) == b"eight"


def test_what_the_encoder_raises_goes_through_and_leaves_nothing(fs, snapshots):
    def chunks():
        yield b"half"
        raise KeyError("a bug of the encoder")

    with pytest.raises(KeyError):
        snapshots.put(7, 1, AT, chunks())
    assert latest_content(snapshots) is None
    assert [name for name in fs.names(STORE) if "tmp" in name] == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_links_are_refused_a_checkpoint_is_a_copy(fs, snapshots, number):
    fs.fail("link", number)
    snapshots.put(7, 1, AT, [b"seven"])
    assert fs.content(CHECKPOINTS / FIRST_NAME) == b"seven"
    assert fs.after_crash(1).content(CHECKPOINTS / FIRST_NAME) == b"seven"


def test_a_link_that_fails_otherwise_fails_the_snapshot(fs, snapshots):
    fs.fail("link", errno.EIO)
    with pytest.raises(StorageError):
        snapshots.put(7, 1, AT, [b"seven"])
    assert latest_content(snapshots) is None
    assert fs.names(STORE) == ["checkpoints"]


def test_a_second_snapshot_of_the_same_commit_takes_the_place_of_the_first(fs, snapshots):
    snapshots.put(7, 1, AT, [b"seven"])
    snapshots.put(7, 2, AT, [b"again"])
    assert [checkpoint.seq for checkpoint in snapshots.checkpoints()] == [7]
    assert fs.content(CHECKPOINTS / FIRST_NAME) == fs.content(STATE) == b"again"


def test_whatever_the_crash_there_is_a_whole_snapshot_and_the_one_before():
    for crash_at in range(1, 40):
        for seed in range(12):
            fs = CrashableFileSystem(seed=seed)
            fs.make_directory(STORE)
            snapshots = FileSnapshotStore(fs, STORE)
            snapshots.put(6, 1, AT, [b"six" * 400])
            fs.crash_at = len(fs.operations) + crash_at
            fs.crash_effect = ("none", "half", "whole")[seed % 3]
            crashed = True
            try:
                snapshots.put(7, 1, AT, [b"seven" * 100, b"seven" * 300])
                crashed = False
            except Crash:
                pass
            disk = fs.after_crash(seed)
            after = FileSnapshotStore(disk, STORE)
            after.remove_leftovers()
            whole = {6: b"six" * 400, 7: b"seven" * 400}
            latest = latest_content(after)
            assert latest == whole[7] or (crashed and latest == whole[6])
            for checkpoint in after.checkpoints():
                assert disk.content(checkpoint.path) == whole[checkpoint.seq]
            assert after.checkpoints()[0].seq == 6
            assert [name for name in disk.names(STORE) if "tmp" in name] == []
            assert [name for name in disk.names(CHECKPOINTS) if "tmp" in name] == []


def test_pruning_keeps_what_the_retention_says_and_is_durable(fs, snapshots):
    for seq in (3, 5, 8, 13):
        snapshots.put(seq, 1, AT, [b"%d" % seq])
    snapshots.prune(Retention(3), now=AT, valid=[13])
    assert [checkpoint.seq for checkpoint in snapshots.checkpoints()] == [5, 8, 13]
    snapshots.prune(Retention(), now=AT, valid=[13])
    assert snapshots.oldest_kept_seq() == 8
    snapshots.prune(Retention(5), now=AT, valid=[13])
    assert snapshots.oldest_kept_seq() == 8
    for seed in range(5):
        after = FileSnapshotStore(fs.after_crash(seed), STORE)
        assert [checkpoint.seq for checkpoint in after.checkpoints()] == [8, 13]


@pytest.mark.parametrize("operation", ["unlink", "sync_directory"])
def test_pruning_that_fails_is_told(fs, snapshots, operation):
    for seq in (3, 5, 8):
        snapshots.put(seq, 1, AT, [b"x"])
    fs.fail(operation, errno.EIO)
    with pytest.raises(StorageError):
        snapshots.prune(Retention(), now=AT, valid=[8])


def test_a_file_whose_name_has_no_time_is_a_checkpoint_without_one(fs, snapshots):
    snapshots.put(3, 1, AT, [b"three"])
    path = CHECKPOINTS / f"{2:020d}-by-hand.json"
    fs.link(STATE, path)
    assert snapshots.checkpoints()[0] == CheckpointFile(2, path, None)


def test_leftovers_of_earlier_runs_are_removed_and_nothing_else(fs, snapshots):
    snapshots.put(7, 1, AT, [b"seven"])
    for path in (
        STORE / "state.json.tmp-1-8",
        CHECKPOINTS / f"{FIRST_NAME}.tmp",
        STORE / "rejected.jsonl",
        CHECKPOINTS / "notes.txt",
    ):
        fs.close(fs.open_write(path))
    snapshots.remove_leftovers()
    assert fs.names(STORE) == ["checkpoints", "rejected.jsonl", "state.json"]
    assert fs.names(CHECKPOINTS) == [FIRST_NAME, "notes.txt"]
    assert len(snapshots.checkpoints()) == 1


def test_an_original_is_kept_under_its_digest_for_good(fs, snapshots):
    fs.close(fs.open_write(STATE))
    fs.replace_content(STATE, b"original")
    kept = snapshots.keep_original()
    # printf original | sha256sum | head -c 12
    assert kept == STORE / "state.original-0682c5f2076f.json"
    assert snapshots.keep_original() == kept
    snapshots.put(1, 1, AT, [b"converted"])
    assert fs.content(kept) == b"original"
    assert fs.after_crash(0).content(kept) == b"original"


def test_an_open_snapshot_stays_the_one_that_was_opened(fs, snapshots):
    snapshots.put(6, 1, AT, [b"six"])
    opened = snapshots.latest()
    snapshots.put(7, 1, AT, [b"seven"])
    assert b"".join(opened) == content(opened) == b"six"
    assert fs.open_descriptors == 0


def test_a_snapshot_comes_in_blocks_and_as_often_as_it_is_iterated(fs, snapshots):
    data = bytes(range(256)) * (READ_BYTES // 256) * 2 + b"rest"
    snapshots.put(6, 1, AT, [data])
    with snapshots.latest() as blocks:
        assert [len(block) for block in blocks] == [READ_BYTES, READ_BYTES, 4]
        assert b"".join(blocks) == data
        assert blocks.size_bytes == len(data)
    assert fs.open_descriptors == 0


def test_a_snapshot_that_cannot_be_read_is_named_and_closed(fs, snapshots, monkeypatch):
    snapshots.put(6, 1, AT, [b"six"])

    def fail(fd, size, offset):
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(fs, "read", fail)
    with pytest.raises(StorageError, match="the disk is gone") as failure:
        latest_content(snapshots)
    assert failure.value.path == STATE
    with pytest.raises(StorageError, match="the disk is gone"):
        snapshots.keep_original()
    assert fs.open_descriptors == 0


def test_there_is_nothing_to_keep_where_there_is_nothing(snapshots):
    with pytest.raises(StorageError, match="no state"):
        snapshots.keep_original()
