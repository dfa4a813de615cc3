"""The command `penin`: what it understands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final, NamedTuple

import typer
from typer.exceptions import TyperException

import penin
from penin.cli import help  # noqa: A004  # the texts of --help
from penin.cli.ending import told
from penin.cli.exits import ExitCode
from penin.cli.terminal import print_out, reserve_standard_descriptors, say


class _Command(NamedTuple):
    """The words of a command, its help, and where its function is, imported when it is wanted."""

    words: str
    help: str
    module: str
    function: str


_COMMANDS: Final = (
    _Command("run", help.RUN, "penin.cli.run", "run"),
    _Command("send", help.SEND, "penin.cli.send", "send"),
    _Command("status", help.STATUS, "penin.cli.status", "status"),
    _Command("tail", help.TAIL, "penin.cli.tail", "tail"),
    _Command("top", help.TOP, "penin.cli.top", "top"),
    _Command("inspect", help.INSPECT, "penin.cli.inspect", "inspect"),
    _Command("get", help.GET, "penin.cli.get", "get"),
    _Command("diff", help.DIFF, "penin.cli.diff", "diff"),
    _Command("nearest", help.NEAREST, "penin.cli.nearest", "nearest"),
    _Command("checkpoint", help.CHECKPOINT, "penin.cli.checkpoint", "checkpoint"),
    _Command("checkpoints", help.CHECKPOINTS, "penin.cli.checkpoints", "checkpoints"),
    _Command("restore", help.RESTORE, "penin.cli.restore", "restore"),
    _Command("backup", help.BACKUP, "penin.cli.backup", "backup"),
    _Command("migrate", help.MIGRATE, "penin.cli.migrate", "migrate"),
    _Command("convert", help.CONVERT, "penin.cli.convert", "convert"),
    _Command("import", help.IMPORT, "penin.cli.import_", "import_"),
    _Command("export", help.EXPORT, "penin.cli.export", "export"),
    _Command("rekey", help.REKEY, "penin.cli.rekey", "rekey"),
    _Command("rejected", help.REJECTED, "penin.cli.rejected", "rejected"),
    _Command("verify", help.VERIFY, "penin.cli.verify", "verify"),
    _Command("repair", help.REPAIR, "penin.cli.repair", "repair"),
    _Command("ledger verify", help.LEDGER_VERIFY, "penin.cli.ledger", "verify"),
    _Command("ledger head", help.LEDGER_HEAD, "penin.cli.ledger", "head"),
    _Command("ledger keygen", help.LEDGER_KEYGEN, "penin.cli.ledger_signed", "keygen"),
    _Command("ledger show", help.LEDGER_SHOW, "penin.cli.ledger", "show"),
    _Command("ledger export", help.LEDGER_EXPORT, "penin.cli.ledger", "export"),
)
COMMANDS: Final = tuple(command.words for command in _COMMANDS)
_FIRST_WORDS: Final = {words.partition(" ")[0] for words in COMMANDS}
_HELP: Final = ("-h", "--help")
_HELP_OPTION: Final = {"help_option_names": list(_HELP)}
_VERSION: Final = "--version"


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # typer calls it with the value
    if wanted:
        print_out(f"penin {penin.__version__}\n")
        raise typer.Exit


def options(
    *,
    version: Annotated[  # its callback has done all there is to do
        bool,
        typer.Option(_VERSION, callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """What stands before a command."""


def app_of(first_word: str | None = None) -> typer.Typer:
    """The commands that begin with this word, or all. Nothing is imported for the others."""
    # No rich help: in a terminal of 80 columns it cuts the names of options and variables short.
    app = typer.Typer(
        name="penin",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=_HELP_OPTION,
        help=help.PENIN,
        epilog=help.EPILOG,
    )
    app.callback()(options)
    ledger = typer.Typer(
        rich_markup_mode=None, help=help.LEDGER, context_settings=_HELP_OPTION, add_completion=False
    )
    for command in _COMMANDS:
        group, _, name = command.words.rpartition(" ")
        if first_word in (None, group or name):
            function = getattr(import_module(command.module), command.function)
            to = ledger if group else app
            to.command(name=name, help=command.help, context_settings=_HELP_OPTION)(function)
    if ledger.registered_commands:
        app.add_typer(ledger, name="ledger")
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code. Only a bug has a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in {*_FIRST_WORDS, *_HELP, _VERSION}:
        words.insert(0, "run")
    reserve_standard_descriptors()
    try:
        command = typer.main.get_command(app_of(None if words[0] in _HELP else words[0]))
        ended = command.main(args=words, prog_name="penin", standalone_mode=False)
    except TyperException as error:
        say(f"{_sentence(error)} (penin {words[0]} --help tells more)")
        return ExitCode.USAGE
    except KeyboardInterrupt as error:  # before the signals are received, or after
        return told(error)
    except Exception as error:  # noqa: BLE001  # the one place for bugs of ours
        return told(error)
    return ended if isinstance(ended, int) else ExitCode.SUCCESS


def _sentence(error: TyperException) -> str:
    """What typer says about a mistake, in one line."""
    return " ".join(error.format_message().split()).replace("Value error, ", "").rstrip(".")
