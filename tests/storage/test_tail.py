"""The rule of the torn tail, case by case.

Every case is a region that follows a good line with seq 5, of epoch 2, in a file that is whole up
to byte `OFFSET`. Commits of the region are chained and numbered from 6; with `always` each knows
the one before it to be durable, with `everysec` none does.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.storage.commits import Position, encode_commit
from penin.storage.filesystem import SECTOR_BYTES
from penin.storage.tail import Corrupt, Torn, classify, has_zero_sector, is_bare

OFFSET = 700
LAST = Position(5, 2, "a" * 64, OFFSET)


def commits(count: int, *, fsync: str, padding: int = 600, epochs=()) -> list[bytes]:
    lines = []
    prev = LAST.hash
    for n in range(count):
        seq = 6 + n
        line, prev = encode_commit(
            epoch=epochs[n] if epochs else LAST.epoch,
            first=seq,
            seq=seq,
            synced=seq - 1 if fsync == "always" else 5,
            at="2026-01-31T12:00:00.000123Z",
            messages=[b'"' + b"x" * padding + b'"'],
            prev=prev,
        )
        lines.append(line)
    return lines


def without_sectors(region: bytes, *which: int) -> bytes:
    """The region with some sectors of the disk not written: they read as zeros."""
    disk = bytearray(OFFSET) + bytearray(region)
    for sector in which:
        start, end = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, len(disk))
        disk[start:end] = bytes(end - start)
    return bytes(disk[OFFSET:])


def flipped(region: bytes, at: int) -> bytes:
    return region[:at] + bytes([region[at] ^ 1]) + region[at + 1 :]


def joined(lines: list[bytes]) -> bytes:
    return b"".join(lines)


ALWAYS, EVERYSEC = commits(3, fsync="always"), commits(3, fsync="everysec")
SMALL = commits(1, fsync="always", padding=10)[0]
LATER_EPOCH = commits(3, fsync="everysec", epochs=(2, 2, 3))
LAST_SECTOR = (OFFSET + len(joined(EVERYSEC)) - 1) // SECTOR_BYTES

CASES = {
    # In both modes: the last commit was being written.
    "one byte": (b"{", Torn),
    "half a line": (SMALL[:100], Torn),
    "a line without its newline": (SMALL[:-1], Torn),
    "nothing but zeros, up to a newline's place": (bytes(len(SMALL)), Torn),
    "a line whose first sector was not written": (without_sectors(ALWAYS[0], 1), Torn),
    "a line whose middle sector was not written": (without_sectors(ALWAYS[0], 2), Torn),
    "a line whose last sector was not written": (without_sectors(ALWAYS[0], 3), Torn),
    "garbage without a newline": (b"garbage", Torn),
    # Nothing of it is missing: no crash does that.
    "a whole line with a flipped bit": (flipped(SMALL, 50), Corrupt),
    "a whole line of garbage": (b"garbage\n", Corrupt),
    "a whole line that belongs elsewhere": (commits(2, fsync="everysec")[1], Corrupt),
    "a newline alone": (b"\n", Corrupt),
    "zeros that fill no sector's part": (SMALL[:20] + bytes(100) + SMALL[120:], Corrupt),
    # With `always`, a line after the damage knew what is damaged to be durable.
    "always: a hole before a whole line": (without_sectors(joined(ALWAYS), 2), Corrupt),
    "always: a hole before a whole line before half a line": (
        without_sectors(joined(ALWAYS)[:-50], 2),
        Corrupt,
    ),
    "always: a flipped bit before a whole line": (flipped(joined(ALWAYS), 50), Corrupt),
    "always: a flipped bit before a torn line": (flipped(joined(ALWAYS[:2])[:-50], 50), Torn),
    # With `everysec` several are unsynced, and sectors reach the disk in any order.
    "everysec: a hole before whole lines": (without_sectors(joined(EVERYSEC), 2), Torn),
    "everysec: two holes": (without_sectors(joined(EVERYSEC), 2, 4), Torn),
    "everysec: a hole at the end": (without_sectors(joined(EVERYSEC), LAST_SECTOR), Torn),
    "everysec: a hole over the newline between lines": (
        without_sectors(joined(EVERYSEC), (OFFSET + len(EVERYSEC[0])) // SECTOR_BYTES),
        Torn,
    ),
    "everysec: a flipped bit before whole lines": (flipped(joined(EVERYSEC), 50), Corrupt),
    "everysec: a flipped bit before half a line": (flipped(joined(EVERYSEC)[:-50], 50), Torn),
    "everysec: a hole before a line that knew more": (
        without_sectors(joined(EVERYSEC) + commits(4, fsync="always")[3], 2),
        Corrupt,
    ),
    # An epoch begins only after everything before it was made durable.
    "a hole before a line of a later epoch": (without_sectors(joined(LATER_EPOCH), 2), Corrupt),
    "half a line before a later epoch": (SMALL[:100] + b"\n" + LATER_EPOCH[2][:-1], Torn),
    "a torn opening of the next epoch": (
        encode_commit(epoch=3, first=6, seq=5, synced=5, at="t", messages=(), prev=LAST.hash)[0][
            :-1
        ],
        Torn,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_damaged_region_is(case):
    region, expected = CASES[case]
    verdict = classify(region, OFFSET, LAST)
    assert isinstance(verdict, expected)
    if isinstance(verdict, Torn):
        assert verdict == Torn(OFFSET, len(region))
    else:
        assert verdict.position == OFFSET
        assert verdict.reason


@given(
    count=st.integers(1, 6),
    padding=st.integers(0, 900),
    size=st.floats(0, 1, exclude_max=True),
    data=st.data(),
)
def test_whatever_a_power_cut_leaves_of_unsynced_commits_is_a_torn_tail(count, padding, size, data):
    whole = joined(commits(count, fsync="everysec", padding=padding))
    sectors = range(OFFSET // SECTOR_BYTES, (OFFSET + len(whole)) // SECTOR_BYTES + 1)
    lost = data.draw(st.sets(st.sampled_from(sectors)))
    region = without_sectors(whole, *lost)[: int(size * len(whole))]
    # The region begins at the first line that is damaged.
    good = 0
    while (end := region.find(b"\n", good) + 1) and region[good:end] == whole[good:end]:
        good = end
    if region[good:]:
        last = Position(5 + whole[:good].count(b"\n"), 2, LAST.hash, OFFSET + good)
        assert isinstance(classify(region[good:], OFFSET + good, last), Torn)


@given(count=st.integers(2, 5), data=st.data())
def test_with_always_no_damage_before_a_whole_line_is_a_torn_tail(count, data):
    lines = commits(count, fsync="always", padding=data.draw(st.integers(0, 900)))
    at = data.draw(st.integers(0, len(joined(lines[:-1])) - 1))
    good = joined(lines)[:at].rfind(b"\n") + 1
    region = flipped(joined(lines), at)[good:]
    last = Position(5 + joined(lines)[:good].count(b"\n"), 2, LAST.hash, OFFSET + good)
    if parts_of_lines_after(lines, at):
        assert isinstance(classify(region, OFFSET + good, last), Corrupt)


def parts_of_lines_after(lines: list[bytes], at: int) -> bool:
    """Whether a whole line is left after the damage: a flipped newline takes the next one too."""
    ends = [len(joined(lines[: n + 1])) for n in range(len(lines))]
    damaged = next(n for n, end in enumerate(ends) if at < end)
    return damaged + (1 if at == ends[damaged] - 1 else 0) < len(lines) - 1


@pytest.mark.parametrize(
    ("region", "offset", "zero"),
    [
        (b"", 0, False),
        (b"\0", 0, True),
        (b"\0x", 0, False),
        (bytes(512), 0, True),
        (b"x" + bytes(511), 0, False),
        (b"x" + bytes(511) + b"\0", 0, True),
        (b"x" * 512 + bytes(512) + b"x", 0, True),
        (b"x" * 511 + bytes(512) + b"x", 0, False),
        (b"\0x", 511, True),
        (b"x\0", 511, True),
        (b"x\0y", 511, False),
        (bytes(100) + b"x", 412, True),
        (bytes(100) + b"x", 411, False),
    ],
)
def test_a_zero_sector_is_told_by_the_part_of_it_that_the_region_has(region, offset, zero):
    assert has_zero_sector(region, offset) is zero


@pytest.mark.parametrize(
    ("content", "bare"),
    [
        (b"", True),
        (b"half a head", True),
        (b"a whole one\n", True),
        (b"a whole one\n{", False),
        (b"\n\n", False),
        (bytes(1024), True),
        (bytes(1025), False),
    ],
)
def test_a_file_is_bare_with_nothing_after_its_header(content, bare):
    assert is_bare(content) is bare
