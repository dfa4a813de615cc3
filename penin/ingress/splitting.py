"""From blocks of bytes to lines, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, NamedTuple

LINE_BYTES_MAX: Final = 8 * 2**20
"""How long a line may be, its end not counted. The largest bulk message that the door takes (1 MiB
of numbers) is about 3 MiB in decimal; a longer line would hold the event loop while it is read."""


class Line(NamedTuple):
    """A line without its line feed, or a piece of one that is longer than a line may be."""

    number: int  # from 1
    data: bytes
    is_whole: bool
    is_last: bool  # the only piece, or the last one


async def split_lines(
    blocks: AsyncIterator[bytes], bytes_max: int = LINE_BYTES_MAX
) -> AsyncGenerator[Line, None]:
    """The lines of a stream, numbered from 1; the last one need not end in a line feed.

    A line of more than `bytes_max` comes in pieces of at most `bytes_max` plus a block, so that
    no more than that is ever held in memory.
    """
    number = 1
    parts: list[bytes] = []
    size = 0
    too_long = False
    async for block in blocks:
        pieces = block.split(b"\n")
        for index, piece in enumerate(pieces):
            parts.append(piece)
            size += len(piece)
            ends = index < len(pieces) - 1
            too_long = too_long or size > bytes_max
            if ends or size > bytes_max:
                yield Line(number, b"".join(parts), not too_long, ends)
                parts.clear()
                size = 0
            if ends:
                number += 1
                too_long = False
    if size or too_long:
        yield Line(number, b"".join(parts), not too_long, is_last=True)
