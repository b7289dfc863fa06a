"""Programs as `python -c` runs them, without the seconds that torch and Ray take to import.

Each is forked from a process that has imported them, and is a process like any other: with a number, killed by signals.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

COMMAND = "from pipeline.cli import main; main(prog_name='ltrp-pipeline')"
IMPORTED = [
    *("pipeline.cli", "pipeline.shard_run", "pipeline.training_run", "pipeline.ray.executor", "webdataset"),
    *("stages.score", "stages.train_ranker", "stages.train_task", "stages.evaluate_task"),
]
"""What takes longest of what programs import."""


class ForkedProgram:
    """`code` with `arguments`, as in `python -c`; standard input is empty, both outputs are kept as one."""

    def __init__(
        self, code: str, *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._printed = tempfile.NamedTemporaryFile()  # noqa: SIM115 (lasts as long as this object)
        given = dict(os.environ if environment is None else environment)
        self._process = context.Process(
            target=_run, args=(code, arguments, str(folder or Path.cwd()), given, self._printed.name)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def ended(self, seconds: float = 300) -> tuple[int, str]:
        """Its exit status, and what it printed. Raises subprocess.TimeoutExpired while it runs."""
        self._process.join(seconds)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("a forked program", seconds)
        return status, self.printed()

    def printed(self) -> str:
        return Path(self._printed.name).read_text()


def _run(code: str, arguments: tuple[str, ...], folder: str, environment: dict[str, str], printed: str) -> None:
    output = os.open(printed, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
