"""docs/command-line.md: commands, options, variables and exit codes are those of the code."""

from __future__ import annotations

import re

import pytest

from penin.cli import main
from penin.cli.app import COMMANDS
from penin.cli.exits import exits_markdown
from tests.docs.markdown import names_in, prose, read, rows, section
from tests.docs.tables import SHARED, common_options, options_table, own_options, parameters

NAME = "docs/command-line.md"
COMMON = "Options of run, send and import"


def documented(title):
    """The options and the variables in the table of a section."""
    table = [row for row in rows(section(NAME, title)) if row[0].startswith("`--")]
    options = {name for row in table for name in names_in(row[0])}
    return options, {name for row in table for name in names_in(row[3])}


def test_every_command_is_named():
    assert sorted(name for row in rows(prose(NAME)) for name in commands_in(row[0])) == sorted(
        COMMANDS
    )


def commands_in(cell):
    return re.findall(r"^`penin (\w+(?: [a-z]+)?)", cell)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_of_a_command_are_those_of_its_help(command, capfd):
    options, variables = documented(f"penin {command}")
    if command in SHARED:
        shared = documented(COMMON)
        options, variables = options | shared[0], variables | shared[1]
    main([*command.split(), "--help"])
    shown = capfd.readouterr().out
    listed = shown.partition("\nOptions:\n")[2]
    flags = re.findall(r"^  (?:(-\w), )?(--[\w-]+)(?: / (--[\w-]+))?", listed, re.MULTILINE)
    assert {flag for found in flags for flag in found if flag} - {"-h", "--help"} == options
    assert set(re.findall(r"PENIN_\w+", "".join(listed.split()))) >= variables
    assert len(re.findall(r"\[env\s+var:", listed)) == len(variables)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_a_commands_own_options_is_the_one_in_the_code(command):
    if own_options(command):
        assert options_table(command, own_options(command)) + "\n" in read(NAME)  # no row more


def test_every_option_has_a_variable():
    found = [option for command in COMMANDS for option in parameters(command).values()]
    assert {option.opts[0] for option in found if option.envvar is None} == set()


def test_the_table_of_the_common_options_is_the_one_in_the_code():
    assert options_table("run", common_options()) in read(NAME)


def test_the_table_of_exit_codes_is_the_one_in_the_code():
    assert exits_markdown() in read(NAME)
