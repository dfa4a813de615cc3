"""Signing the head of the ledger at each checkpoint, and checking what was signed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from penin.core.snapshots import Envelope
from penin.errors import UsageError
from penin.runtime.key_source import read_source
from penin.settings import key_source
from penin.storage.commits import Commit, Header
from penin.storage.filesystem import FileBlocks, FileSystem, storage_error
from penin.storage.heads import (
    HEADS_NAME,
    SignedHead,
    Signer,
    Verifier,
    append_head,
    head_lines,
)
from penin.storage.snapshots import FileSnapshotStore, digest_of

PUBLIC_KEY_BYTES_MAX: Final = 4096


class HeadSigner:
    """Signs the heads of the store in a directory, with a private key from a place.

    `prepare` gets the key; nothing of it is ever shown.
    """

    def __init__(self, fs: FileSystem, directory: Path, sign_key_from: str) -> None:
        self._fs = fs
        self._directory = directory
        self._source = key_source(sign_key_from, "sign_key_from")
        self._signer: Signer | None = None

    def prepare(self) -> None:
        """Get the private key. Raises UsageError where there is none."""
        assert self._source is not None
        pem = read_source(self._source)
        try:
            self._signer = Signer(pem)
        except UsageError as error:
            raise UsageError(f"{self._source}: {error}") from error

    def sign(self, envelope: Envelope, seq: int) -> None:
        """Sign the line that the newest snapshot ends with; durable on return.

        `seq` and `envelope` are those of the snapshot. Raises StorageError; then it is not signed,
        or, where only a sync failed, perhaps.
        """
        assert self._signer is not None, "prepare it first"
        store, digest, at = envelope.store, envelope.journal_hash, envelope.at
        assert store is not None
        assert digest is not None
        assert at is not None
        latest = FileSnapshotStore(self._fs, self._directory).latest()
        assert latest is not None
        with latest as blocks:
            snapshot = digest_of(blocks)
        line = self._signer.line(store=store, seq=seq, hash=digest, at=at, snapshot=snapshot)
        append_head(self._fs, self._directory, line)


class SignedPlace(msgspec.Struct, frozen=True):
    """Something that is wrong with a signed head: the byte of its line in the file, and what."""

    path: str
    position: int
    reason: str


class SignedReport(msgspec.Struct, frozen=True):
    """What the signed heads say of a ledger.

    `heads` were signed with the key; of these `in_chain` are in the ledger as it is, and the others
    of a time before what is kept of it. The newest one is of `seq` and the time `at`: what came
    later is not signed. `others` were signed with another key, and nothing is said of them.
    """

    heads: int
    in_chain: int
    seq: int | None
    at: str | None
    others: int
    problems: list[SignedPlace]

    @property
    def is_right(self) -> bool:
        """Whether there is a head in the ledger as it is, and nothing is wrong with any."""
        return self.in_chain > 0 and not self.problems


class SignedHeads:
    """The signed heads of a store, looked for in its chain.

    `note` takes each line of the chain, and `report` what is known then.
    """

    def __init__(self, fs: FileSystem, path: Path, verifier: Verifier) -> None:
        """Read a file of heads, in which damage is noted. Raises StorageError."""
        self._fs = fs
        self._path = path
        self._heads: list[tuple[int, SignedHead]] = []
        self._others = 0
        self._problems: list[SignedPlace] = []
        self._missing: dict[int, set[str]] = {}
        for position, line in head_lines(fs, path):
            try:
                head = verifier.signed(line)
            except ValueError as error:
                self._problem(position, str(error))
                continue
            if head is None:
                self._others += 1
            else:
                self._heads.append((position, head))
                self._missing.setdefault(head.seq, set()).add(head.hash)

    def note(self, line: Header | Commit) -> None:
        """This line is in the chain, and for a header the one before it, too."""
        if isinstance(line, Header):
            seq, hashes = line.first - 1, {line.hash, line.prev}
        else:
            seq, hashes = line.seq, {line.hash}
        self._missing.get(seq, set()).difference_update(hashes)

    def report(self, directory: Path, store: str | None, first_seq: int) -> SignedReport:
        """What is right and what is not, of a store whose ledger is kept from `first_seq` on.

        Kept checkpoints are read and compared. Raises StorageError.
        """
        in_chain = 0
        for position, head in self._heads:
            if head.store != store:
                self._problem(position, f"a head of store {head.store}")
            elif head.hash not in self._missing[head.seq]:
                in_chain += 1
            elif head.seq >= first_seq - 1:
                reason = (
                    f"the line of seq {head.seq} whose head was signed at {head.at} is not in the "
                    "ledger, which was cut or written anew"
                )
                self._problem(position, reason)
        self._check_checkpoints(directory, store)
        newest = max((head for _, head in self._heads), key=lambda head: head.seq, default=None)
        return SignedReport(
            len(self._heads),
            in_chain,
            None if newest is None else newest.seq,
            None if newest is None else newest.at,
            self._others,
            self._problems,
        )

    def _check_checkpoints(self, directory: Path, store: str | None) -> None:
        """Note each kept checkpoint of the store that is not the file whose digest was signed."""
        # One that was damaged and set aside was written again at the same seq, and signed again.
        signed: dict[int, list[tuple[int, str]]] = {}
        for position, head in self._heads:
            if head.store != store:
                continue
            signed.setdefault(head.seq, []).append((position, head.snapshot))
        for file in FileSnapshotStore(self._fs, directory).checkpoints():
            heads = signed.get(file.seq, [])
            if heads and self._digest(file.path) not in {None, *(digest for _, digest in heads)}:
                reason = f"the checkpoint {file.path.name} is not the one whose head was signed"
                self._problem(heads[-1][0], reason)

    def _digest(self, path: Path) -> str | None:
        """Of a file; None where it is not there any more."""
        try:
            with FileBlocks(self._fs, path) as blocks:
                return digest_of(blocks)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(path, error) from error

    def _problem(self, position: int, reason: str) -> None:
        self._problems.append(SignedPlace(str(self._path), position, reason))


def heads_of(directory: Path) -> Path:
    """Where the signed heads of a store are."""
    return directory / HEADS_NAME


def read_public_key(path: Path) -> Verifier:
    """The public key in a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            pem = file.read(PUBLIC_KEY_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    try:
        return Verifier(pem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
