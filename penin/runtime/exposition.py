"""The metrics of a worker in the formats of Prometheus, by its library (extra `penin[metrics]`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penin.errors import UsageError
from penin.runtime.metrics import MetricsView
from penin.storage.timings import TimingsView

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor


class Exported(NamedTuple):
    """One metric: its kind, what it means, and its value in a view.

    The value of a histogram is a `TimingsView`. With a `label` there is a value for each of it.
    """

    kind: str
    meaning: str
    value: Callable[[MetricsView], Any]
    label: str = ""


METRICS: Final[dict[str, Exported]] = {
    "penin_messages_total": Exported(
        "counter", "messages that were applied", lambda view: view.messages
    ),
    "penin_transitions_total": Exported(
        "counter", "transitions that were applied", lambda view: view.transitions
    ),
    "penin_batches_total": Exported(
        "counter", "commits, of one or more messages", lambda view: view.batches
    ),
    "penin_messages_refused_total": Exported(
        "counter",
        "messages that were refused: at the door, by source, or for want of room (`full`)",
        lambda view: view.refused,
        "source",
    ),
    "penin_log_events_dropped_total": Exported(
        "counter", "events that are missing in the log", lambda view: view.log_events_dropped
    ),
    "penin_checkpoint_failures_total": Exported(
        "counter", "checkpoints that did not happen", lambda view: view.checkpoint_failures
    ),
    "penin_mailbox_messages": Exported(
        "gauge", "messages in the mailbox", lambda view: view.mailbox_messages
    ),
    "penin_mailbox_bytes": Exported(
        "gauge", "the size of the messages in the mailbox", lambda view: view.mailbox_bytes
    ),
    "penin_applied_seq": Exported(
        "gauge", "the last transition that was applied", lambda view: view.applied_seq
    ),
    "penin_durable_seq": Exported(
        "gauge", "the last transition that is certainly on the disk", lambda view: view.durable_seq
    ),
    "penin_storage_full": Exported(
        "gauge", "1 while messages are refused for want of room", lambda view: int(view.is_full)
    ),
    "penin_checkpoint_age_seconds": Exported(
        "gauge",
        "since the last checkpoint of this process, or since the store was opened",
        lambda view: view.checkpoint_age_s,
    ),
    "penin_checkpoint_seq": Exported(
        "gauge", "the last transition in the newest snapshot", lambda view: view.checkpoint_seq
    ),
    "penin_checkpoint_bytes": Exported(
        "gauge", "the size of the newest snapshot", lambda view: view.checkpoint_bytes
    ),
    "penin_memory_bytes": Exported(
        "gauge", "the memory that the process has", lambda view: view.memory_bytes
    ),
    "penin_uptime_seconds": Exported(
        "gauge", "since the state was recovered", lambda view: view.uptime_s
    ),
    "penin_fsync_seconds": Exported(
        "histogram", "how long making commits durable took", lambda view: view.fsync
    ),
    "penin_checkpoint_seconds": Exported(
        "histogram", "how long checkpoints took", lambda view: view.checkpoints
    ),
    "penin_loop_delay_seconds": Exported(
        "histogram",
        "how late the event loop was, measured four times a second",
        lambda view: view.loop_delay,
    ),
}


def require_prometheus() -> None:
    """Raise UsageError where what the metrics need is not installed. The first call imports."""
    try:
        import prometheus_client  # noqa: F401, PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "metrics need prometheus-client, which is not installed: pip install 'penin[metrics]'"
        ) from error


def exposed(supervisor: Supervisor, accept: str) -> tuple[bytes, str]:
    """The metrics of a supervisor as a header `Accept` wants them, and their `Content-Type`.

    Beside the ones of the table there are those of the process (`process_…`) that the library
    has. From any thread.
    """
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415  # an extra

    encode, content_type = choose_encoder(accept)
    return encode(_Collector(supervisor)), content_type


class _Collector:
    """What the library asks for its families; it is asked anew for each answer."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Any]:
        from prometheus_client import ProcessCollector  # noqa: PLC0415  # an extra
        from prometheus_client.metrics_core import (  # noqa: PLC0415  # an extra
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        phase = GaugeMetricFamily("penin_phase", "1 for the phase of the worker", labels=["phase"])
        phase.add_metric([self._supervisor.phase], 1)
        yield phase
        yield from ProcessCollector(registry=None).collect()
        if self._supervisor.orchestrator is None:
            return  # there is no state yet
        journal = self._supervisor.store.journal
        labels = {"store": journal.store, "dir": self._supervisor.store.name}
        yield InfoMetricFamily("penin_store", "which store it is", labels)
        view = self._supervisor.metrics.view()
        for name, exported in METRICS.items():
            value = exported.value(view)
            if value is not None:
                yield _family(name, exported, value)


def _family(name: str, exported: Exported, value: Any) -> Any:
    from prometheus_client import metrics_core  # noqa: PLC0415  # an extra

    if isinstance(value, TimingsView):
        family = metrics_core.HistogramMetricFamily(name, exported.meaning)
        family.add_metric([], _cumulated(value), value.sum_s)
        return family
    kinds = {
        "counter": metrics_core.CounterMetricFamily,
        "gauge": metrics_core.GaugeMetricFamily,
    }
    if not exported.label:
        return kinds[exported.kind](name, exported.meaning, value=value)
    labelled = kinds[exported.kind](name, exported.meaning, labels=[exported.label])
    for label, number in value.items():
        labelled.add_metric([label], number)
    return labelled


def _cumulated(timings: TimingsView) -> list[tuple[str, float]]:
    """The buckets as Prometheus counts: each with all below it."""
    names = [*map(repr, timings.bounds_s), "+Inf"]
    seen, buckets = 0, []
    for name, count in zip(names, timings.counts, strict=True):
        seen += count
        buckets.append((name, float(seen)))
    return buckets


def metrics_markdown() -> str:
    """The table of the metrics, as Markdown, for the documentation."""
    lines = ["| metric | kind | meaning |", "|---|---|---|"]
    for name, exported in METRICS.items():
        label = f'{{{exported.label}="…"}}' if exported.label else ""
        lines.append(f"| `{name}{label}` | {exported.kind} | {exported.meaning} |")
    return "\n".join(lines) + "\n"
