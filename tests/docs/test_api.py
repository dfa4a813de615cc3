"""docs/api.md: names, settings, limits, errors and messages are those of the code."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

import msgspec
import pytest

import penin
from penin import errors
from penin.core import artifacts, bulk, door, names, values
from penin.core.transitions import Transaction, Transition
from penin.core.vocabulary import message
from penin.ingress.splitting import LINE_BYTES_MAX
from penin.runtime.transaction import TransactionBuilder
from tests.docs.markdown import blocks, names_in, rows, section

NAME = "docs/api.md"
VOCABULARY = [
    line for block in blocks(NAME) if block.name == "vocabulary" for line in block.text.splitlines()
]


def named(title):
    return [name for row in rows(section(NAME, title))[1:] for name in names_in(row[0])]


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_public_name_is_in_the_table():
    assert sorted(named("Python API")) == sorted(penin.__all__)


def test_every_name_of_the_protocol_is_in_the_table():
    assert sorted(named("AsyncOrchestrator")) == sorted(public(penin.AsyncOrchestrator))


def test_every_name_of_the_synchronous_class_is_in_the_table():
    own = {"OmegaMetaOrchestrator", *public(penin.OmegaMetaOrchestrator)}
    assert sorted(named("OmegaMetaOrchestrator")) == sorted(own)


@pytest.mark.parametrize("title", ["AsyncOrchestrator", "OmegaMetaOrchestrator"])
def test_every_signature_is_the_one_of_the_code(title):
    kind = getattr(penin, title)
    for row in rows(section(NAME, title))[1:]:
        for name, arguments in re.findall(r"`(\w+)\(([^)]*)\)`", row[0]):
            function = kind if name == title else getattr(kind, name)
            parameters = inspect.signature(function).parameters.values()
            shown = [
                parameter.name
                if parameter.default is parameter.empty
                else f"{parameter.name}={parameter.default!r}"
                for parameter in parameters
                if parameter.name not in {"self", "cls"}
            ]
            assert arguments == ", ".join(shown), name


def test_a_transaction_has_the_writers_but_one():
    writers = public(TransactionBuilder) - {"ack", "message"}
    assert writers | {"extend_knowledge"} == public(penin.AsyncOrchestrator) & {
        kind.TYPE for kind in Transition.__subclasses__()
    }


def test_what_the_synchronous_orchestrator_lacks_is_said():
    lacking = public(penin.AsyncOrchestrator) - public(penin.BlockingOrchestrator)
    assert lacking == {"send_nowait", "stopping"}
    assert "It has no `send_nowait`, `stopping` and `view`." in section(
        NAME, "Synchronous programs"
    )


def test_every_setting_is_in_the_table_with_its_default():
    table = [row[:2] for row in rows(section(NAME, "Settings"))[1:]]
    assert table == [[f"`{f.name}`", f"`{f.default!r}`"] for f in fields(penin.Settings)]


def test_every_error_is_in_the_table_with_what_it_is():
    found = [
        [f"`{name}`", ", ".join(f"`{base.__name__}`" for base in kind.__bases__)]
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.PeninError)
    ]
    assert [row[:2] for row in rows(section(NAME, "Errors"))[1:]] == found


def test_the_limits_are_those_of_the_code():
    numbers = [
        int(re.sub(r"\D", "", re.split(r"(?<=\d) ", row[1].replace("1 to ", ""))[0]))
        for row in rows(section(NAME, "Limits"))[1:]
    ]
    assert numbers == [
        names.NAME_BYTES_MAX,
        values.VALUE_BYTES_MAX,
        values.DEPTH_MAX,
        values.INTEGER_BITS_MAX,
        artifacts.VECTOR_BYTES_MAX,
        bulk.BULK_BYTES_MAX,
        bulk.BULK_BYTES_MAX // 8,
        door.MESSAGE_BYTES_MAX,
        door.TRANSACTION_TRANSITIONS_MAX,
        door.ID_CHARACTERS_MAX,
        names.NAME_BYTES_MAX,
        door.HISTORY_MAXLEN_MAX,
        LINE_BYTES_MAX,
    ]


@pytest.mark.parametrize("line", VOCABULARY)
def test_every_message_is_taken(line):
    assert message(msgspec.json.decode(line)).raw


def test_there_is_a_message_of_every_type():
    types = {kind.TYPE for kind in Transition.__subclasses__()} | {Transaction.TYPE}
    assert {msgspec.json.decode(line)["type"] for line in VOCABULARY} == types


def test_there_is_a_message_with_every_field_that_a_type_has():
    shown: dict[str, set[str]] = {}
    for line in VOCABULARY:
        content = msgspec.json.decode(line)
        shown.setdefault(content["type"], set()).update(content)
    for kind in Transition.__subclasses__():
        own = {
            name for name in kind.__struct_encode_fields__ if name not in {"id", "digest", "from"}
        }
        assert own <= shown[kind.TYPE]
