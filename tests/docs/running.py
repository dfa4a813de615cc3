"""Running the code blocks of a document, in order and in one directory.

- `python`: executed, `await` included. One whose first line is a comment with a file's name
  (`# worker.py`) becomes that file instead, for the commands after it.
- `console`: each line that begins with `$ ` is a command, and what follows it, up to the next one,
  is what it says on stdout and stderr; `...` stands for anything, and for any lines where it is
  alone. It exits with 0, unless the next command is `echo $?`. A program that is named behind the
  language is one that the block needs: where it is not installed, the block is left out.
- `sh`: not run here; those of docs/logs.md are, where their tools are (`tests/docs/test_logs.py`).
- `json` and `jsonl`: parsed; with a file's name behind the language they become that file.
- `js`: becomes the file that is named behind the language.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.markdown import REPOSITORY, Block, read

TIMEOUT_S = 20
LANGUAGES = {"python", "console", "json", "jsonl", "ini", "js", "sh", "text"}

_FILE = re.compile(r"# (\w+\.py)")
_TARGET = re.compile(r"make ([\w-]+)")


def run(block: Block, document: str, directory: Path) -> None:
    """Run one block in `directory`, which is the working directory; raises where it fails."""
    if block.language == "python":
        _run_python(block, f"{document}, line {block.line}", directory)
    elif block.language == "console":
        _run_console(block, directory)
    elif block.language in {"json", "jsonl", "js"}:
        if block.language != "js":
            _parse(block)
        if "." in block.name:
            path = directory / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def missing_program(block: Block) -> str | None:
    """The program that a block needs and that is not installed, if there is one."""
    if block.language == "console" and block.name and shutil.which(block.name) is None:
        return block.name
    return None


def _run_python(block: Block, place: str, directory: Path) -> None:
    file = _FILE.fullmatch(block.text.partition("\n")[0])
    if file is not None:
        ast.parse(block.text, place)
        (directory / file[1]).write_text(block.text, encoding="utf-8")
        return
    code = compile(block.text, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    # A namespace that is a module's: dataclasses look up their annotations in it.
    namespace = {"__name__": "__main__"}
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(asyncio.wait_for(eval(code, namespace), TIMEOUT_S))
    else:
        exec(code, namespace)


def _parse(block: Block) -> None:
    texts = [block.text] if block.language == "json" else block.text.splitlines()
    for text in texts:
        json.loads(text)


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, and what each of them says."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            command = line[2:].strip()
            if command == "echo $?" and found:
                found[-1] = (f"{found[-1][0]}; {command}", found[-1][1])
            else:
                found.append((command, ""))
        else:
            assert found, f"no command before {line!r}"
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def _run_console(block: Block, directory: Path) -> None:
    for command, expected in commands(block.text):
        target = _TARGET.fullmatch(command)
        if target is not None:
            assert re.search(rf"^{target[1]}:", read("Makefile"), re.MULTILINE), command
            continue
        ended = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=directory,
            env=_environment(directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = ended.stdout.decode()
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}: {said}"
        assert matches(expected, said), f"{command} said\n{said}\nand not\n{expected}"


def matches(expected: str, said: str) -> bool:
    """Whether `said` is `expected`, where `...` stands for anything."""
    if expected == "...\n":
        return True
    pattern = "".join(
        r"(?:.*\n)*?"
        if line.strip() == "..."
        else ".*".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n"
        for line in expected.splitlines()
    )
    return re.fullmatch(pattern, said) is not None


def _environment(directory: Path) -> dict[str, str]:
    """An environment with `penin` and `python` on the PATH, also where nothing is installed."""
    scripts = directory.parent / "scripts"
    scripts.mkdir(exist_ok=True)
    for name, words in (("python", ""), ("penin", " -m penin")):
        script = scripts / name
        if not script.exists():
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            script.chmod(0o755)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PENIN_")}
    path = os.pathsep.join([str(scripts), inherited.get("PATH", os.defpath)])
    return {**inherited, "PATH": path, "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8"}
