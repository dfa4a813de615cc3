"""The tables of the documentation that follow from the code, as Markdown."""

from __future__ import annotations

from typing import Any, get_args

import typer

from penin.cli.app import app
from penin.cli.options import environment_name

SHARED = ("run", "send")


def parameters(command: str) -> dict[str, Any]:
    """The options of a command by their parameter names, as typer has them."""
    group: Any = typer.main.get_command(app)
    found = group.commands[command].params
    return {
        parameter.name: parameter
        for parameter in found
        if parameter.param_type_name == "option" and parameter.name != "help"
    }


def own_options(command: str) -> list[str]:
    """The names of the options that only this command has, but for those of run and send."""
    other = [name for name in SHARED if name != command]
    common = set(parameters(SHARED[0])) & set(parameters(SHARED[1]))
    if command not in SHARED:
        return list(parameters(command))
    return [name for name in parameters(command) if name not in common | set(parameters(other[0]))]


def common_options() -> list[str]:
    return [name for name in parameters("run") if name in parameters("send")]


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
        assert parameter.envvar == environment_name(name)
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
        for other in SHARED:
            differing = parameters(other).get(name)
            if differing is not None and differing.default != parameter.default:
                text += f" ({other}: `{differing.default}`)"
    return text
