"""`EventLog`: what the rest of PENIN logs through, whoever owns the logging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


class EventLog(Protocol):
    """What PENIN logs through. Nothing here blocks (`close` apart) and nothing here raises.

    Values of fields must not be changed after the call: they may be rendered later, by another
    thread. The names `event` and `method_name` are structlog's own and no names of fields.
    """

    @property
    def enabled(self) -> bool:
        """Whether `transition` is wanted. Cheap; ask before building its fields."""

    def debug(self, event: str, /, **fields: object) -> None:
        """Logs `event`, in the context of the caller."""

    def info(self, event: str, /, **fields: object) -> None:
        """Logs `event`, in the context of the caller."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Logs `event`, in the context of the caller."""

    def error(self, event: str, /, **fields: object) -> None:
        """Logs `event`, in the context of the caller. `exc_info=error` adds the traceback."""

    def transition(self, context: Context | None, /, **fields: object) -> None:
        """Logs `state.transition` in `context`, the sender's (None: the caller's).

        A copy is entered and never `context` itself, which its owner may be running in.
        """

    @property
    def dropped(self) -> int:
        """How many events were not handed on, for want of room or of time."""

    def bind(self, **fields: object) -> None:
        """Gives every event from now on these fields, in place of those of an earlier call.

        A field of the event itself goes first.
        """

    @property
    def reopen(self) -> Callable[[], None] | None:
        """Opens the file that is written to anew, by its name, for logrotate; None without one.

        Blocks. Raises OSError where it cannot be opened; then the one before goes on.
        """

    def close(self, timeout_s: float) -> bool:
        """Takes nothing more, and waits for what was logged to be handed on; blocks.

        Returns False if time was over or the output had failed. Calling it again is harmless.
        """
