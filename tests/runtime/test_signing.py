"""Signed heads: whoever rewrites the past of a store is found out with the public key alone."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import penin
from penin.errors import RefusedValueError, UsageError
from penin.runtime.ledger import ChainReport, verify_chain
from penin.runtime.signing import SignedHeads, heads_of, read_public_key
from penin.settings import Settings
from penin.storage.commits import (
    Commit,
    Header,
    encode_commit,
    encode_header,
    parse_line,
)
from penin.storage.filesystem import OsFileSystem
from penin.storage.heads import new_key_pair
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.logs.fakes import HostLogger
from tests.runtime.stores import STORE, open_on
from tests.storage.keyed import master_of


class Signing:
    """A store that is signed, and what the holder of the public key finds."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = place / "store"
        if not (place / "sign.key").exists():
            private, public = new_key_pair()
            (place / "sign.key").write_bytes(private)
            (place / "sign.pub").write_bytes(public)

    def live(self, *scores: float, **settings: Any) -> None:
        chosen = Settings(sign_key_from=f"file:{self.place / 'sign.key'}", **settings)
        with penin.open_sync(self.store, settings=chosen) as orchestrator:
            for score in scores:
                orchestrator.add_score(score)

    def report(self, heads: Path | None = None) -> ChainReport:
        verifier = read_public_key(self.place / "sign.pub")
        path = heads_of(self.store) if heads is None else heads
        return verify_chain(self.store, signed=lambda: SignedHeads(OsFileSystem(), path, verifier))

    def reasons(self, heads: Path | None = None) -> str:
        report = self.report(heads)
        assert report.signed is not None
        assert not report.is_whole
        return "; ".join(problem.reason for problem in report.signed.problems)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with four checkpoints, all of it kept, and its keys."""
    made = Signing(tmp_path_factory.mktemp("signed"))
    for score in range(4):
        made.live(float(score), keep_journal="forever", keep_last=10)
    return made.place


@pytest.fixture
def signing(made_once: Path, tmp_path: Path) -> Signing:
    """A copy of it, with its hard links."""
    subprocess.run(["cp", "-a", f"{made_once}/.", tmp_path], check=True)
    return Signing(tmp_path)


def test_each_checkpoint_is_signed_and_verified_without_the_private_key(signing):
    (signing.place / "sign.key").unlink()
    report = signing.report()
    assert report.is_whole
    assert (report.signed.heads, report.signed.in_chain, report.signed.seq) == (4, 4, 4)
    heads = heads_of(signing.store).read_text().splitlines()
    assert [json.loads(head)["seq"] for head in heads] == [1, 2, 3, 4]
    assert penin.verify(signing.store).notes == []


def rewritten(store: Path, change: Callable[[bytes], bytes]) -> None:
    """Write the whole journal anew with other messages, as somebody does who knows the format."""
    prev: str | None = None
    for path in sorted((store / "journal").iterdir()):
        lines = []
        for line in path.read_bytes().splitlines(keepends=True):
            parsed = parse_line(line)
            if isinstance(parsed, Header):
                made, prev = encode_header(
                    store=parsed.store,
                    epoch=parsed.epoch,
                    first=parsed.first,
                    forked_from=parsed.forked_from,
                    prev=parsed.prev if prev is None else prev,
                )
            else:
                assert isinstance(parsed, Commit)
                assert prev is not None
                made, prev = encode_commit(
                    epoch=parsed.epoch,
                    first=parsed.first,
                    seq=parsed.seq,
                    synced=parsed.synced,
                    at=parsed.at,
                    messages=[change(bytes(parsed.messages)[1:-1])],
                    prev=prev,
                )
            lines.append(made)
        path.write_bytes(b"".join(lines))


def test_whoever_rewrites_the_past_is_found_out(signing):
    rewritten(signing.store, lambda messages: messages.replace(b"1.0", b"7.0"))
    assert verify_chain(signing.store).is_whole, "the chain alone does not show it"
    assert "seq 2 whose head was signed at" in signing.reasons()
    assert "cut or written anew" in signing.reasons()


def test_the_same_history_written_again_is_the_same(signing):
    rewritten(signing.store, lambda messages: messages)
    assert signing.report().is_whole


def test_whoever_cuts_the_end_is_found_out(signing):
    newest = sorted((signing.store / "journal").iterdir())
    for path in newest[-2:]:
        path.unlink()
    assert "seq 4" in signing.reasons()


def test_a_checkpoint_that_was_changed_is_found_out(signing):
    oldest = min((signing.store / "checkpoints").iterdir())
    oldest.write_bytes(oldest.read_bytes().replace(b"0.0", b"9.0"))
    assert "is not the one whose head was signed" in signing.reasons()


def test_heads_that_were_changed_taken_away_or_made_by_another_are_found_out(signing):
    path = heads_of(signing.store)
    whole = path.read_text()
    path.write_text(whole.replace('"seq":3', '"seq":2'))
    assert "its signature is wrong" in signing.reasons()
    path.write_text(whole.replace("{", "<", 1))
    assert signing.reasons()
    path.unlink()
    report = signing.report()
    assert not report.is_whole
    assert report.signed.heads == 0
    other = Signing(signing.place / "store")
    other.store = signing.store
    other.live(9.0)
    report = signing.report()
    assert (report.signed.heads, report.signed.others) == (0, 1)
    assert not report.is_whole
    kept = signing.place / "kept"
    kept.write_text(whole)
    assert signing.report(kept).is_whole, "with the heads that were kept elsewhere"


def test_another_store_of_the_same_owner_is_no_substitute(signing):
    kept = signing.place / "kept"
    heads_of(signing.store).rename(kept)
    signing.store.rename(signing.place / "first")
    signing.live(1.0, 2.0)
    assert signing.report().is_whole
    assert "a head of store" in signing.reasons(kept)


def test_what_is_not_kept_any_more_is_no_damage(tmp_path):
    made = Signing(tmp_path)
    for score in range(5):
        made.live(float(score))
    report = made.report()
    assert report.is_whole
    assert report.first_seq > 1
    assert report.signed is not None
    assert report.signed.heads == 5
    assert report.signed.in_chain < 5


def test_a_backup_can_be_verified_and_goes_on(signing):
    penin.backup(signing.store, signing.place / "copy")
    signing.store = signing.place / "copy"
    assert signing.report().is_whole
    signing.live(5.0)
    assert signing.report().signed.heads == 5
    assert signing.report().is_whole


def test_an_encrypted_store_is_signed_too_and_verified_without_its_key(tmp_path):
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    made = Signing(tmp_path)
    key = f"file:{tmp_path / 'key'}"
    made.live(1.0, key_from=key)
    made.live(2.0, key_from=key)
    assert made.report().is_whole
    assert penin.verify(made.store, key_from=key).is_sound


def test_a_checkpoint_that_was_set_aside_and_made_again_is_right(signing):
    state = signing.store / "state.json"
    data = state.read_bytes()
    damaged = data.replace(b'"epoch"', b'"epoxh"')
    for path in (state, max((signing.store / "checkpoints").iterdir())):
        path.write_bytes(damaged)
    signing.live()
    signing.live(5.0)
    report = signing.report()
    assert report.signed.problems == []
    assert report.is_whole


def test_without_the_private_key_the_store_is_not_opened(tmp_path):
    settings = Settings(sign_key_from=f"file:{tmp_path / 'none'}")
    with (
        pytest.raises(UsageError, match="No such file"),
        penin.open_sync(tmp_path / "store", settings=settings),
    ):
        pytest.fail("opened")
    assert not (tmp_path / "store").exists()
    with pytest.raises(RefusedValueError, match="sign_key_from"):
        Settings(sign_key_from="key")
    with (
        pytest.raises(RefusedValueError, match="sign_key_from: a store in memory"),
        penin.open_sync(":memory:", settings=settings),
    ):
        pytest.fail("opened")


async def test_a_head_that_cannot_be_signed_is_logged_and_the_checkpoint_stands(tmp_path):
    made = Signing(tmp_path)
    fs, logger = CrashableFileSystem(), HostLogger()
    key = f"file:{made.place / 'sign.key'}"
    async with open_on(fs, logger=logger, sign_key_from=key) as orchestrator:
        await orchestrator.add_score(1.0)
        fs.make_directory(STORE / "heads.jsonl")
        assert await orchestrator.checkpoint() == 1
    events = [event for _, event, _ in logger.calls]
    assert events.count("checkpoint.unsigned") == 1
    assert "checkpoint.failed" not in events
