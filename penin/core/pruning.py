"""Which artifacts are pruned: by the beginning of their keys, and by age.

Age is the seq of the last change: the state has no times. Each removal names its key and that seq,
as a message of its own, so what was changed meanwhile stays, and a replay looks for nothing.
"""

from __future__ import annotations

import msgspec
import numpy as np

from penin.core import door
from penin.core.blocks import Block
from penin.core.transitions import Message
from penin.errors import RefusedTypeError, RefusedValueError


class Pruning(msgspec.Struct, frozen=True):
    """What is to be removed: keys that begin with `prefix`, last changed before `before_seq`."""

    prefix: str
    before_seq: int | None

    def removals(self, block: Block) -> list[Message]:
        """A message for each of the rows of a block. Raises CorruptionError; for any thread."""
        chosen = block.live
        if self.before_seq is not None:
            chosen = chosen & (block.seqs < self.before_seq)
        rows = np.flatnonzero(chosen).tolist()
        named = ((block.key(row), row) for row in rows)
        return [
            door.removal(key, if_seq=block.seq(row))
            for key, row in named
            if key.startswith(self.prefix)
        ]


def pruning_of(prefix: str | None, before_seq: int | None) -> Pruning:
    """What a caller asks for. Raises RefusedTypeError or RefusedValueError."""
    if prefix is None and before_seq is None:
        raise RefusedValueError("prefix", "missing, and so is before_seq; for all keys it is empty")
    if prefix is not None and not isinstance(prefix, str):
        raise RefusedTypeError("prefix", f"{type(prefix).__name__} is not a string")
    if before_seq is not None:
        before_seq = door.check_whole(before_seq, "before_seq", at_least=0)
    return Pruning("" if prefix is None else prefix, before_seq)
