"""Errors are the same at both ends, and replies are what a client reads."""

from __future__ import annotations

import pytest

from penin import errors
from penin.core.transitions import Ack
from penin.errors import (
    BusyError,
    ClosedError,
    CorruptionError,
    ForbiddenError,
    FormatError,
    IdReusedError,
    JournalFailedError,
    KnowledgeFullError,
    MailboxFullError,
    NotKeptError,
    PeninError,
    RefusedTypeError,
    RefusedValueError,
    StorageError,
    StorageFullError,
    UsageError,
)
from penin.ingress.socket import wire


def told_of(error):
    told = wire.decode_reply(wire.error_line(b"{", error)).error
    assert told is not None
    return told


SAME = [
    RefusedValueError("task.items[3]", "no such thing"),
    RefusedTypeError("score", "str is not a number"),
    IdReusedError("batch-17", 9),
    KnowledgeFullError(7, 7),
    NotKeptError("from_seq", "3 is before what the journal holds", 7, 9),
    StorageFullError("/store/journal/1.jsonl", "No space left on device"),
    JournalFailedError("store x", "Input/output error"),
    CorruptionError("/store/state.json", 17, "the digest is wrong"),
    StorageError("/store", "Permission denied"),
    ClosedError("the orchestrator is closed"),
    BusyError("512 connections are open"),
    ForbiddenError("this worker belongs to another user"),
    UsageError("no such index"),
]


@pytest.mark.parametrize("error", SAME, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_at_the_other_end(error):
    told = told_of(error)
    found = wire.error_of(told)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_every_kind_is_documented_by_a_class_or_is_failed():
    assert {told_of(error).kind for error in SAME} == {*wire.KINDS[:-1]}
    told = told_of(MailboxFullError(3))
    assert told.kind == "failed"
    assert type(wire.error_of(told)) is PeninError


def test_an_error_without_a_kind_of_its_own_has_that_of_its_base():
    told = told_of(FormatError("/store", "version 9"))
    assert told.kind == "storage"
    assert type(wire.error_of(told)) is StorageError


def test_no_error_class_is_unknown_to_the_wire():
    classes = [
        c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PeninError)
    ]
    assert PeninError in classes
    for made in SAME:
        assert type(made) in classes


@pytest.mark.parametrize("ack", [Ack(3), Ack(3, "missing"), Ack(9, "conflict", 8)])
@pytest.mark.parametrize("request_", [None, 0, -3, 2**63 - 1, 'a"b\u00e9'])
def test_an_acknowledgement_is_read_as_it_was(ack, request_):
    reply = wire.decode_reply(wire.ack_line(wire.head_of(request_), ack))
    assert (reply.seq, reply.result, reply.failed_seq) == (ack.seq, ack.result, ack.failed_seq)
    assert reply.request == request_
