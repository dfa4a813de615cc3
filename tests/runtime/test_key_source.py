"""Where the master key comes from, and that nothing of it is ever shown."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from penin.errors import PeninError, RefusedTypeError, RefusedValueError, UsageError
from penin.runtime import key_source
from penin.runtime.key_source import files_with, keys_from
from penin.settings import Settings
from tests.storage.keyed import master_of

KEY = master_of("first")
TEXT = base64.b64encode(KEY).decode()


@pytest.mark.parametrize("text", [TEXT, f"{TEXT}\n", f"  {TEXT[:20]}\r\n{TEXT[20:]}\n"])
def test_a_key_comes_from_a_file_a_variable_or_a_command(text, tmp_path, monkeypatch):
    file = tmp_path / "a key"
    file.write_bytes(text.encode())
    monkeypatch.setenv("A_KEY", text)
    printing = f"{sys.executable} -c \"print(open('{file}').read())\""
    for place in (f"file:{file}", "env:A_KEY", f"command:{printing}"):
        assert keys_from(place).master() == KEY
        assert keys_from(place).source == place


def test_without_a_place_there_are_no_keys():
    assert files_with(None).keys is None


@pytest.mark.parametrize("given", [TEXT, "key.txt", "", "file:", "pass:word", "FILE:x"])
def test_what_is_no_place_is_refused_and_not_shown(given):
    for named in (lambda: Settings(key_from=given), lambda: keys_from(given)):
        with pytest.raises(RefusedValueError, match="file:PATH, env:NAME and command") as raised:
            named()
        assert raised.value.field == "key_from"
        assert len(given) < 6 or given not in str(raised.value)
    with pytest.raises(RefusedTypeError):
        Settings(key_from=KEY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", [b"", b"short", TEXT.encode()[:-4], TEXT.encode() * 2, KEY, b"\xff\xfe" * 40]
)
def test_what_is_no_key_is_refused_and_not_shown(content, tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="that is no key; a key is 32 bytes in base64") as raised:
        keys_from(f"file:{file}").master()
    assert not content or content.decode(errors="replace") not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file:/nowhere/key", "file:/nowhere/key: No such file"),
        ("env:NO_SUCH_KEY", "env:NO_SUCH_KEY: there is no such variable"),
        ("command:/nowhere/command", "command:/nowhere/command: .*No such file"),
        ("command:'unclosed", "No closing quotation"),
        (f"command:{sys.executable} -c exit(3)", "it ended with 3"),
    ],
)
def test_where_there_is_none_is_said_with_the_place(place, reason):
    keys = keys_from(place)
    with pytest.raises(UsageError, match=reason):
        keys.master()


def test_a_command_that_does_not_end_is_ended_and_what_it_printed_is_not_shown(monkeypatch):
    monkeypatch.setattr(key_source, "COMMAND_TIMEOUT_S", 1.0)
    hanging = f"import time; print('{TEXT}', flush=True); time.sleep(60)"
    keys = keys_from(f'command:{sys.executable} -c "{hanging}"')
    with pytest.raises(UsageError, match="longer than 1 s") as raised:
        keys.master()
    assert raised.value.__context__ is None, "the output is in what it came from"


def test_of_a_command_that_prints_without_end_little_is_read():
    endless = "while True: print('x' * 4096)"
    with pytest.raises(UsageError, match="that is no key"):
        keys_from(f'command:{sys.executable} -c "{endless}"').master()


def test_of_a_command_an_error_names_the_program_alone():
    with pytest.raises(UsageError) as raised:
        keys_from(f"command:{sys.executable} -c exit(1) --secret {TEXT}").master()
    assert str(raised.value) == f"command:{sys.executable}: it ended with 1"


def test_no_error_or_repr_has_the_key(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(TEXT)
    keys = keys_from(f"file:{file}")
    keys.master()
    shown = repr(keys) + repr(files_with(f"file:{file}")) + str(keys.source)
    assert TEXT not in shown
    assert KEY.hex() not in shown
    assert issubclass(UsageError, PeninError)
