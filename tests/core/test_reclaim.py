"""The space of dead rows: when it is reclaimed, what that leaves, and what it gives back."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from penin.core.knowledge import KnowledgeBase
from tests.core.knowledge import entries_of, filled, made, put, reclaim_all


@pytest.mark.usefixtures("_small")
class TestReclaiming:
    def test_nothing_is_due_while_half_of_the_rows_are_live(self) -> None:
        base = filled(40)
        for number in range(0, 40, 2):
            base.remove(str(number))
        assert base.reclaim_plan() is None

    def test_a_segment_that_takes_further_rows_is_not_due_whatever_replaced_its_rows(self) -> None:
        base = filled(4)  # segments of 1, 1 and 2 rows; the next one has room for 4
        for seq in (5, 6, 7):
            base.extend(["x"], "<f4", bytes(16), None, [seq])
        assert base.reclaim_plan() is None
        put(base, "z", made(7, ("<f4", 4), metadata=True), 8)
        assert list(base) == ["0", "1", "2", "3", "x", "z"]
        assert base["z"] == made(7, ("<f4", 4), metadata=True)

    def test_reclaiming_leaves_no_segment_that_is_mostly_dead(self) -> None:
        base = filled(400)
        for number in range(400):
            if number % 10:
                base.remove(str(number))
        before = entries_of(base.view())
        rows_before = sum(block.count for block in base.view().blocks())
        assert reclaim_all(base) >= 1
        assert entries_of(base.view()) == before
        rows = sum(block.count for block in base.view().blocks())
        assert rows <= 2 * len(base) < rows_before

    def test_the_last_rows_of_many_segments_come_together(self) -> None:
        """Each segment leaves one row for ever: their number must not grow with the changes."""
        base = KnowledgeBase()
        for number in range(2000):
            put(base, str(number), made(number, ("<f4", 1), metadata=False), number)
            if number % 4:
                base.remove(str(number - 1))
            reclaim_all(base)
        assert len(base) == 500
        assert len(list(base.view().blocks())) < 12

    def test_what_changes_between_copy_and_adoption_counts(self) -> None:
        base = filled(20)
        for number in range(20):
            if number not in {7, 8, 12, 16, 17}:
                base.remove(str(number))
        plan = base.reclaim_plan()
        assert plan is not None
        plan.copy()
        assert plan.keys == ["7", "8", "12", "16", "17"]
        base.remove("7")
        put(base, "8", made(8, ("<f8", 2), metadata=False), 60)
        put(base, "16", made(9, ("<f4", 4), metadata=True), 70)
        expected = entries_of(base.view())
        assert base.adopt(plan)
        assert entries_of(base.view()) == expected
        assert list(base) == ["12", "17", "16", "8"]

    def test_a_plan_whose_rows_all_died_leaves_nothing(self) -> None:
        base = filled(12)
        for number in (4, 5, 6):
            base.remove(str(number))
        plan = base.reclaim_plan()
        assert plan is not None
        plan.copy()
        for number in range(12):
            base.remove(str(number))
        assert base.adopt(plan)
        assert list(base) == []
        assert base.reclaim_plan() is None

    def test_a_plan_is_void_once_there_is_a_later_one(self) -> None:
        base, other = filled(8), filled(8)
        for each in (base, other):
            for number in range(4, 7):
                each.remove(str(number))
        first, second = base.reclaim_plan(), base.reclaim_plan()
        assert first is not None
        assert second is not None
        for plan in (first, second):
            plan.copy()
        assert not other.adopt(second)
        assert not base.adopt(first)
        assert base.adopt(second)
        assert list(base) == list(other) == ["0", "1", "2", "3", "7"]

    def test_a_view_from_before_a_reclaim_shows_what_it_showed(self) -> None:
        base = filled(16)
        for number in (4, 5, 6, 8, 9, 10):
            base.remove(str(number))
        view = base.view()
        before = entries_of(view)
        assert reclaim_all(base) == 1
        for number in range(16):
            base.remove(str(number))
        assert entries_of(view) == before


class TestMemory:
    @pytest.fixture(autouse=True)
    def _traced(self):
        """What is given back is given back at once, without the garbage collector."""
        gc.collect()
        gc.disable()
        tracemalloc.start()
        yield
        tracemalloc.stop()
        gc.enable()

    def test_it_takes_little_more_than_the_vectors(self) -> None:
        base, data = KnowledgeBase(), bytes(1536)
        for number in range(10_000):
            base.put(f"key-{number:07}", "<f4", data, b'{"source":"web"}', number)
        # A segment may have room to spare, which costs nothing until it is written.
        room = sum(segment._writable.nbytes for segment in base._segments.values())  # type: ignore[attr-defined]
        used, _ = tracemalloc.get_traced_memory()
        assert used - room < 0.15 * 10_000 * 1536
        assert room < 2.1 * 10_000 * 1536

    def test_what_no_view_and_no_artifact_refers_to_is_given_back(self) -> None:
        base = KnowledgeBase()
        for number in range(4096):
            put(base, "k", made(number, ("<f8", 512), metadata=False), number)
        held = base["k"], base.view()
        used, _ = tracemalloc.get_traced_memory()
        assert used < 2**20
        del base, held
        used, _ = tracemalloc.get_traced_memory()
        assert used < 2**16

    def test_a_reclaim_gives_the_space_of_dead_rows_back(self) -> None:
        base, data = KnowledgeBase(), bytes(4096)
        for number in range(4096):
            base.put(str(number), "<f8", data, b"{}", number)
        for number in range(4096):
            if number % 8:
                base.remove(str(number))
        before, _ = tracemalloc.get_traced_memory()
        reclaim_all(base)
        after, _ = tracemalloc.get_traced_memory()
        # The tail, which takes further rows, is not reclaimed before it is sealed.
        assert before > 16 * 2**20
        assert after < before / 2

    def test_many_columns_with_one_vector_each_cost_little(self) -> None:
        base = KnowledgeBase()
        for dimension in range(1, 101):
            put(base, str(dimension), made(1, ("<f4", dimension), metadata=False), dimension)
        used, _ = tracemalloc.get_traced_memory()
        assert used < 100 * (2**16 + 4096)
