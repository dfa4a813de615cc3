"""A line of Braille characters: what is in it, and where."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from penin.cli.chart import line_chart

NUMBERS = st.lists(st.floats(), max_size=40)


def dots(rows):
    """The dots of a chart as (column, row from the top)."""
    bits = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (2 * x + column, 4 * y + row)
        for y, line in enumerate(rows)
        for x, character in enumerate(line)
        for bit, (column, row) in enumerate(bits)
        if (ord(character) - 0x2800) >> bit & 1
    }


@given(NUMBERS, st.integers(1, 12), st.integers(1, 5))
def test_it_has_its_size_and_a_dot_for_each_number_that_is_finite(numbers, width, height):
    rows = line_chart(numbers, width, height)
    assert [len(row) for row in rows] == [width] * height
    shown = numbers[-2 * width :]
    columns = {column for column, _ in dots(rows)}
    assert columns == {column for column, number in enumerate(shown) if math.isfinite(number)}


def test_the_lowest_is_at_the_bottom_the_highest_at_the_top_and_the_line_has_no_hole():
    found = dots(line_chart([0.0, 1.0, 0.5, float("nan"), 0.0], 3, 2))
    assert {(0, 7), (1, 0), (4, 7)} <= found
    assert {row for column, row in found if column == 1} == set(range(7))  # from where it comes
    assert not {row for column, row in found if column == 3}  # a gap
    assert {row for column, row in found if column == 4} == {7}


def test_equal_numbers_are_a_level_line_and_the_newest_are_shown():
    assert {row for _, row in dots(line_chart([3.0] * 4, 2, 1))} == {2}
    assert dots(line_chart([9.0, 9.0, 0.0, 1.0], 1, 1)) >= {(0, 3), (1, 0)}
