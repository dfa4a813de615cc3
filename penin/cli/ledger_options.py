"""The options that choose transitions of the ledger, shared by its commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, get_args

from penin.cli.options import option
from penin.core.transitions import AnyTransition, Rebase, SetMessageIdsMax
from penin.errors import RefusedError, UsageError
from penin.runtime.clock import time_of
from penin.runtime.ledger import Selection

OPTIONS: Final[dict[str, Any]] = {
    "from_seq": Annotated[
        int | None, option("from_seq", "The first seq; without it the first that is kept.")
    ],
    "to_seq": Annotated[int | None, option("to_seq", "The last seq.")],
    "since": Annotated[
        str | None, option("since", "From this time on: 2026-01-31, 2026-01-31T12:00:00Z (UTC).")
    ],
    "until": Annotated[str | None, option("until", "Before this time.")],
    "type": Annotated[
        str | None, option("type", "Only transitions of this type, such as add_score.")
    ],
    "key": Annotated[str | None, option("key", "Only those about this key or name.")],
    "source": Annotated[
        str | None,
        option("source", "Only what was sent by this source: python, stdin, file, socket."),
    ],
    "limit": Annotated[int | None, option("limit", "So many at most, the first ones.")],
}
"""Of each field of `Selection`."""
TYPES: Final = sorted(each.TYPE for each in (*get_args(AnyTransition), Rebase, SetMessageIdsMax))


def check_type(type: str | None) -> None:  # the word of the option
    """Raise UsageError for a type that no transition has: nothing would ever fit it."""
    if type is not None and type not in TYPES:
        raise UsageError(f"--type {type}: it is none of {', '.join(TYPES)}")


def with_selection(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose, instead of its parameter `wanted`, a `Selection`."""

    def call(**given: Any) -> int:
        return command(wanted=_selection({name: given.pop(name) for name in OPTIONS}), **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    chosen = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in OPTIONS.items()
    ]
    others = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own
        if parameter.name != "wanted"
    ]
    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    # What typer asks for; the wrapper takes whatever is given to it.
    call.__signature__ = inspect.Signature([*others, *chosen])  # type: ignore[attr-defined]
    return call


def _selection(chosen: dict[str, Any]) -> Selection:
    for name in ("from_seq", "to_seq", "limit"):
        if chosen[name] is not None and chosen[name] < 1:
            raise UsageError(f"--{name.replace('_', '-')} {chosen[name]}: it is below 1")
    check_type(chosen["type"])
    try:
        for name in ("since", "until"):
            if chosen[name] is not None:
                chosen[name] = time_of(chosen[name], f"--{name}")
    except RefusedError as error:
        raise UsageError(str(error)) from error
    return Selection(**chosen)
