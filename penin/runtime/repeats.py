"""Repeats: messages with the `id` of one that is known, or on its way, use no seq.

The actor tells them apart when it has taken a batch, before it gives out seqs. What is known was
applied, so it holds, and a repeat of it is answered at once. A repeat of what is on its way, or
stands further up in the same batch, waits for that one and shares its fate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from penin.core.message_ids import KnownMessage
from penin.core.transitions import Ack
from penin.errors import IdReusedError
from penin.logs import EventLog

if TYPE_CHECKING:
    from penin.core.state import State
    from penin.runtime.mailbox import Letter


class Repeats:
    """The ids on their way, and who waits for them. Answers repeats; one event loop."""

    def __init__(self, state: State, log: EventLog) -> None:
        self._state = state
        self._log = log
        self._waiting: dict[str, list[Letter]] = {}

    def without(self, batch: list[Letter]) -> list[Letter]:
        """The letters that are new. Those with an `id` are on their way from now on."""
        identified = [letter for letter in batch if letter.message.body.id is not None]
        if not identified:
            return batch
        return [letter for letter in batch if self._is_new(letter)]

    def _is_new(self, letter: Letter) -> bool:
        identity = letter.message.body.id
        if identity is None:
            return True
        waiting = self._waiting.get(identity)
        if waiting is not None:
            waiting.append(letter)
            return False
        known = self._state.message_ids.get(identity)
        if known is not None:
            self._answer(letter, known)
            return False
        self._waiting[identity] = []
        return True

    def settle(self, letters: list[Letter], acks: list[Ack]) -> None:
        """Letters are applied now: those that waited for them are answered as they were."""
        if not self._waiting:
            return
        for letter, ack in zip(letters, acks, strict=True):
            body = letter.message.body
            if body.id is None:
                continue
            assert body.digest is not None
            for repeat in self._waiting.pop(body.id, ()):
                known = KnownMessage(body.id, ack.seq, body.digest, ack.result, ack.failed_seq)
                self._answer(repeat, known)

    def withdraw(self, letters: Iterable[Letter]) -> list[Letter]:
        """The letters, which are not on their way any more, and all that waited for them."""
        withdrawn: list[Letter] = []
        for letter in letters:
            identity = letter.message.body.id
            withdrawn.append(letter)
            if identity is not None:
                withdrawn += self._waiting.pop(identity, ())
        return withdrawn

    def _answer(self, letter: Letter, known: KnownMessage) -> None:
        if letter.answer.done():  # its sender may have been cancelled
            return
        try:
            ack = known.answer(letter.message.body.digest)
        except IdReusedError as error:
            letter.answer.set_exception(error)
            return
        letter.answer.set_result(ack)
        self._log.debug("message.repeated", seq=ack.seq, id=known.id)
