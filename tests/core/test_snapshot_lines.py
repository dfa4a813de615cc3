"""The lines of a file, out of any split of it into blocks."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core.snapshot_lines import DIGEST_HEAD, DIGEST_TAIL, LayoutError, SnapshotLines


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in blocks that end at `cuts`; some may be empty."""
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def taken(lines: SnapshotLines) -> list[bytes]:
    every = []
    while True:
        try:
            every.append(lines.take())
        except LayoutError:
            return every


@given(st.lists(st.sampled_from([b"", b"a", b"  bc", b"d" * 40])), st.lists(st.integers(0)))
def test_the_lines_do_not_depend_on_the_blocks(expected: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(expected)

    assert taken(SnapshotLines(split(data, cuts))) == data.split(b"\n")


@given(st.binary(max_size=200), st.lists(st.integers(0)), st.integers(0, 5))
def test_a_digest_is_right_in_any_split_and_however_much_was_taken(
    body: bytes, cuts: list[int], count: int
) -> None:
    digest = hashlib.sha256(body).hexdigest().encode()
    lines = SnapshotLines(split(body + DIGEST_HEAD + digest + DIGEST_TAIL, cuts))
    for _ in range(min(count, body.count(b"\n"))):
        lines.take()

    assert lines.damage() is None


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        (b"", 0, "ends before its digest"),
        (b"{}", 0, "ends before its digest"),
        (b"x" * 1000, 1000 - 83, "ends before its digest"),
        (b"xyz" + DIGEST_HEAD + b"0" * 64 + DIGEST_TAIL, 3, "its digest is 0000"),
        (b"xyz" + DIGEST_HEAD + b"0" * 64 + DIGEST_TAIL + b"\n", 4, "ends before its digest"),
    ],
)
def test_what_is_wrong_with_a_digest_is_said_with_its_place(
    data: bytes, place: int, reason: str
) -> None:
    for blocks in ([data], split(data, list(range(len(data))))):
        damage = SnapshotLines(blocks).damage()
        assert damage is not None
        assert damage[0] == place
        assert reason in damage[1]


def test_a_member_ends_where_its_indent_comes_again() -> None:
    data = b'  {\n    "a": 1,\n    "b{": {\n      "c": [\n        2\n      ]\n    }\n  },\nrest'
    lines = SnapshotLines([data])

    assert lines.take() == b"  {"
    members = [b'"a": 1', b'"b{": {\n      "c": [\n        2\n      ]\n    }']
    assert list(lines.members(4)) == members
    assert lines.take() == b"rest"


def test_a_line_that_was_not_expected_is_shown() -> None:
    lines = SnapshotLines([b"one\ntwo"])

    assert lines.expect(b"zero", b"one") == 1
    with pytest.raises(LayoutError, match="'two' in place of b'three'"):
        lines.expect(b"three")
    with pytest.raises(LayoutError, match="too early"):
        lines.expect(b"three")
