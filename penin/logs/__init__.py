"""What is logged, and how: structlog events that never block and never fail whoever logs them.

- `EVENTS`, `FIELDS`: the documented table of every event, as data; `events_markdown` renders it.
- `EventLog`: what the rest of PENIN logs through.
- `penin.logs.owned.configure`: the pipeline of the command line (it owns the process's logging).
  It is not imported here: with it comes structlog, which takes long to import, and a host that
  does not use it need not wait for it.
- `embedded_logger`: the way into a host's own logging, or silence.
- `LogBuffer`: the bounded buffer with a thread of its own that both of them stand on.

The journal is the record; the log is for reading along. Where the two compete, the log loses.
"""

from penin.logs.buffer import LogBuffer, Sink
from penin.logs.embedded import HostLog, SilentLog, embedded_logger
from penin.logs.event_log import EventLog
from penin.logs.events import EVENTS, FIELDS, Event, events_markdown, undocumented

__all__ = [
    "EVENTS",
    "FIELDS",
    "Event",
    "EventLog",
    "HostLog",
    "LogBuffer",
    "SilentLog",
    "Sink",
    "embedded_logger",
    "events_markdown",
    "undocumented",
]
