"""The ladder, verify and repair of compressed stores."""

from __future__ import annotations

from pathlib import Path

import pytest

import penin
from penin.runtime.repair import plan_repair, repair
from penin.settings import Settings


def made(place: Path, compress: str) -> Path:
    with penin.open_sync(place, settings=Settings(compress=compress, keep_last=4)) as orchestrator:
        for number in range(8):
            orchestrator.add_score(number)
            if number % 2:
                orchestrator.checkpoint()
    return place


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_a_compressed_store_verifies_and_a_damaged_one_is_told_and_mended(
    tmp_path: Path, compress: str
) -> None:
    store = made(tmp_path / "one", compress)
    found = penin.verify(store)
    assert not found.problems, found
    oldest = min((store / "journal").iterdir())
    assert oldest.name.endswith((".gz", ".zst"))
    whole = oldest.read_bytes()
    oldest.write_bytes(whole[: len(whole) // 2])
    assert penin.verify(store).problems
    plan = plan_repair(store)
    assert (plan.is_needed, plan.seq, plan.lost_first_seq) == (True, 8, None)
    repair(plan, tmp_path / "mended")
    assert penin.verify(tmp_path / "mended").is_sound
    assert list((tmp_path / "mended").glob("state.json.*")), "compressed as the old one"
    oldest.write_bytes(whole)
    for state in store.glob("state.json.*"):
        state.write_bytes(b"nothing")  # the newest checkpoint is the same file
    assert list(penin.load(store).score_history) == [float(number) for number in range(8)]
    with penin.open_sync(store) as orchestrator:
        orchestrator.add_score(8.0)
    assert list(penin.load(store).score_history) == [float(number) for number in range(9)]
