"""structlog's configuration is global: every test leaves it as it found it."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def _structlog_as_it_was():
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
