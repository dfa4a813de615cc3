"""`Settings`: what the owner of a store can choose. Each is also an option and `PENIN_…`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from penin.errors import RefusedTypeError, RefusedValueError

Fsync = Literal["always", "everysec"]
Format = Literal["json", "safetensors"]
Compression = Literal["gzip", "zstd"]
KeepJournal = Literal["checkpoints", "forever"]
WhenFull = Literal["refuse", "evict"]

BATCH_BYTES_LIMIT: Final = 32 * 2**20
"""So that a batch fits a frame of the journal, which has 64 MiB."""
HISTORY_MAXLEN_LIMIT: Final = 2**31 - 1
"""What a deque takes as its bound on every platform."""
MESSAGE_IDS_LIMIT: Final = 1_000_000
"""A checkpoint copies so many references at once, on the event loop."""
SHOWN_LIMIT: Final = 2**64
SHOWN_CHARACTERS: Final = 100
KEEP_LAST_MIN: Final = 2
"""The newest, and the way back from a damaged one."""
LEVELS_MAX: Final[dict[Compression, int]] = {"gzip": 9, "zstd": 19}
"""The highest level; the lowest is 1. Beyond 19, zstd takes hundreds of MiB of memory."""
_KEY_SOURCE: Final = re.compile(r"(file|env|command):(.*\S.*)", re.DOTALL)
_SECONDS_OF_UNIT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LEVEL: Final = re.compile(r"[0-9]{1,2}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_LIMITS: Final = {
    "batch_bytes_max": BATCH_BYTES_LIMIT,
    "history_maxlen": HISTORY_MAXLEN_LIMIT,
    "message_ids_max": MESSAGE_IDS_LIMIT,
}
_CAN_BE_ZERO: Final = frozenset({"keep_daily", "lock_wait_s", "stop_grace_s", "cancel_grace_s"})
_CAN_BE_NONE: Final = frozenset(
    {"history_maxlen", "message_ids_max", "max_knowledge", "max_store_bytes"}
)
_TEXTS: Final = frozenset(
    {
        "fsync",
        "format",
        "compress",
        "key_from",
        "sign_key_from",
        "keep_within",
        "keep_journal",
        "when_full",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an open store; none of them has any effect on what a replay gives.

    Raises RefusedTypeError or RefusedValueError, naming the setting.

    history_maxlen: the bound of every history, 2,147,483,647 at most; None keeps the stored one
        (1000 in a new store).
    message_ids_max: of the last so many messages with an `id`, one that is sent again is answered
        as it was and not applied again; 1,000,000 at most. None keeps the stored number (100,000 in
        a new store).
    max_knowledge: how many artifacts the knowledge base holds at most; None for no bound.
    when_full: what becomes of a message that puts more: `refuse` answers it with
        KnowledgeFullError, `evict` removes as many of those whose last change is the oldest, by
        transitions of their own in the same commit.
    max_store_bytes: at so many bytes of journal, sealed files and kept checkpoints, only messages
        that remove something are taken, and all others answered with StorageFullError; None for no
        bound.
    fsync: when a message is acknowledged: `always` after fdatasync returned, `everysec` once it
        is written to the kernel, with a sync every second.
    format: of the snapshots, `json` or `safetensors`; None takes that of the store (json for a new
        one). It is fixed when a store is made; asking for another one is a FormatError.
    compress: snapshots, and the journal that is kept for older checkpoints alone: `gzip` or `zstd`
        (extra `penin[zstd]`), or with a level, 1 to 9 or 1 to 19: `zstd:9`. None takes that of the
        store (nothing, for a new one). It is fixed when a store is made, but for the level; asking
        for another one is a FormatError.
    key_from: where the key of an encrypted store comes from (extra `penin[crypto]`): `file:PATH`,
        `env:NAME` or `command:COMMAND`, never the key itself. None opens plain stores only, and a
        key encrypted ones only. A new store is encrypted where a key is named.
    sign_key_from: where the private Ed25519 key is that signs the head of the ledger at each
        checkpoint (extra `penin[crypto]`), in the same way; None signs nothing.
    mailbox_messages_max, mailbox_bytes_max: the mailbox is full at either.
    batch_messages_max, batch_bytes_max: a commit takes no further message at either.
    checkpoint_interval_s: the time between checkpoints; one is skipped when nothing changed.
    checkpoint_transitions_max: a checkpoint is due after so many transitions, too.
    keep_last, keep_daily, keep_within: which checkpoints are kept: the newest so many (2 at least);
        the last one of each of the newest so many days (UTC) that have one, 0 for none; and all
        whose last commit is at most so old (`90m`, `36h`, `7d`, `2w`), None for none.
    keep_journal: `checkpoints` keeps the journal back to the oldest kept checkpoint, `forever` all.
    stop_grace_s: how long workers have from `stopping` until they are cancelled.
    cancel_grace_s: how long their clean-up may take after that.
    lock_wait_s: how long to wait for a store that another process has open.
    worker_failures_max, worker_failures_within_s: a worker that fails so often within that time
        gives up, which stops the process.
    worker_backoff_min_s, worker_backoff_max_s: the pause before a worker is started again; it
        doubles from the one to the other and varies at random by half.
    """

    history_maxlen: int | None = None
    message_ids_max: int | None = None
    max_knowledge: int | None = None
    when_full: WhenFull = "refuse"
    max_store_bytes: int | None = None
    fsync: Fsync = "always"
    format: Format | None = None
    compress: str | None = None
    key_from: str | None = None
    sign_key_from: str | None = None
    mailbox_messages_max: int = 10_000
    mailbox_bytes_max: int = 64 * 2**20
    batch_messages_max: int = 1024
    batch_bytes_max: int = 2**20
    checkpoint_interval_s: float = 60.0
    checkpoint_transitions_max: int = 500_000
    keep_last: int = KEEP_LAST_MIN
    keep_daily: int = 0
    keep_within: str | None = None
    keep_journal: KeepJournal = "checkpoints"
    stop_grace_s: float = 10.0
    cancel_grace_s: float = 5.0
    lock_wait_s: float = 1.0
    worker_failures_max: int = 5
    worker_failures_within_s: float = 300.0
    worker_backoff_min_s: float = 0.5
    worker_backoff_max_s: float = 30.0

    def __post_init__(self) -> None:
        if self.fsync not in ("always", "everysec"):
            raise RefusedValueError("fsync", f"{_shown(self.fsync)} is neither always nor everysec")
        if self.format not in (None, "json", "safetensors"):
            reason = f"{_shown(self.format)} is neither json nor safetensors"
            raise RefusedValueError("format", reason)
        if self.when_full not in ("refuse", "evict"):
            reason = f"{_shown(self.when_full)} is neither refuse nor evict"
            raise RefusedValueError("when_full", reason)
        if self.keep_journal not in ("checkpoints", "forever"):
            reason = f"{_shown(self.keep_journal)} is neither checkpoints nor forever"
            raise RefusedValueError("keep_journal", reason)
        duration_s(self.keep_within)
        compression_of(self.compress)
        key_source(self.key_from)
        key_source(self.sign_key_from, "sign_key_from")
        for field in fields(self):
            if field.name not in _TEXTS:
                self._check_number(field.name, getattr(self, field.name))

    def _check_number(self, name: str, number: Any) -> None:
        if number is None and name in _CAN_BE_NONE:
            return
        is_seconds = name.endswith("_s")
        kinds = (int, float) if is_seconds else (int,)
        if isinstance(number, bool) or not isinstance(number, kinds):
            kind = "a number" if is_seconds else "an integer"
            raise RefusedTypeError(name, f"{_shown(number)} is not {kind}")
        if is_seconds and not 0 <= number <= sys.float_info.max:
            raise RefusedValueError(name, f"{_shown(number)} is not a time")
        if number == 0 and name not in _CAN_BE_ZERO:
            raise RefusedValueError(name, "0 is too small")
        if number < 0:
            raise RefusedValueError(name, f"{_shown(number)} is negative")
        if name == "keep_last" and number < KEEP_LAST_MIN:
            reason = "1 is too small: an earlier one is the way back from a damaged one"
            raise RefusedValueError(name, reason)
        limit = _LIMITS.get(name)
        if limit is not None and number > limit:
            raise RefusedValueError(name, f"{_shown(number)} is over {limit}")


