"""Encrypted and signed stores on the command line: every command with a key, and without it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from penin.cli import main
from penin.cli.exits import ExitCode
from tests.cli.processes import WORKERS
from tests.cli.processes import penin as run_penin
from tests.storage.keyed import master_of

KEY, NEW = (master_of(name) for name in ("first", "second"))
MESSAGES = [
    {"type": "add_score", "score": 0.5},
    {"type": "put_document", "name": "plan", "value": "needle"},
    {"type": "add_knowledge", "key": "a", "vector": [0.5, 1.5]},
]
MIGRATIONS = """
def to_1(draft):
    draft.documents["plan"] = "needle 1"

migrations = {0: to_1}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An encrypted store with a refused line, in the working directory, beside its keys."""
    monkeypatch.chdir(tmp_path)
    for name, key in (("key", KEY), ("new", NEW)):
        Path(name).write_bytes(base64.b64encode(key) + b"\n")
    lines = [json.dumps(message) for message in MESSAGES]
    Path("lines").write_text("\n".join([*lines[:2], "needle no json", lines[2]]) + "\n")
    told = main(["send", "lines", "--dir", "store", "--key-from", "file:key"])
    assert told == ExitCode.REFUSED_INPUT
    Path("migrating.py").write_text(MIGRATIONS)
    return tmp_path / "store"


READING = [
    ("status", "plan"),
    ("get", "plan", "needle"),
    ("checkpoints", "--verify", "verified"),
    ("verify", "sound"),
    ("ledger", "show", "needle"),
    ("ledger", "export", "-", "needle"),
    ("tail", "needle"),
    ("rejected", "needle no json"),
    ("diff", "now", "store", "bit for bit"),
    ("inspect", "store/state.json.enc", "digest"),
    ("inspect", f"store/journal/{1:020d}.jsonl", "put_document"),
    ("export", "rows.jsonl", ""),
    ("backup", "copy", ""),
    ("restore", "--seq", "2", "--to", "restored", ""),
    ("repair", "--to", "repaired", "nothing"),
    ("migrate", "migrating:migrations", "--dry-run", "plan"),
    ("migrate", "migrating:migrations", ""),
]


@pytest.mark.sliced
@pytest.mark.parametrize("words", READING, ids=lambda words: " ".join(words[:2]))
def test_every_command_that_reads_a_store_works_with_its_key_and_says_that_it_needs_one(
    store, words, capfd
):
    *command, shown = words
    where = [] if command[0] == "inspect" else ["--dir", "store"]
    without = main([*command, *where])
    assert without == ExitCode.CORRUPT
    refused = capfd.readouterr()
    assert "it is encrypted; say where its key is, with --key-from" in refused.err
    assert "needle" not in refused.out
    wrong = main([*command, *where, "--key-from", "file:new"])
    assert wrong == ExitCode.CORRUPT
    assert "the key that was given is not the one of this store" in capfd.readouterr().err
    assert main([*command, *where, "--key-from", "file:key"]) == ExitCode.SUCCESS
    said = capfd.readouterr()
    if command[0] != "status":
        assert shown in said.out + said.err


def test_the_ledger_is_verified_without_the_key(store, capfd):
    assert main(["ledger", "verify", "--dir", "store"]) == ExitCode.SUCCESS
    assert main(["ledger", "head", "--dir", "store"]) == ExitCode.SUCCESS
    head = capfd.readouterr().out.splitlines()[-1]
    assert main(["ledger", "verify", "--dir", "store", "--head", head]) == ExitCode.SUCCESS


@pytest.mark.parametrize("option", ["--key-from", "--sign-key-from"])
def test_a_key_in_place_of_its_place_is_refused_and_never_shown(store, option, capfd):
    text = base64.b64encode(KEY).decode()
    assert main(["send", "--dir", "store", option, text]) == ExitCode.USAGE
    said = capfd.readouterr()
    assert f"{option}: it is none of file:PATH, env:NAME and command:COMMAND" in said.err
    assert text not in said.out + said.err


@pytest.mark.sliced
@pytest.mark.parametrize("place", ["file:key", "env:A_KEY", "command:cat key"])
def test_no_log_line_and_no_output_has_the_key(store, place):
    text = base64.b64encode(KEY).decode()
    command = ["run", "workers:count", "--dir", "store", "--log-level", "debug"]

    (store.parent / "workers.py").write_text(WORKERS)
    ended = run_penin(store.parent, *command, "--key-from", place, A_KEY=text)
    assert ended.code == ExitCode.SUCCESS
    said = "\n".join([*ended.out, *ended.err])
    assert "recovery.finished" in said
    for form in (text, KEY.hex(), repr(KEY)):
        assert form not in said


def test_another_key_takes_the_place_of_the_old_one(store, capfd):
    command = ["rekey", "--dir", "store", "--key-from", "file:key", "--new-key-from", "file:new"]
    assert main([*command, "--json"]) == ExitCode.SUCCESS
    assert json.loads(capfd.readouterr().out)["data_keys"] == 2
    assert main(command) == ExitCode.CORRUPT
    assert main(["verify", "--dir", "store", "--key-from", "file:new"]) == ExitCode.SUCCESS
    for place, code in (("nokey", ExitCode.USAGE), ("file:none", ExitCode.USAGE)):
        bad = ["rekey", "--dir", "store", "--key-from", "file:new", "--new-key-from", place]
        assert main(bad) == code
    none = ["rekey", "--dir", "none", "--key-from", "file:key", "--new-key-from", "file:new"]
    assert main(none) == ExitCode.USAGE


def test_keys_are_made_for_the_owner_alone_and_never_over_a_file(store, capfd):
    assert main(["ledger", "keygen", "sign.key"]) == ExitCode.SUCCESS
    assert Path("sign.key").stat().st_mode & 0o777 == 0o600
    private = Path("sign.key").read_bytes()
    assert main(["ledger", "keygen", "sign.key"]) == ExitCode.USAGE
    Path("sign.key").unlink()
    assert main(["ledger", "keygen", "sign.key"]) == ExitCode.USAGE
    assert "sign.key.pub: it is there already" in capfd.readouterr().err
    assert not Path("sign.key").exists()
    assert private


def test_signed_heads_are_checked_with_the_public_key(store, capfd):
    main(["ledger", "keygen", "sign.key"])
    verify = ["ledger", "verify", "--dir", "store", "--public-key", "sign.key.pub"]
    assert main(verify) == ExitCode.CORRUPT
    assert "NOT SIGNED" in capfd.readouterr().out
    Path("more").write_text(json.dumps(MESSAGES[0]) + "\n")
    send = ["send", "more", "--dir", "store", "--key-from", "file:key"]
    assert main([*send, "--sign-key-from", "file:sign.key"]) == ExitCode.SUCCESS
    assert main([*verify, "--json"]) == ExitCode.SUCCESS
    found = json.loads(capfd.readouterr().out)
    assert (found["is_whole"], found["signed"]["heads"], found["signed"]["seq"]) == (True, 1, 4)
    heads = (store / "heads.jsonl").read_text()
    Path("kept").write_text(heads.replace('"seq":4', '"seq":3'))
    assert main([*verify, "--heads", "kept"]) == ExitCode.CORRUPT
    assert "NOT RIGHT" in capfd.readouterr().out
    for wrong in (["--heads", "none"], ["--public-key", "none"], ["--public-key", "sign.key"]):
        assert main([*verify, *wrong]) == ExitCode.USAGE
    alone = ["ledger", "verify", "--dir", "store", "--heads", "kept"]
    assert main(alone) == ExitCode.USAGE
