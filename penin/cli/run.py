"""`penin run`: workers on a store, until they have returned or a signal comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from penin.cli.ending import leave, told
from penin.cli.exits import ExitCode
from penin.cli.interrupts import early_signals
from penin.cli.options import (
    DIR_DEFAULT,
    Directory,
    LogFileOption,
    LogFormatOption,
    LogLevelOption,
    LogTransitionsOption,
    environment_name,
    log_path,
    option,
    store_directory,
    with_settings,
)
from penin.cli.service import service_manager
from penin.cli.terminal import PATIENCE_S, counted, say
from penin.cli.workers import load_worker, put_working_directory_on_path, split_arguments
from penin.errors import UsageError
from penin.ingress.chunks import Input
from penin.ingress.lines import LineSource
from penin.ingress.rejected import REJECTED_NAME, RejectedLines
from penin.ingress.socket.server import SocketServer
from penin.logs.owned import Logs, configure
from penin.runtime.key_source import files_with
from penin.runtime.run import Service
from penin.runtime.ways_in import Companion, Server
from penin.runtime.workers import make_workers
from penin.settings import Settings

WorkersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="module:worker",
        help="The workers; and after --, as name=value, their arguments.",
        show_default=False,
    ),
]


@with_settings
def run(
    workers: WorkersArgument = None,
    *,
    settings: Settings,
    stdin: Annotated[
        bool,
        option(
            "stdin",
            "Take messages from stdin too, one JSON object a line, and do not end before it.",
        ),
    ] = False,
    socket: Annotated[
        bool,
        typer.Option(
            "--socket/--no-socket",
            envvar=environment_name("socket"),
            help="Let other processes of the same user use the store, through its penin.sock.",
        ),
    ] = True,
    metrics: Annotated[
        str | None,
        option("metrics", "Serve /metrics, /healthz and /readyz there, such as 127.0.0.1:9464."),
    ] = None,
    metrics_anywhere: Annotated[
        bool,
        option("metrics_anywhere", "Allow --metrics an address that others than this host reach."),
    ] = False,
    dir: Directory = DIR_DEFAULT,  # the word of the option
    log_file: LogFileOption = None,
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "info",
    log_transitions: LogTransitionsOption = True,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    with early_signals(hang_up_ends=log_file is None):
        return _run(
            workers or [],
            settings,
            store_directory(dir),
            partial(
                configure,
                file=log_path(log_file),
                format=log_format,
                level=log_level,
                transitions=log_transitions,
            ),
            stdin=stdin,
            servers=[SocketServer()] if socket else [],
            companions=_companions(metrics, anywhere=metrics_anywhere),
        )


def _companions(metrics: str | None, *, anywhere: bool) -> list[Companion]:
    """Who tells others how the worker is: the service manager, whoever asks for metrics."""
    manager = service_manager()
    found: list[Companion] = [] if manager is None else [manager.run]
    if metrics is not None:
        from penin.runtime.metrics_server import MetricsServer  # takes long

        found.append(MetricsServer(metrics, anywhere=anywhere).run)
    return found


def _run(
    words: list[str],
    settings: Settings,
    directory: Path,
    make_logs: Callable[[], Logs],
    *,
    stdin: bool,
    servers: list[Server],
    companions: list[Companion],
) -> int:
    names, arguments = split_arguments(words)
    if arguments and not names:
        raise UsageError(f"{', '.join(arguments)}: there is no worker to give an argument to")
    put_working_directory_on_path()
    functions = [load_worker(name) for name in names]
    logs = make_logs()
    failure: BaseException | None = None
    try:
        made = make_workers(functions, arguments)
        rejected = RejectedLines(directory, files_with(settings.key_from))
        source = LineSource([Input()], rejected, logs, waits_for_room=True)
        sources = [source] if stdin else []
        companions = [source.tell_refusals, *companions] if stdin else companions
        service = Service(
            made, directory, settings, sources, logs, companions=companions, servers=servers
        )
        try:
            service.run()
        except BaseException as error:
            if not service.has_leftovers:
                raise
            failure = error
    finally:
        logs.close(PATIENCE_S)
    if service.has_leftovers:
        leave(_ended(source, directory) if failure is None else told(failure))
    return _ended(source, directory)


def _ended(source: LineSource, directory: Path) -> int:
    """Say how it went with stdin; the exit code of that."""
    counts = source.counts
    if counts.unreadable is not None:
        say(f"stdin cannot be read: {counts.unreadable.strerror}")
        return ExitCode.REFUSED_INPUT
    if counts.refused and counts.is_complete:
        kept = directory / REJECTED_NAME
        say(f"{counted(counts.refused, 'line')} of stdin refused, kept in {kept}")
        return ExitCode.REFUSED_INPUT
    return ExitCode.SUCCESS
