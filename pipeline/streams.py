"""Where output goes: readers that end early (`| head`), streams that are closed, names that are not text."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import IO

STANDARD = (0, 1, 2)


def prepare_streams() -> None:
    """Before anything is opened or written."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened gets its number, and whatever somebody prints
            os.open(os.devnull, os.O_RDWR)
    # None where Python found them closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what cannot be written otherwise
            stream.reconfigure(errors="backslashreplace")


def reader_is_gone(*others: IO[str]) -> bool:
    """Whether nobody reads any more what is written to standard output or error, or to `others`; they then lead
    nowhere, so that nothing complains of it at the interpreter's end."""
    gone = [stream for stream in (sys.stdout, sys.stderr, *others) if _is_broken(stream)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in gone:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return bool(gone)


def _is_broken(stream: object) -> bool:
    if not isinstance(stream, io.TextIOWrapper):
        return False
    with contextlib.suppress(OSError, ValueError):  # without a descriptor, or closed
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))
    return False
