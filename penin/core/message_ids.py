"""Message ids: which messages with an `id` are known, and what each was answered.

Known are the last `maxlen` messages with an `id`, in the order of their seqs. One of them that
comes again changes nothing: it is answered as it was the first time, and what has the same `id` and
another content is refused. That is decided before a seq is given out (`penin.runtime.actor`), so
the journal has each of them once. `apply` only notes what it is given: an `id` that is known keeps
its first answer, whatever else the journal holds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from penin.core.transitions import OK, Ack, AnyBody, Result
from penin.errors import IdReusedError

MESSAGE_IDS_MAX_DEFAULT: Final = 100_000
"""Of a state that was never told another bound, so it can never change."""
_SHARDS: Final = 257
"""As of the index of the knowledge base: a dictionary that grows is copied while the loop waits."""


class KnownMessage(msgspec.Struct, frozen=True, gc=False):
    """A message with an `id`: the digest of its content, and its answer."""

    id: str
    seq: int
    digest: str
    result: Result = OK
    failed_seq: int | None = None

    def answer(self, digest: str | None) -> Ack:
        """The first answer, for a message with the same id.

        Raises IdReusedError where its content is another one.
        """
        if digest != self.digest:
            raise IdReusedError(self.id, self.seq)
        return Ack(self.seq, self.result, self.failed_seq)


class MessageIds:
    """The known messages by `id`; `maxlen` is how many are kept. Only `apply` changes it."""

    __slots__ = ("_order", "_shards", "maxlen")

    def __init__(self, maxlen: int = MESSAGE_IDS_MAX_DEFAULT) -> None:
        self.maxlen = maxlen
        self._shards: list[dict[str, KnownMessage]] = [{} for _ in range(_SHARDS)]
        self._order: deque[KnownMessage] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def get(self, id: str) -> KnownMessage | None:  # the design's word
        """What is known of the message `id`; None where it is not, or not any more."""
        return self._shards[hash(id) % _SHARDS].get(id)

    def kept(self) -> list[KnownMessage]:
        """All known messages, oldest first."""
        return list(self._order)

    def note(self, body: AnyBody, ack: Ack) -> None:
        """Know a message with an `id` from now on, if it is not known already."""
        assert body.id is not None
        assert body.digest is not None
        if self.get(body.id) is None:
            self.put(KnownMessage(body.id, ack.seq, body.digest, ack.result, ack.failed_seq))

    def put(self, known: KnownMessage) -> None:
        """Add the newest; for `note`, and for what a snapshot holds."""
        self._shards[hash(known.id) % _SHARDS][known.id] = known
        self._order.append(known)
        self._forget()

    def bound(self, maxlen: int) -> None:
        """Keep so many from now on."""
        self.maxlen = maxlen
        self._forget()

    def _forget(self) -> None:
        while len(self._order) > self.maxlen:
            oldest = self._order.popleft()
            del self._shards[hash(oldest.id) % _SHARDS][oldest.id]
