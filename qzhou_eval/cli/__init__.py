"""The command line: one file a command, heavy imports inside the commands."""

from __future__ import annotations

import io
import os
import sys
import traceback
from typing import NoReturn

from qzhou_eval.errors import UserError, one_line, plain
from qzhou_eval.interruption import Stopped

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 something failed, 2 wrong input."""
    from qzhou_eval.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows another in its place; nothing is lost.
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    sys.exit(_run(app, arguments, debug))


def _run(app: object, arguments: list[str], debug: bool) -> int:
    import click
    import typer

    command = typer.main.get_command(app)  # type: ignore[arg-type]
    try:
        result = command.main(arguments, prog_name="qzhou-eval", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # typer turns Ctrl-C into this exit code
            return _interrupted()
        return result if isinstance(result, int) else 0
    except UserError as error:
        if debug:
            traceback.print_exc()
        return _complain(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "qzhou-eval"
        message = error.format_message().replace(" (env var: 'None')", "")
        return _complain(f"{message} See {path} --help.")
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except SystemExit as ended:  # a command that has said its last word
        return ended.code if isinstance(ended.code, int) else 1
    except Stopped as stopped:
        _interrupted()
        return 128 + stopped.signal
    except BrokenPipeError:
        # The reader left, as `| head` does. Nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        message = f"{type(error).__name__}: {one_line(error)} (--debug shows where)"
        print(f"error: {message}", file=sys.stderr)
        return 1


def _interrupted() -> int:
    print("\ninterrupted; the same command goes on where it stopped", file=sys.stderr)
    return INTERRUPTED


def _complain(message: str) -> int:
    print("error: " + plain(message), file=sys.stderr)
    return 2
