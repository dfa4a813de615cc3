"""Every code block of the README and of docs/ is true: it runs, or it is what the code writes."""

from __future__ import annotations

import pytest

from tests.docs.markdown import NAMES, blocks
from tests.docs.running import LANGUAGES, commands, matches, missing_program, run


@pytest.mark.parametrize("name", NAMES)
def test_every_block_names_a_language_that_is_checked(name):
    assert {block.language for block in blocks(name)} <= LANGUAGES


@pytest.mark.timeout(300)  # each command of a document is a process
@pytest.mark.parametrize("name", NAMES)
def test_every_block_runs_in_the_order_of_the_document(name, tmp_path, monkeypatch):
    directory = tmp_path / "directory"
    directory.mkdir()
    monkeypatch.chdir(directory)
    missing = {missing_program(block) for block in blocks(name)} - {None}
    for block in blocks(name):
        if missing_program(block) is None:
            run(block, name, directory)
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(map(str, missing)))}; all else was run")


def test_what_a_command_says_is_compared():
    assert commands("$ a\nb\n$ echo $?\n3\n") == [("a; echo $?", "b\n3\n")]
    assert matches("a ... c\n", "a b c\n")
    assert matches("a\n...\nc\n", "a\nb\nb\nc\n")
    assert matches("a\n...\nc\n", "a\nc\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a\n...\nc\n", "a\nb\n")
    assert not matches("", "a\n")
