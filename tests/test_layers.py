"""Imports point down only. Every import in the source is read, those for types among them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import penin

PACKAGE = Path(penin.__file__).parent

LAYERS = ("cli", "ingress", "runtime", "core", "storage")
"""From the top down; below them all lie `BASE`, in which only `logs` imports from its side."""
BASE = ("errors", "settings", "logs")

ALLOWED = {
    # The entry points stand above the layers.
    "penin": {*LAYERS, *BASE},
    "__main__": {*LAYERS, *BASE},
    **{layer: {*LAYERS[index:], *BASE} for index, layer in enumerate(LAYERS)},
    "cli": {"penin", *LAYERS, *BASE},
    "logs": {"logs", "errors", "settings"},
    "settings": {"errors"},
    "errors": set(),
}

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(module, imported module) -> the reason. Only imports for types can have one."""

FORBIDDEN = {
    # No tasks and no clock: what the memory means does not depend on when and where it runs.
    "core": {"asyncio", "anyio", "threading", "time", "random", "structlog", "concurrent"},
    # Bytes on disk, from one thread: no tasks, no logs.
    "storage": {"asyncio", "anyio", "threading", "structlog", "concurrent", "numpy"},
    # One thing prints for people, reads the environment, and sets exit codes.
    "runtime": {"typer", "rich", "argparse"},
    "ingress": {"typer", "rich", "argparse"},
}
NOWHERE = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
"""Loading a state never runs code."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ("penin", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(name: str) -> str:
    """`penin.core.state` -> `core`; the package itself -> `penin`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "penin"


def imports_of(path: Path) -> set[str]:
    """The full names of all modules that a module imports, anywhere in it."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            # `from penin import core` and `from penin.core import door` import modules too.
            submodules = {
                f"{base}.{alias.name}" for alias in node.names if is_module(f"{base}.{alias.name}")
            }
            found |= submodules or {base}
    return found


def is_module(name: str) -> bool:
    if not name.startswith("penin."):
        return False
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path):
    name = module_name(path)
    ours = {other for other in imports_of(path) if other.split(".")[0] == "penin"}
    upward = {
        other
        for other in ours
        if layer_of(other) not in ALLOWED[layer_of(name)] and (name, other) not in EXCEPTIONS
    }
    assert not upward


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_layer_imports_what_it_must_not_know(path):
    packages = {other.split(".")[0] for other in imports_of(path)}
    assert not packages & FORBIDDEN.get(layer_of(module_name(path)), set())
    assert not packages & NOWHERE


def test_every_module_belongs_to_a_layer():
    assert {layer_of(module_name(path)) for path in MODULES} <= set(ALLOWED)


def test_every_exception_is_still_needed():
    for (name, other), reason in EXCEPTIONS.items():
        path = next(path for path in MODULES if module_name(path) == name)
        assert other in imports_of(path), f"{name} no longer imports {other} ({reason})"


def test_the_reading_of_imports_finds_all_kinds(tmp_path, monkeypatch):
    module = PACKAGE / "core" / "state.py"
    source = (
        "import os, time as clock\n"
        "from typing import TYPE_CHECKING\n"
        "from penin.core import door\n"
        "from . import values\n"
        "from ..runtime import actor\n"
        "if TYPE_CHECKING:\n"
        "    from penin.cli import main\n"
        "def later():\n"
        "    import asyncio\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: source)
    assert imports_of(module) == {
        "os",
        "time",
        "typing",
        "penin.core.door",
        "penin.core.values",
        "penin.runtime.actor",
        "penin.cli",
        "asyncio",
    }
