"""The command `penin`: what it understands, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

import penin
from penin.cli import help, ledger  # noqa: A004  # the texts of --help
from penin.cli.backup import backup
from penin.cli.checkpoint import checkpoint
from penin.cli.checkpoints import checkpoints
from penin.cli.convert import convert
from penin.cli.diff import diff
from penin.cli.ending import told
from penin.cli.exits import ExitCode
from penin.cli.export import export
from penin.cli.get import get
from penin.cli.import_ import import_
from penin.cli.inspect import inspect
from penin.cli.ledger_signed import keygen
from penin.cli.migrate import migrate
from penin.cli.nearest import nearest
from penin.cli.rejected import rejected
from penin.cli.rekey import rekey
from penin.cli.repair import repair
from penin.cli.restore import restore
from penin.cli.run import run
from penin.cli.send import send
from penin.cli.status import status
from penin.cli.tail import tail
from penin.cli.terminal import print_out, reserve_standard_descriptors, say
from penin.cli.top import top
from penin.cli.verify import verify

_HELP_OPTION: Final = {"help_option_names": ["-h", "--help"]}

# No rich help: in a terminal of 80 columns it cuts the names of options and variables short.
app: Final = typer.Typer(
    name="penin",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_HELP_OPTION,
    help=help.PENIN,
    epilog=help.EPILOG,
)
app.command(help=help.RUN, context_settings=_HELP_OPTION)(run)
app.command(help=help.SEND, context_settings=_HELP_OPTION)(send)
app.command(help=help.STATUS, context_settings=_HELP_OPTION)(status)
app.command(help=help.TAIL, context_settings=_HELP_OPTION)(tail)
app.command(help=help.TOP, context_settings=_HELP_OPTION)(top)
app.command(help=help.INSPECT, context_settings=_HELP_OPTION)(inspect)
app.command(help=help.GET, context_settings=_HELP_OPTION)(get)
app.command(help=help.DIFF, context_settings=_HELP_OPTION)(diff)
app.command(help=help.NEAREST, context_settings=_HELP_OPTION)(nearest)
app.command(help=help.CHECKPOINT, context_settings=_HELP_OPTION)(checkpoint)
app.command(help=help.CHECKPOINTS, context_settings=_HELP_OPTION)(checkpoints)
app.command(help=help.RESTORE, context_settings=_HELP_OPTION)(restore)
app.command(help=help.BACKUP, context_settings=_HELP_OPTION)(backup)
app.command(help=help.MIGRATE, context_settings=_HELP_OPTION)(migrate)
app.command(help=help.CONVERT, context_settings=_HELP_OPTION)(convert)
app.command(name="import", help=help.IMPORT, context_settings=_HELP_OPTION)(import_)
app.command(help=help.EXPORT, context_settings=_HELP_OPTION)(export)
app.command(help=help.REKEY, context_settings=_HELP_OPTION)(rekey)
app.command(help=help.REJECTED, context_settings=_HELP_OPTION)(rejected)
app.command(help=help.VERIFY, context_settings=_HELP_OPTION)(verify)
app.command(help=help.REPAIR, context_settings=_HELP_OPTION)(repair)
_ledger: Final = typer.Typer(
    rich_markup_mode=None, help=help.LEDGER, context_settings=_HELP_OPTION, add_completion=False
)
_ledger.command(help=help.LEDGER_VERIFY, context_settings=_HELP_OPTION)(ledger.verify)
_ledger.command(help=help.LEDGER_HEAD, context_settings=_HELP_OPTION)(ledger.head)
_ledger.command(help=help.LEDGER_KEYGEN, context_settings=_HELP_OPTION)(keygen)
_ledger.command(help=help.LEDGER_SHOW, context_settings=_HELP_OPTION)(ledger.show)
_ledger.command(help=help.LEDGER_EXPORT, context_settings=_HELP_OPTION)(ledger.export)
app.add_typer(_ledger, name="ledger")

COMMANDS: Final = (
    "run",
    "send",
    "status",
    "tail",
    "top",
    "inspect",
    "get",
    "diff",
    "nearest",
    "checkpoint",
    "checkpoints",
    "restore",
    "backup",
    "verify",
    "repair",
    "migrate",
    "convert",
    "import",
    "export",
    "rekey",
    "rejected",
    "ledger verify",
    "ledger head",
    "ledger keygen",
    "ledger show",
    "ledger export",
)
_FIRST_WORDS: Final = {command.partition(" ")[0] for command in COMMANDS}
_OWN_OPTIONS: Final = ("--help", "-h", "--version")


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # typer calls it with the value
    if wanted:
        print_out(f"penin {penin.__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[  # its callback has done all there is to do
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """What stands before a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code. Only a bug has a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in (*_FIRST_WORDS, *_OWN_OPTIONS):
        words.insert(0, "run")
    reserve_standard_descriptors()
    command = typer.main.get_command(app)
    try:
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
