"""`module:worker` and `name=value`, as they stand on the command line."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from penin.errors import UsageError, raised_at

_ARGUMENT: Final = re.compile(r"-{0,2}[^\W\d]\w*=.*", re.DOTALL)


def split_arguments(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The workers' names and the arguments among what stands behind `penin run`.

    A value is read as JSON where it parses, and is a string otherwise. Raises UsageError.
    """
    names: list[str] = []
    arguments: dict[str, Any] = {}
    for word in words:
        if _ARGUMENT.fullmatch(word) is None:
            names.append(word)
            continue
        name, _, value = word.partition("=")
        if name.startswith("-"):
            bare = name.lstrip("-")
            raise UsageError(f"a worker's argument is {bare}={value}, without dashes, not {word}")
        if name in arguments:
            raise UsageError(f"the argument {name} is given twice")
        arguments[name] = _value(value)
    return names, arguments


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text


def put_working_directory_on_path() -> None:
    """Let modules of the working directory be imported, as `python -m` does it."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def load_worker(name: str) -> Callable[..., Awaitable[object]]:
    """The async function that `module:worker` names. Raises UsageError, without a traceback."""
    if ":" not in name:
        raise UsageError(f"{name!r} is neither a command nor a worker, which is module:function")
    found = load_named(name, "worker")
    # An object with an async __call__ is a worker too.
    candidates = (found, getattr(type(found), "__call__", None))  # noqa: B004
    if isinstance(found, type) or not any(map(inspect.iscoroutinefunction, candidates)):
        raise UsageError(f"worker {name}: it is not an async function (async def)")
    worker: Callable[..., Awaitable[object]] = found
    return worker


def load_named(name: str, what: str) -> Any:
    """What `module:name` names; `what` it is to be is for messages. Raises UsageError."""
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise UsageError(f"{what} {name!r}: it is named as module:name")
    found = _import(f"{what} {name}", module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(f"{what} {name}: {module_name} has no {path}") from error
    return found


def _import(for_what: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise UsageError(
                f"{for_what}: there is no module {missing} in {Path.cwd()} or on sys.path"
            ) from error
        raise UsageError(f"{for_what}: {module_name} needs {missing}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{for_what}: importing {module_name} raised {error!r}{raised_at(error)}"
        ) from error
