"""Signed heads on the command line: keys for them, and what they say of a ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from penin.cli.exits import ExitCode
from penin.cli.terminal import counted, say
from penin.errors import UsageError
from penin.runtime.signing import SignedHeads, SignedReport, heads_of, read_public_key
from penin.storage.filesystem import OsFileSystem


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For the private key; not there.")],
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.storage.heads import new_key_pair

    public_file = file.with_name(f"{file.name}.pub")
    for path in (file, public_file):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path}: it is there already")
    private, public = new_key_pair()
    for path, pem in ((file, private), (public_file, public)):
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(pem)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
    say(f"private key in {file}, public key in {public_file}")
    return ExitCode.SUCCESS


def signed_heads(
    directory: Path, public_key: str | None, heads: str | None
) -> Callable[[], SignedHeads] | None:
    """What reads the signed heads, where a public key is given."""
    if public_key is None:
        if heads is not None:
            raise UsageError("--heads: nothing checks them without --public-key")
        return None
    verifier = read_public_key(Path(public_key))
    if heads is not None and not Path(heads).is_file():
        raise UsageError(f"--heads {heads}: there is no such file")
    path = heads_of(directory) if heads is None else Path(os.path.realpath(heads))
    return lambda: SignedHeads(OsFileSystem(), path, verifier)


def signed_rows(signed: SignedReport) -> Iterator[tuple[str, str]]:
    """The rows of a table: what was signed, and what is wrong with it."""
    if signed.heads == 0:
        text = "NOT SIGNED: there is no head of this key"
    else:
        last = f"the last one of seq {signed.seq:,} at {signed.at}"
        text = f"{counted(signed.heads, 'head')}, {signed.in_chain:,} of them in the chain, {last}"
    if signed.others:
        text += f"; {counted(signed.others, 'head')} of another key not looked at"
    yield "signed", text
    for problem in signed.problems:
        yield "NOT RIGHT", f"{problem.path} at byte {problem.position:,}: {problem.reason}"
