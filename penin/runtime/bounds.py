"""Bounds of a store: how many artifacts it holds at most, and how many bytes.

The actor asks when it has taken a batch, before it gives out seqs. It commits such a batch part by
part and begins none before the last one is applied, so that each is looked at beside the state as
it is. What leads to a bound is no part of the state: a message that does not fit is refused, or the
keys that make room for it are removed by messages of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from typing import Final

from penin.core import door
from penin.core.knowledge_room import KnowledgeRoom, frees_space
from penin.core.state import State
from penin.core.transitions import Ack, Message, Origin
from penin.errors import CorruptionError, KnowledgeFullError, PeninError, StorageFullError
from penin.logs import EventLog
from penin.runtime.mailbox import Letter
from penin.runtime.store import Store
from penin.settings import Settings

NEAR_SHARE: Final = 0.9
"""From this share of a bound on it is warned of."""
NO_ROOM_MADE: Final = "what was to make room for it in the knowledge base was not stored"
EVICTION: Final = Origin("eviction")
"""The sender of removals that make room."""


class Bounds:
    """The bounds of one open store. One event loop, but for `measure`.

    `request_checkpoint` is called with a reason when there are too many bytes: a checkpoint retires
    journal.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        settings: Settings,
        log: EventLog,
        request_checkpoint: Callable[[str], object],
    ) -> None:
        self._store = store
        self._state = state
        self._settings = settings
        self._log = log
        self._request_checkpoint = request_checkpoint
        self._snapshot_bytes = 0
        self._used_bytes = 0  # when the last part was committed
        self._requested_at_seq = -1
        self._said: dict[str, str] = {}  # bound -> the event that tells how it stands

    def measure(self) -> None:
        """Take the size of the kept checkpoints anew; on a thread. Raises StorageError, OSError."""
        if self._settings.max_store_bytes is not None:
            self._snapshot_bytes = self._store.checkpoint_bytes()

    def parts(
        self, batch: list[Letter], refuse: Callable[[Letter, PeninError], None]
    ) -> Iterator[list[Letter]]:
        """What a batch becomes, to be committed part by part; `refuse` is called for the rest.

        A part is committed, or was refused by the disk, when the next one is asked for.
        """
        room = self._room()
        self._note_bytes()
        part: list[Letter] = []
        size = 0
        bytes_max = self._settings.batch_bytes_max
        for letter in batch:
            group = self._admitted(letter, room, size, refuse)
            if part and size + _bytes(group) > bytes_max:
                is_stored = yield from self._committed(part, room)
                part, size = [], 0
                if not is_stored:  # what was admitted counted on it
                    room = self._room()
                    group = self._admitted(letter, room, size, refuse)
            for each in group:
                if part and size + len(each.message.raw) > bytes_max:  # it is larger than a part
                    is_stored = yield from self._committed(part, room)
                    part, size = [], 0
                    if not is_stored:
                        room = self._room()
                        refuse(letter, StorageFullError(self._store.name, NO_ROOM_MADE))
                        break
                part.append(each)
                size += len(each.message.raw)
        if part:
            yield part
        self._note_knowledge()

    def _committed(
        self, part: list[Letter], room: KnowledgeRoom | None
    ) -> Generator[list[Letter], None, bool]:
        """Let a part be committed; whether it was, and not refused by the disk."""
        seq = self._state.seq
        yield part
        self._note_bytes()
        if room is not None:
            room.renew()
        return self._state.seq > seq

    def _room(self) -> KnowledgeRoom | None:
        limit = self._settings.max_knowledge
        return None if limit is None else KnowledgeRoom(self._state.knowledge_base, limit)

    def _admitted(
        self,
        letter: Letter,
        room: KnowledgeRoom | None,
        pending_bytes: int,
        refuse: Callable[[Letter, PeninError], None],
    ) -> list[Letter]:
        """A letter with the removals before it; nothing where it is refused."""
        body = letter.message.body
        full = self._no_bytes_for(letter.message, pending_bytes)
        if full is not None:
            refuse(letter, full)
            return []
        if room is None:
            return [letter]
        try:
            evicted = room.admit(body, evicts=self._settings.when_full == "evict")
        except CorruptionError as error:  # of a mapped snapshot, which tells what is the oldest
            refuse(letter, error)
            return []
        if evicted is None:
            assert self._settings.max_knowledge is not None
            self._say("bounds.reached", "max_knowledge", room.size, self._settings.max_knowledge)
            refuse(letter, KnowledgeFullError(room.size, self._settings.max_knowledge))
            return []
        return [*map(_removal, evicted), letter]

    # -- bytes --------------------------------------------------------------------------------

    def _note_bytes(self) -> None:
        """Journal, sealed files, and the kept checkpoints as they were measured last."""
        if self._settings.max_store_bytes is not None:
            self._used_bytes = self._store.size_bytes(0) + self._snapshot_bytes

    def _no_bytes_for(self, message: Message, pending_bytes: int) -> StorageFullError | None:
        limit = self._settings.max_store_bytes
        if limit is None:
            return None
        used = self._used_bytes + pending_bytes
        if used + len(message.raw) <= limit:
            self._note("max_store_bytes", used, limit)
            return None
        self._say("bounds.reached", "max_store_bytes", used, limit)
        self._ask_for_checkpoint()
        if frees_space(message.body):
            return None
        reason = f"it has {used:,} bytes, and max_store_bytes is {limit:,}"
        return StorageFullError(self._store.name, reason)

    def _ask_for_checkpoint(self) -> None:
        """Once for a state: a further one would give nothing back."""
        if self._requested_at_seq != self._state.seq:
            self._requested_at_seq = self._state.seq
            self._request_checkpoint("bytes")

    # -- warnings -----------------------------------------------------------------------------

    def _note_knowledge(self) -> None:
        if self._settings.max_knowledge is not None:
            size = len(self._state.knowledge_base)
            self._note("max_knowledge", size, self._settings.max_knowledge)

    def _note(self, bound: str, used: int, limit: int) -> None:
        if used < NEAR_SHARE * limit:
            self._said.pop(bound, None)
        elif bound not in self._said:
            self._say("bounds.near", bound, used, limit)

    def _say(self, event: str, bound: str, used: int, limit: int) -> None:
        """Each once, until it is well below the bound again."""
        if self._said.get(bound) != event:
            self._said[bound] = event
            self._log.warning(event, bound=bound, used=used, limit=limit)


def bounds_of(
    store: Store,
    state: State,
    settings: Settings,
    log: EventLog,
    request_checkpoint: Callable[[str], object],
) -> Bounds | None:
    """The bounds that the settings ask for; None where there are none."""
    if settings.max_knowledge is None and settings.max_store_bytes is None:
        return None
    return Bounds(store, state, settings, log, request_checkpoint)


def _bytes(group: list[Letter]) -> int:
    return sum(len(letter.message.raw) for letter in group)


def _removal(key: str) -> Letter:
    """A letter without a sender."""
    answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    return Letter(door.removal(key, origin=EVICTION), answer, None)
