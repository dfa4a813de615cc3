"""`penin checkpoints`, as a process."""

from __future__ import annotations

import json

import pytest

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several


@pytest.fixture
def store(place):
    with penin.open_sync(place / "memory", settings=penin.Settings(keep_last=3)) as orchestrator:
        for _ in range(4):
            orchestrator.add_score(0.5)
            orchestrator.checkpoint()
    return place / "memory"


def listed(place, *arguments):
    process = run_penin(place, "checkpoints", "--dir", "memory", "--json", *arguments)
    return process.code, json.loads("\n".join(process.out))["checkpoints"]


def test_each_is_told_with_seq_time_and_size_and_that_it_was_not_checked(place, store):
    code, found = listed(place)
    assert code == ExitCode.SUCCESS
    assert [checkpoint["seq"] for checkpoint in found] == [2, 3, 4]
    for checkpoint in found:
        path = store / "checkpoints" / checkpoint["file"]
        assert checkpoint["size_bytes"] == path.stat().st_size
        assert checkpoint["at"].replace("-", "").replace(":", "") in checkpoint["file"]
        assert checkpoint["verified"] is None
    shown = run_penin(place, "checkpoints", "--dir", "memory")
    assert shown.out[0].split() == ["seq", "time", "bytes", "verified", "file"]
    assert [line.split()[0] for line in shown.out[1:]] == ["2", "3", "4"]
    assert all("not checked" in line for line in shown.out[1:])


def test_verified_is_what_was_read_whole_and_damage_is_the_exit_code(place, store):
    assert [checkpoint["verified"] for checkpoint in listed(place, "--verify")[1]] == [True] * 3
    path = store / "checkpoints" / listed(place)[1][0]["file"]
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))

    code, found = listed(place, "--verify")
    shown = run_penin(place, "checkpoints", "--dir", "memory", "--verify")

    assert code == shown.code == ExitCode.CORRUPT
    assert [checkpoint["verified"] for checkpoint in found] == [False, True, True]
    assert str(path) in found[0]["reason"]
    assert "DAMAGED" in shown.out[1]
    assert shown.said(str(path))


def test_a_checkpoint_under_a_wrong_name_is_not_verified(place, store):
    path = store / "checkpoints" / listed(place)[1][0]["file"]
    path.rename(path.with_name(path.name.replace("2-", "1-", 1)))
    assert listed(place, "--verify")[1][0]["verified"] is False


def test_a_store_without_a_checkpoint_says_so(place):
    with penin.open_sync(place / "memory"):
        pass
    process = run_penin(place, "checkpoints", "--dir", "memory")
    assert process.code == ExitCode.SUCCESS
    assert process.said("there is no checkpoint yet")
    assert listed(place) == (ExitCode.SUCCESS, [])


def test_where_there_is_no_store_it_is_a_mistake_and_nothing_is_made(place):
    process = run_penin(place, "checkpoints", "--dir", "nowhere")
    assert process.code == ExitCode.USAGE
    assert "nowhere" in "\n".join(process.err)
    assert not (place / "nowhere").exists()


def test_what_cannot_be_opened_does_not_hide_the_others(place, store):
    path = store / "checkpoints" / f"{1:020d}-20260131T120000Z.json"
    path.symlink_to(place / "workers.py")
    code, found = listed(place)
    assert code == ExitCode.CORRUPT
    assert [checkpoint["verified"] for checkpoint in found] == [False, None, None, None]
    assert str(path) in found[0]["reason"]
