"""`penin convert`, as a process."""

from __future__ import annotations

import penin
from penin.cli.exits import ExitCode
from tests.cli.processes import penin as run_penin


def test_an_edited_state_becomes_a_new_store_only_with_the_owners_word(place):
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.put_document("offset", 7)
    orchestrator.save_state(place / "saved.json")
    text = (place / "saved.json").read_text()
    (place / "saved.json").write_text(text.replace('"offset": 7', '"offset": 8'))

    refused = run_penin(place, "convert", "saved.json", "--to", "mended")
    taken = run_penin(place, "convert", "saved.json", "--to", "mended", "--accept-edited")

    assert refused.code == ExitCode.CORRUPT
    assert "penin convert --accept-edited" in "\n".join(refused.err)
    assert taken.code == ExitCode.SUCCESS
    assert penin.load(place / "mended").get_document("offset") == 8


def test_a_file_that_is_not_there_is_a_mistake_in_the_command_line(place):
    process = run_penin(place, "convert", "nowhere.json", "--to", "store")

    assert process.code == ExitCode.USAGE
    assert "nowhere.json" in "\n".join(process.err)


def test_a_store_becomes_one_of_the_other_format_which_is_then_its_own(place):
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.put_document("offset", 7)
    orchestrator.save_state(place / "saved.json")
    assert run_penin(place, "convert", "saved.json", "--to", "first").code == ExitCode.SUCCESS

    made = run_penin(place, "convert", "first", "--to", "second", "--format", "safetensors")
    other = run_penin(place, "send", "--dir", "second", "--format", "json")

    assert made.code == ExitCode.SUCCESS
    assert (place / "second" / "state.safetensors").exists()
    assert penin.load(place / "second").get_document("offset") == 7
    assert other.code != ExitCode.SUCCESS
    assert "penin convert" in "\n".join(other.err)
