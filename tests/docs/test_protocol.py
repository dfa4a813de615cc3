"""docs/protocol.md: queries, kinds of errors and bounds are those of the code."""

from __future__ import annotations

import re

from penin import errors
from penin.ingress.socket import connection, lines, server, wire
from penin.ingress.socket.queries import QUERIES
from penin.ingress.socket.subscription import SUBSCRIBE
from penin.ingress.splitting import LINE_BYTES_MAX
from penin.runtime.status import WorkerStatus
from tests.docs.markdown import names_in, rows, section

NAME = "docs/protocol.md"


def test_every_query_is_in_the_table():
    table = rows(section(NAME, "Queries"))[1:]
    assert [names_in(row[0])[0] for row in table] == [*QUERIES, SUBSCRIBE]
    assert names_in(table[0][2])[1:] == list(WorkerStatus.__struct_fields__)


def test_every_kind_of_error_is_in_the_table_with_its_class_and_its_members():
    table = rows(section(NAME, "Errors"))[1:]
    assert [kind for row in table for kind in names_in(row[0])] == list(wire.KINDS)
    for row in table:
        for kind, name in zip(names_in(row[0]), names_in(row[1]), strict=True):
            told = wire.WireError(kind, "m", "f", "r", "/p", 1, "i", 2, 3, 4, 5)
            made = wire.error_of(told)
            assert type(made) is getattr(errors, name)
            members = wire.WireError.__struct_fields__[2:]
            assert set(names_in(row[2])) == {name for name in members if hasattr(made, name)}


def test_the_bounds_are_those_of_the_code():
    table = rows(section(NAME, "Bounds"))[1:]
    numbers = [int(re.sub(r"\D", "", re.split(r"(?<=\d)(?: |;|$)", row[1])[0])) for row in table]
    assert numbers == [
        LINE_BYTES_MAX,
        lines.LONG_LINES_BYTES_MAX,
        connection.REQUESTS_MAX,
        connection.REQUESTS_BYTES_MAX,
        connection.UNREAD_BYTES_MAX,
        server.CONNECTIONS_MAX,
    ]
    assert f"{lines.LONG_BYTES:,}" in table[1][0]