@dataclass(frozen=True, slots=True)
class KeySource:
    """A place that a key comes from; as text, what named it, but for the words of a command."""

    kind: Literal["file", "env", "command"]
    place: str

    def __str__(self) -> str:
        if self.kind == "command":  # somebody could have put a secret there
            return f"command:{self.place.split(maxsplit=1)[0]}"
        return f"{self.kind}:{self.place}"


def key_source(text: str | None, field: str = "key_from") -> KeySource | None:
    """The place in `file:PATH`, `env:NAME` or `command:COMMAND`; None for None.

    Raises RefusedTypeError or RefusedValueError, naming the field. What was given is not shown: it
    could be the key.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise RefusedTypeError(field, "it is not a text such as file:PATH")
    found = _KEY_SOURCE.fullmatch(text)
    if found is None:
        reason = (
            "it is none of file:PATH, env:NAME and command:COMMAND, which say where the key is; "
            "the key itself does not stand here"
        )
        raise RefusedValueError(field, reason)
    return KeySource(found[1], found[2])  # type: ignore[arg-type]  # one of the pattern's


def compression_of(text: str | None) -> tuple[Compression | None, int | None]:
    """The compression and the level (None: its default) in `gzip`, `zstd` or `zstd:9`.

    Raises RefusedTypeError or RefusedValueError, naming `compress`.
    """
    if text is None:
        return None, None
    if not isinstance(text, str):
        raise RefusedTypeError("compress", f"{_shown(text)} is not a text such as gzip or zstd:9")
    kind, colon, level = text.partition(":")
    if kind not in LEVELS_MAX or (colon and _LEVEL.fullmatch(level) is None):
        reason = f"{_shown(text)} is neither gzip nor zstd, nor one of them with a level: zstd:9"
        raise RefusedValueError("compress", reason)
    check_level(kind, int(level) if colon else None, "compress")
    return kind, int(level) if colon else None


def check_level(compression: Compression | None, level: int | None, field: str = "level") -> None:
    """Raise RefusedTypeError or RefusedValueError for a level that a compression does not have."""
    if level is None:
        return
    if isinstance(level, bool) or not isinstance(level, int):
        raise RefusedTypeError(field, f"{_shown(level)} is not an integer")
    if compression is None:
        raise RefusedValueError(field, "there is no level where nothing is compressed")
    if not 1 <= level <= LEVELS_MAX[compression]:
        reason = f"{compression} has the levels 1 to {LEVELS_MAX[compression]}"
        raise RefusedValueError(field, f"{_shown(level)}: {reason}")


def duration_s(text: str | None) -> int:
    """How many seconds `90s`, `90m`, `36h`, `7d` or `2w` are; 0 for None.

    Raises RefusedTypeError or RefusedValueError, naming `keep_within`.
    """
    if text is None:
        return 0
    if not isinstance(text, str):
        raise RefusedTypeError("keep_within", f"{_shown(text)} is not a text such as 36h or 7d")
    found = _DURATION.fullmatch(text)
    if found is None:
        reason = f"{_shown(text)} is not a number and one of s, m, h, d, w, such as 36h or 7d"
        raise RefusedValueError("keep_within", reason)
    return int(found[1]) * _SECONDS_OF_UNIT[found[2]]


def _shown(value: object) -> str:
    """A value for a message: short, and without making digits of an integer of any size."""
    if isinstance(value, int) and abs(value) > SHOWN_LIMIT:
        return "an integer of more than 64 bits"
    if isinstance(value, int | float | str):
        return repr(value) if len(str(value)) <= SHOWN_CHARACTERS else "a long text"
    return f"a {type(value).__name__}"
