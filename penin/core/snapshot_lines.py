r"""The lines of a snapshot file, out of a stream of blocks, and whether its digest is right.

In a file of version 2 what begins at an indent ends at the next line that has anything but a blank
at that indent: in a JSON text a line end is layout and never inside a string. So a file is taken
apart into its members with a look at the beginning of each line, and no part of it needs to be
parsed to be skipped. The digest is known only at the end; until then, whoever reads the lines must
be ready for anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

DIGEST_HEAD: Final = b',\n  "digest": "'
DIGEST_TAIL: Final = b'"\n}\n'
_DIGEST_BYTES: Final = len(DIGEST_HEAD) + 64 + len(DIGEST_TAIL)
_SPACE: Final = ord(" ")


class LayoutError(ValueError):
    """A line is not what it is in a file that we wrote."""


class SnapshotLines:
    """The lines of a file, without their ends, in order, each once.

    Holds one block and the line that goes on beyond it. Whatever iterating over `blocks` raises
    goes through.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._end = b""  # of what was read: the digest, if this is where the file ends
        self._blocks = self._digested(blocks)
        self._lines = self._split()

    def _digested(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._size_bytes += len(block)
            end = self._end + block
            before = max(0, len(end) - _DIGEST_BYTES)
            self._digest.update(memoryview(end)[:before])
            self._end = end[before:]
            yield block

    def _split(self) -> Iterator[bytes]:
        begun: list[bytes] = []
        for block in self._blocks:
            first, *others = block.split(b"\n")
            begun.append(first)
            if others:
                yield b"".join(begun)
                begun = [others.pop()]
                yield from others
        yield b"".join(begun)

    # -- what stands there --------------------------------------------------------------------

    def take(self) -> bytes:
        """The next line. Raises LayoutError where there is none."""
        for line in self._lines:
            return line
        msg = "it ends too early"
        raise LayoutError(msg)

    def expect(self, *known: bytes) -> int:
        """Which of the lines `known` the next one is. Raises LayoutError where it is none."""
        line = self.take()
        if line not in known:
            msg = f"{line[:80]!r} in place of {known[0]!r}"
            raise LayoutError(msg)
        return known.index(line)

    def opens(self, head: bytes) -> bool:
        """Whether the object after `head`, which the next line begins with, has any members.

        One that has none is closed in that line. Raises LayoutError for another line.
        """
        return self.expect(head + b"{", head + b"{},", head + b"{}") == 0

    def block(self, indent: int) -> list[bytes]:
        """The lines up to the one that closes what was opened at `indent`; that one is dropped."""
        inside = []
        while (line := self.take())[indent] == _SPACE:
            inside.append(line)
        return inside

    def names(self, indent: int) -> Iterator[bytes]:
        """The name of each object (as JSON) that opens at `indent`, to be read before the next.

        Ends after the line that closes what they are in.
        """
        while (line := self.take())[indent - 2] == _SPACE:
            yield line[indent:-3]  # `: {`

    def members(self, indent: int) -> Iterator[bytes]:
        """Each member, without its comma, of an object or an array whose members are at `indent`.

        Ends after the line that closes it.
        """
        while (line := self.take())[indent - 2] == _SPACE:
            if line[-1] in b"{[":
                lines = [line]
                while (line := self.take())[indent] == _SPACE:
                    lines.append(line)
                lines.append(line)
                line = b"\n".join(lines)
            yield line[indent:].removesuffix(b",")

    # -- whether it is right ------------------------------------------------------------------

    def damage(self) -> tuple[int, str] | None:
        """Read to the end; the place of the digest and what is wrong with it, None if it is right.

        No line can be taken after this.
        """
        for _ in self._blocks:
            pass
        expected = self._digest.hexdigest().encode()
        if self._end == DIGEST_HEAD + expected + DIGEST_TAIL:
            return None
        place = max(0, self._size_bytes - _DIGEST_BYTES)
        if not (self._end.startswith(DIGEST_HEAD) and self._end.endswith(DIGEST_TAIL)):
            return place, "it ends before its digest"
        found = self._end[len(DIGEST_HEAD) : -len(DIGEST_TAIL)].decode(errors="replace")
        return place, f"its digest is {found}, its content has {expected.decode()}"
