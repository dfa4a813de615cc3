"""The options that commands share: each is `--name` and, in the environment, `PENIN_NAME`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import typer

from penin.errors import RefusedError, UsageError
from penin.runtime.key_source import files_with
from penin.runtime.store import MEMORY
from penin.settings import Settings
from penin.storage.filesystem import OsFileSystem

DIR_DEFAULT: Final = ".penin_omega"

SETTINGS_HELP: Final[dict[str, str]] = {
    "history_maxlen": "Bound of every history; without it the stored one (1000 in a new store).",
    "message_ids_max": "Of the last so many messages with an id, one that is sent again is not "
    "applied again; without it the stored number (100000 in a new store).",
    "max_knowledge": "The knowledge base holds so many artifacts at most; no bound without it.",
    "when_full": "A message that puts more into the knowledge base is refused (refuse), or the "
    "artifacts whose last change is the oldest are removed for it (evict).",
    "max_store_bytes": "From so many bytes on the disk on, only messages that remove something are "
    "taken; no bound without it.",
    "fsync": "A message is acknowledged when it is on the disk (always), or when it is written "
    "to the kernel, with a sync every second (everysec).",
    "format": "Of the snapshots: json, which people can read, or safetensors, which is faster from "
    "some 10,000 vectors on. Fixed when the store is made; json without it.",
    "compress": "Of snapshots and older journal files: gzip, zstd, or with a level, zstd:9. Fixed "
    "when the store is made, but for the level; not compressed without it.",
    "key_from": "Where the key of an encrypted store comes from: file:PATH, env:NAME or "
    "command:COMMAND. With it a new store is encrypted, and a plain one is refused.",
    "sign_key_from": "Where the private key is that signs the head of the ledger at each "
    "checkpoint, named in the same way; penin ledger keygen makes one.",
    "mailbox_messages_max": "The mailbox is full at so many messages.",
    "mailbox_bytes_max": "The mailbox is full at so many bytes.",
    "batch_messages_max": "A commit takes so many messages at most.",
    "batch_bytes_max": "A commit takes no further message from so many bytes on.",
    "checkpoint_interval_s": "Seconds between checkpoints; skipped when nothing changed.",
    "checkpoint_transitions_max": "A checkpoint is due after so many transitions, too.",
    "keep_last": "So many of the newest checkpoints are kept, 2 at least.",
    "keep_daily": "The last checkpoint of each of so many days (UTC) that have one is kept, too.",
    "keep_within": "Every checkpoint that is at most so old is kept, too: 90m, 36h, 7d, 2w.",
    "keep_journal": "The journal is kept back to the oldest kept checkpoint (checkpoints), or "
    "nothing of it is ever deleted (forever).",
    "stop_grace_s": "Seconds that workers have from the stop until they are cancelled.",
    "cancel_grace_s": "Seconds that their clean-up may take after that.",
    "lock_wait_s": "Seconds to wait for a store that another process has open.",
    "worker_failures_max": "A worker gives up after so many failures ...",
    "worker_failures_within_s": "... within so many seconds, which stops the process.",
    "worker_backoff_min_s": "Seconds of pause before a failed worker starts again; it doubles ...",
    "worker_backoff_max_s": "... up to so many seconds.",
}


def environment_name(name: str) -> str:
    """The variable of an option: `lock_wait_s` is `PENIN_LOCK_WAIT_S`."""
    return f"PENIN_{name.upper()}"


def option(name: str, help: str, **more: Any) -> Any:  # noqa: A002  # typer's word
    """The option `--name` with its environment variable."""
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(flag, envvar=environment_name(name), help=help, **more)


Directory = Annotated[str, option("dir", "The store's directory; made if it is not there.")]
ExistingDirectory = Annotated[str, option("dir", "The store's directory.")]
KeyOption = Annotated[
    str | None,
    option("key_from", "Where the key of the store is, if it is encrypted: see penin run."),
]
JsonOption = Annotated[bool, option("json", "One JSON object, for programs.")]
LogFormatOption = Annotated[
    Literal["auto", "json", "console"],
    option("log_format", "auto: JSON lines, or readable where stderr is a terminal."),
]
LogLevelOption = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    option("log_level", "What is logged: this and everything graver."),
]
LogFileOption = Annotated[
    str | None,
    option("log_file", "The log goes to this file, as JSON, opened anew on SIGHUP; not to stderr."),
]
LogTransitionsOption = Annotated[
    bool,
    typer.Option(
        "--log-transitions/--no-log-transitions",
        envvar=environment_name("log_transitions"),
        help="Log every transition (state.transition); a busy worker is easier to follow without.",
    ),
]


def log_path(log_file: str | None) -> Path | None:
    """The absolute path of a log file, taken before anything can change the working directory."""
    return None if log_file is None else Path(log_file).absolute()


def store_directory(dir: str, option: str = "--dir") -> Path:  # the words of the command line
    """The absolute path of the store, taken before anything can change the working directory.

    Raises UsageError, which names `option`, for what is no place for a store.
    """
    if dir == MEMORY:
        why = "a store in memory is for penin.open; name a directory"
        raise UsageError(f"{option} {MEMORY}: {why}")
    path = Path(os.path.realpath(dir))
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} {dir}: it is not a directory")
    return path


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError for a file that is not to be written."""
    if path.is_dir():
        raise UsageError(f"{path}: it is a directory")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: it is not a regular file, and would be replaced by one")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: it is there already; --overwrite replaces it")


def files_of(key_from: str | None) -> OsFileSystem:
    """The file system with the key that `--key-from` names. Raises UsageError."""
    try:
        return files_with(key_from)
    except RefusedError as error:
        raise UsageError(f"--key-from: {error.reason}") from error


def with_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command an option for every setting, instead of its parameter `settings`.

    The command gets a `Settings`. A setting that is refused is a UsageError that names it.
    """

    def call(**given: Any) -> int:
        chosen = {field.name: given.pop(field.name) for field in fields(Settings)}
        try:
            settings = Settings(**chosen)
        except RefusedError as error:
            raise UsageError(f"--{error.field.replace('_', '-')}: {error.reason}") from error
        return command(settings=settings, **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    hints = get_type_hints(Settings)
    parameters = [parameter for parameter in own if parameter.name != "settings"] + [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[
                hints[field.name],
                option(field.name, SETTINGS_HELP[field.name]),
            ],
        )
        for field in fields(Settings)
    ]
    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    # What typer asks for; the wrapper takes whatever is given to it.
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    return call
