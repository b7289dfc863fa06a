"""The command line: `ltrp-pipeline`."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
import cloup
from click.shell_completion import CompletionItem

from pipeline.commands import COMMANDS, command_of
from pipeline.help import CONTEXT
from pipeline.hints import same_command
from pipeline.packages import refuse_others_packages
from pipeline.streams import prepare_streams, reader_is_gone

DEBUG_VARIABLE = "LTRP_PIPELINE_DEBUG"
READER_GONE = 128 + signal.SIGPIPE
"""Exit status of what shells show for programs whose reader ended."""


class Fault(click.ClickException):
    """A mistake of ours."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h: not 1, which says that a shard failed or a store is damaged

    def __init__(self, error: Exception) -> None:
        what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
        super().__init__(f"a fault of ltrp-pipeline: {what}; {DEBUG_VARIABLE}=1 shows where; please report it")


class Group(cloup.Group):
    """Commands whose users see messages, never tracebacks (unless they set LTRP_PIPELINE_DEBUG)."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        prepare_streams()
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:  # while a message was written
            if not reader_is_gone():
                raise
            raise SystemExit(READER_GONE) from None

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _messages():
            refuse_others_packages()
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _messages(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return command_of(name) if name in COMMANDS else None

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        return super().handle_bad_command_name(bad_name, list(COMMANDS), error)

    # These go by the table, so that not all commands are imported.

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name].help) for name in names] or super().shell_complete(
            ctx, incomplete
        )


@cloup.group(cls=Group, context_settings=CONTEXT)
@click.version_option(package_name="ltrp-pipeline")
def main() -> None:
    """Which patches of an image matter: scores computed once, and models that learn from them.

    \b
    images   --shard-->         tars with an index
    tars     --score-->         scores of every patch in a Zarr store; by an MAE, published or of pretrain-mae
    scores   --train-ranker-->  a ranker, which needs no MAE; evaluate-ranker says how good it is, show draws it
    tars     --rank-->          the ranker's scores, in a store too; status and verify say what is in stores
    ranks    --train-task-->    downstream models that see the best patches alone; coverage says what these show,
                                compare puts results beside each other
    all of it: run, with the settings in pipeline.yaml; to see it work: demo; a page about it: report
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")


@contextmanager
def _messages(ctx: click.Context | None = None) -> Iterator[None]:
    """What goes wrong inside, in a command of `ctx`, becomes a message and an exit status."""
    stopped_by = _stop_on_sigterm()
    try:
        yield
    except KeyboardInterrupt:
        name = ctx.invoked_subcommand if ctx else None
        resumes = name is not None and COMMANDS[name].resumes
        told = "Finished work is kept; to resume" if resumes else "To start again"
        click.echo(f"\nStopped. {told}: {same_command()}", err=True)
        raise click.exceptions.Exit(128 + (stopped_by or [signal.SIGINT])[0]) from None
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            raise click.exceptions.Exit(READER_GONE) from None
        if os.environ.get(DEBUG_VARIABLE):
            raise
        raise _explained(error) from None


def _explained(error: Exception) -> click.ClickException:
    if isinstance(error, ImportError):
        return click.ClickException(f"{error}; expected all that ltrp-pipeline needs: pip install ltrp-pipeline")
    # torch has errors of its own where memory is short, and is not imported for their sake
    is_memory = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if isinstance(error, OSError):
        from storage.file_errors import in_words  # after our packages were seen to be ours

        return click.ClickException(in_words(error))
    if isinstance(error, (ValueError, MemoryError)) or is_memory:
        return click.ClickException(str(error) or type(error).__name__)
    return Fault(error)


def _stop_on_sigterm() -> list[int]:
    """Makes SIGTERM end a run as tidily as Ctrl-C does. The list gets the signal's number when it comes."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        received.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    return received
