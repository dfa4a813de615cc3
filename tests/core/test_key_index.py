"""The index of keys that were loaded, against a dictionary; and what is there twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core.key_index import KeyIndex, Run, hashes_of
from penin.core.knowledge import KnowledgeBase
from penin.core.names import NAME_BYTES_MAX
from penin.core.segments import ROW_BITS, ROWS_MAX, MemorySegment, Segment
from tests.core.knowledge import filled, made, put, reclaim_all, reopened

texts = st.one_of(
    st.text(min_size=1, max_size=20),
    st.text("aé鍵\0", min_size=1, max_size=4),
    st.integers(1, NAME_BYTES_MAX).map(lambda length: "k" * length),
)


def index_of(keys: list[str], cuts: list[int]) -> tuple[KeyIndex, dict[str, int]]:
    """An index of the keys in segments that are cut at these places, and where each is."""
    runs: list[Run] = []
    at: dict[str, int] = {}
    places = sorted({0, len(keys), *(cut % (len(keys) + 1) for cut in cuts)})
    for number, (start, stop) in enumerate(pairwise(places)):
        segment, held = segment_of(keys[start:stop])
        segment.number = 2 * number  # there need not be every number
        runs.append((segment, hashes_of(held)))
        at |= {key: location for location, key in enumerate(held, segment.number << ROW_BITS)}
    return KeyIndex(runs), at


def segment_of(keys: list[str], dimension: int = 1) -> tuple[Segment, list[str]]:
    segment = MemorySegment(("|u1", dimension), len(keys))
    for number, key in enumerate(keys):
        segment.append(key.encode(), bytes([number % 256]) * dimension, b"{}", number)
    return segment, keys


def found_at_once(index: KeyIndex, keys: list[str]) -> list[int | None]:
    return index.find_all(keys, [key.encode() for key in keys])


@given(
    st.lists(texts, max_size=300, unique=True),
    st.lists(st.integers(0, 300), max_size=9),
    st.lists(texts, max_size=40),
)
def test_each_key_is_found_where_it_is_and_no_other(keys, cuts, others):
    index, at = index_of(keys, cuts)
    wanted = [*keys, *others]
    expected = [at.get(key) for key in wanted]
    assert [index.find(key) for key in wanted] == expected
    assert found_at_once(index, wanted) == expected
    assert not index.has_twice()


@given(st.lists(texts, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_a_key_that_is_there_twice_is_told(keys, cuts):
    index, _ = index_of(keys, cuts)
    assert index.has_twice() == (len(set(keys)) < len(keys))


def test_many_are_found_beside_each_other() -> None:
    keys = [f"candidate-{number:07}" for number in range(100_000)]
    index, at = index_of(keys, list(range(0, 100_000, ROWS_MAX)))
    assert [index.find(key) for key in keys[:1000]] == [at[key] for key in keys[:1000]]
    assert found_at_once(index, keys[::20]) == [at[key] for key in keys[::20]]
    assert found_at_once(index, [f"other-{number}" for number in range(5000)]) == [None] * 5000
    assert found_at_once(index, [key[:-1] for key in keys[:99]]) == [None] * 99
    assert not index.has_twice()


def loaded(segments: list[tuple[Segment, list[str]]]) -> KnowledgeBase | None:
    base = KnowledgeBase()
    return base if base.load(segments) else None


class TestCollisions:
    @pytest.fixture(autouse=True)
    def _all_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every key has the same hash."""
        monkeypatch.setattr("penin.core.key_index.hash", lambda _key: -7, raising=False)

    def test_keys_of_one_hash_are_told_apart(self) -> None:
        keys = [str(number) for number in range(300)]
        base = loaded([segment_of(keys[:200]), segment_of(keys[200:])])
        assert base is not None
        assert [base[key].vector for key in keys[-3:]] == [[97], [98], [99]]
        assert "300" not in base
        base.remove("17")
        put(base, "200", made(5, ("|u1", 1), metadata=False), 400)
        assert "17" not in base
        assert base["200"].vector == [5]
        assert base["16"].vector == [16]
        assert len(base) == 299

    def test_many_are_looked_for_as_one_by_one(self) -> None:
        keys = [str(number) for number in range(40)]
        for there in ([], keys[:1], keys[:4], keys):
            index, at = index_of(there, [7])
            assert found_at_once(index, keys) == [at.get(key) for key in keys]

    def test_of_keys_of_one_hash_one_that_is_there_twice_is_told(self) -> None:
        assert loaded([segment_of(["a", "b"]), segment_of(["c", "b"], 2)]) is None
        assert loaded([segment_of(["a", "b"]), segment_of(["c", "d"], 2)]) is not None


def test_a_key_in_two_columns_or_two_segments_is_there_twice() -> None:
    first, second = ["a", "b"], ["c", "a"]
    assert loaded([segment_of(first), segment_of(second)]) is None
    assert loaded([segment_of(first), segment_of(second, 2)]) is None
    assert loaded([segment_of(["a", "a"])]) is None
    assert loaded([]) is not None


def test_a_key_that_was_removed_stays_away_when_its_new_row_was_removed_and_reclaimed() -> None:
    base = reopened(filled(20))
    put(base, "3", made(30, ("<f4", 4), metadata=True), 30)
    assert base.remove("3")
    assert "3" not in base
    for number in range(4, 15):
        base.remove(str(number))
    assert reclaim_all(base) == 1
    assert base.remove("15")
    assert [key for key in map(str, range(20)) if key in base] == list(base)
    assert not base.remove("15")
    put(base, "15", made(31, ("<f4", 4), metadata=True), 31)
    assert base["15"] == made(31, ("<f4", 4), metadata=True)


def test_the_index_goes_with_the_last_segment_that_was_loaded() -> None:
    base = reopened(filled(20))
    assert base._places._loaded is not None
    for number in range(19):
        base.remove(str(number))
    assert base._places._loaded is not None
    assert reclaim_all(base) == 1
    assert base._places._loaded is None
    assert list(base) == ["19"]
    assert base["19"] == made(19, ("<f4", 4), metadata=True)


def test_a_key_that_is_no_text_is_not_there() -> None:
    base = reopened(filled(3))
    for key in (0, None, b"0", "\ud800"):
        assert key not in base
    with pytest.raises(TypeError):
        assert [] in base  # type: ignore[comparison-overlap]


def test_a_key_takes_20_to_32_bytes_and_its_own() -> None:
    keys = [str(number) for number in range(5 * ROWS_MAX)]
    for count in (1, 2, 3, 5):
        runs: list[Run] = []
        for number in range(count):
            segment, held = segment_of(keys[number * ROWS_MAX : (number + 1) * ROWS_MAX])
            segment.number = number
            runs.append((segment, hashes_of(held)))
        index = KeyIndex(runs)
        size = sum(len(table) * table.itemsize for table in (index._table, index._begins))
        assert 20 * count * ROWS_MAX <= size <= 32 * count * ROWS_MAX + 100
        assert index._text == "".join(keys[: count * ROWS_MAX]).encode()
