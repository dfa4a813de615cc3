"""The detector of blocking calls on the event loop is on in every test, as for the runtime."""

from tests.runtime.conftest import loop_is_never_blocked

__all__ = ["loop_is_never_blocked"]
