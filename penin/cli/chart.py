"""A line of numbers, drawn with the dots of Braille characters: two columns, four rows in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

COLUMNS: Final = 2
ROWS: Final = 4
_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot: by row from the top, and by column."""


def line_chart(numbers: Sequence[float], width: int, height: int) -> list[str]:
    """The newest of the numbers as a line in `height` rows of `width` characters, from the left.

    The lowest one is at the bottom and the highest at the top; what is not finite is a gap.
    """
    shown = [float(number) for number in numbers[-COLUMNS * width :]]
    finite = [number for number in shown if math.isfinite(number)]
    cells = [[_BLANK] * width for _ in range(height)]
    if finite:
        places = [_place(number, min(finite), max(finite), ROWS * height) for number in shown]
        before: int | None = None
        for column, place in enumerate(places):
            if place is not None:
                for row in _joined(before, place):
                    dot = _DOTS[row % ROWS][column % COLUMNS]
                    cells[row // ROWS][column // COLUMNS] |= dot
            before = place
    return ["".join(map(chr, row)) for row in cells]


def _place(number: float, low: float, high: float, rows: int) -> int | None:
    """The row of a number, from the top; in the middle where all are the same."""
    if not math.isfinite(number):
        return None
    if low == high:
        return rows // 2
    # Halved first: the distance of two floats can be beyond what a float holds.
    share = (number / 2 - low / 2) / (high / 2 - low / 2)
    return round((1 - share) * (rows - 1))


def _joined(before: int | None, place: int) -> range:
    """The rows of one column, from where the line comes from."""
    if before is None or before == place:
        return range(place, place + 1)
    if before < place:
        return range(before + 1, place + 1)
    return range(place, before)
