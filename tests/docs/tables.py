"""The tables of the documentation that follow from the code, as Markdown."""

from __future__ import annotations

from typing import Any, get_args

import typer

from penin.cli.app import app_of
from penin.cli.options import environment_name

SHARED = ("run", "send", "import")


def parameters(command: str) -> dict[str, Any]:
    """The options of a command by their parameter names, as typer has them."""
    words = command.split()
    group: Any = typer.main.get_command(app_of(words[0]))  # and then the command in it
    for word in words:
        group = group.commands[word]
    found = group.params
    return {
        parameter.name: parameter
        for parameter in found
        if parameter.param_type_name == "option" and parameter.name != "help"
    }


def own_options(command: str) -> list[str]:
    """The names of a command's options, but for those that the commands of SHARED have all."""
    common = common_options() if command in SHARED else []
    return [name for name in parameters(command) if name not in common]


def common_options() -> list[str]:
    first, *others = map(parameters, SHARED)
    return [name for name in first if all(name in other for other in others)]


def options_table(command: str, names: list[str]) -> str:
    """The rows of the options `names` of a command."""
    lines = ["| option | value | default | environment | meaning |", "|---|---|---|---|---|"]
    found = parameters(command)
    lines += [_row(name, found[name], _default(name, found[name], command)) for name in names]
    return "\n".join(lines) + "\n"


def _row(name: str, parameter: Any, default: str) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    variable = ""
    if parameter.envvar is not None:
        named = parameter.opts[0].removeprefix("--").replace("-", "_")
        assert parameter.envvar == environment_name(named)
        variable = f"`{parameter.envvar}`"
    cells = [flags, _value(parameter), default, variable, parameter.help]
    return f"| {' | '.join(cells)} |"


def _value(parameter: Any) -> str:
    if parameter.is_flag:
        return ""
    kind = parameter.type_descriptor.annotation
    if choices := get_args(kind):
        return ", ".join(f"`{choice}`" for choice in choices)
    return {float: "number", int: "integer", str: "text"}[kind]


def _default(name: str, parameter: Any, command: str) -> str:
    if not parameter.default:
        return ""
    if parameter.is_flag:
        return f"`{parameter.opts[0]}`"
    text = f"`{parameter.default}`"
    if command in SHARED:
        defaults = {other: parameters(other)[name].default for other in SHARED}
        differing = [
            f"{other}: `{value}`" for other, value in defaults.items() if value != parameter.default
        ]
        text += f" ({', '.join(differing)})" if differing else ""
    return text
