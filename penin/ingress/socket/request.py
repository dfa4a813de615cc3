"""A request of the socket on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from penin.core.transitions import Ack
from penin.errors import PeninError, RefusedError
from penin.ingress.socket import wire
from penin.ingress.socket.queries import Members

if TYPE_CHECKING:
    from penin.ingress.socket.connection import Connection


class Request(msgspec.Struct):
    """A request on its way; of a query its `type` and `members`, and whether it has begun.

    Of a message its `size` and `id`.

    It is the `Answer` to its message. `reply` is None until it is answered; a query has written its
    reply by then.
    """

    connection: Connection
    head: bytes
    size: int = 0
    id: str | None = None
    reply: bytes | None = None
    type: str = ""
    members: Members = {}
    has_begun: bool = False

    def done(self) -> bool:
        """Whether it is answered."""
        return self.reply is not None

    def set_result(self, ack: Ack) -> None:
        """Its message is acknowledged."""
        self.reply = wire.ack_line(self.head, ack)
        self.connection.note_answer()

    def set_exception(self, error: PeninError) -> None:
        """It is refused, or has failed."""
        if isinstance(error, RefusedError) and not self.type:
            self.connection.note_refused(error, self.id)
        self.reply = wire.error_line(self.head, error)
        self.connection.note_answer()
