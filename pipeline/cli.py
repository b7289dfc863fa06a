"""The command line: `ltrp-pipeline`."""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline.commands import COMMANDS
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


class Group(click.Group):
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
        with _messages():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: no command is imported."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name].help) for name in names] or super().shell_complete(
            ctx, incomplete
        )


class Commands(MutableMapping[str, click.Command]):
    """Those of the table, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        function = name.replace("-", "_")
        module = importlib.import_module(COMMANDS[name].module or f"pipeline.commands.{function}")
        return getattr(module, function)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __setitem__(self, name: str, command: click.Command) -> None:
        raise TypeError("commands stand in pipeline.commands")

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands stand in pipeline.commands")


@click.group(cls=Group, commands=Commands(), context_settings=CONTEXT)
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
    all of it: run, with the settings in pipeline.yaml; to see it work: demo
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")


@contextmanager
def _messages() -> Iterator[None]:
    """What goes wrong inside becomes a message and an exit status."""
    stopped_by = _stop_on_sigterm()
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nStopped. What is finished is kept; to go on: {same_command()}", err=True)
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
        return click.ClickException(f"{error}; the commands need: pip install 'ltrp-pipeline[all]'")
    # torch has errors of its own where memory is short, and is not imported for their sake
    is_memory = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if isinstance(error, (ValueError, OSError, MemoryError)) or is_memory:
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
