"""docs/architecture.md: layers, packages, threads and phases are those of the code."""

from __future__ import annotations

import re
import tomllib
import typing

from penin.runtime.supervisor import Phase
from tests.docs.markdown import REPOSITORY, names_in, read, rows, section

NAME = "docs/architecture.md"
SOURCES = sorted((REPOSITORY / "penin").rglob("*.py"))


def test_every_package_that_is_asked_for_has_its_reason():
    project = tomllib.loads(read("pyproject.toml"))
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    tables = rows(section(NAME, "Packages"))
    explained = {name for row in tables for name in row[0].split(", ")} - {"package"}
    assert {re.split(r"[^\w-]", line)[0] for group in groups for line in group} == explained


def test_every_layer_is_there():
    table = rows(section(NAME, "Layers"))[1:]
    named = {name for row in table for name in names_in(row[1])}
    there = {
        f"penin.{path.stem}"
        for path in (REPOSITORY / "penin").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert named == there - {"penin.__init__"}


def test_every_thread_is_named():
    table = rows(section(NAME, "Tasks and threads"))
    named = {name for row in table for name in names_in(row[0]) if row[0].startswith("thread")}
    started = {
        found
        for path in SOURCES
        for found in re.findall(r'"(penin-[a-z]+)"', path.read_text())
        if "Thread(" in path.read_text()
    }
    assert started <= named


def test_the_phases_are_those_of_the_supervisor():
    text = section(NAME, "Phases")
    assert re.findall(r"`(\w+)`", text.partition("\n\nThe way down")[0]) == list(
        typing.get_args(Phase)
    )
