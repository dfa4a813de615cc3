"""Where keys come from: a file, a variable, or what a command prints.

Only the place is a setting or an option (`key_from`, `sign_key_from`), so that the key itself
stands in no list of processes, no history of a shell and no log. The master key of encrypted stores
is 32 bytes in base64, as `openssl rand -base64 32` prints them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import shlex
import subprocess
import threading
from pathlib import Path
from typing import Final

from penin.errors import UsageError
from penin.settings import KeySource, key_source
from penin.storage.filesystem import OsFileSystem
from penin.storage.keys import KEY_BYTES, Keys

COMMAND_TIMEOUT_S: Final = 60.0
"""How long a command has that prints the key, perhaps after asking somebody for a passphrase."""
_TEXT_BYTES_MAX: Final = 4096


def files_with(key_from: str | None) -> OsFileSystem:
    """The file system, with the key for encrypted stores on it, if one is named.

    The key is looked for when it is first needed, and not here. Raises RefusedTypeError or
    RefusedValueError for what names no place.
    """
    return OsFileSystem(None if key_from is None else keys_from(key_from))


def keys_from(key_from: str) -> Keys:
    """The keys whose master key comes from a place; see `files_with`."""
    source = key_source(key_from)
    assert source is not None
    return Keys(key_from, lambda: read_key(source))


def read_key(source: KeySource) -> bytes:
    """The master key. Raises UsageError, in which nothing of what was found is shown."""
    try:
        key = base64.b64decode(b"".join(read_source(source).split()), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{source}: that is no key; a key is {KEY_BYTES} bytes in base64, as "
            "openssl rand -base64 32 prints them"
        )
    return key


def read_source(source: KeySource) -> bytes:
    """What is in a place, up to 4 KiB of it. Raises UsageError where there is nothing."""
    if source.kind == "command":
        return _from_command(source)
    if source.kind == "env":
        if source.place not in os.environ:
            raise UsageError(f"{source}: there is no such variable")
        return os.environ[source.place].encode(errors="replace")
    try:
        with Path(source.place).open("rb") as file:
            return file.read(_TEXT_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}") from error


def _from_command(source: KeySource) -> bytes:
    # Its stderr is ours: what it has to complain about, or to ask, is for the same person.
    try:
        process = subprocess.Popen(  # noqa: S603  # it is the owner who names it
            shlex.split(source.place), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    printed: list[bytes] = []
    out = process.stdout
    assert out is not None

    def read() -> None:
        with out:  # one that prints without end gets a broken pipe
            printed.append(out.read(_TEXT_BYTES_MAX))

    reader = threading.Thread(target=read, name="penin-key", daemon=True)
    reader.start()
    code = None
    try:
        reader.join(COMMAND_TIMEOUT_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(COMMAND_TIMEOUT_S if printed else 0)
    finally:
        process.kill()  # does nothing where it has ended
        process.wait()
    if code is None or not printed:
        raise UsageError(f"{source}: it took longer than {COMMAND_TIMEOUT_S:g} s")
    if code != 0 and len(printed[0]) < _TEXT_BYTES_MAX:
        raise UsageError(f"{source}: it ended with {code}")
    return printed[0]
