"""A connection to Ray: to a cluster, or to an instance of our own that leaves nothing behind."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import ray

from pipeline.execution.executor import describe
from pipeline.ray.address import ADDRESS_VARIABLE, resolve_address
from pipeline.ray.cluster import can_connect

OBJECT_STORE_BYTES = 80 * 2**20  # the least that Ray accepts: nothing of size goes through it
CONNECTION_SECONDS = 10.0
ATTEMPTS, ATTEMPTS_VARIABLE = 2, "RAY_gcs_server_port_wait_time_s"
"""How often Ray tries to connect to a head. It calls the number seconds, but each attempt takes forty."""
TOKEN_ADVICE = "a cluster that wants a token needs RAY_AUTH_MODE=token here; one of another Ray version does not answer"


@contextmanager
def ray_session(address: str | None) -> Iterator[str]:
    """Connected to the cluster at `address`; without one, to that of the environment variable RAY_ADDRESS, as it is set
    in a job of Ray's; without that, or with "local", to an instance that ends with the block. Yields HOST:PORT of the
    head.

    Raises ConnectionError when there is no Ray to be had.
    """
    address = resolve_address(address, os.environ.get(ADDRESS_VARIABLE, ""))
    with ExitStack() as held:
        try:
            # Ray puts the driver's working directory first on every worker's `sys.path`: a user's own `storage/` or
            # `pipeline.py` there would be imported instead of ours. Workers live in it, so that it lasts as they do.
            empty = held.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            held.enter_context(_raylets_kept_quiet())
            with _working_directory(empty), _signal_handlers_kept():
                if address != "local":
                    _refuse_unreachable(address)
                    with _few_attempts():
                        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
                else:
                    own_directory = held.enter_context(_own_directory())
                    ray.init(
                        address="local",
                        num_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
                        include_dashboard=False,
                        object_store_memory=OBJECT_STORE_BYTES,
                        logging_level=logging.ERROR,
                        log_to_driver=False,
                        _temp_dir=str(own_directory),
                    )
        except Exception as error:  # Ray raises no less where a node is slow to start
            where = {"local": "this machine", "auto": "the cluster of this machine"}.get(address, address)
            # It is known by now that somebody listens there.
            advice = f" ({TOKEN_ADVICE})" if str(error).startswith("Failed to connect") else ""
            raise ConnectionError(f"Ray at {where}: {describe(error)}{advice}") from None
        try:
            yield address if address.startswith("ray://") else ray.get_runtime_context().gcs_address
        finally:
            with _signal_handlers_kept():
                ray.shutdown()


def is_own_instance(address: str | None) -> bool:
    """Whether `ray_session` would bring up an instance of our own, which has what this machine has and never more."""
    return resolve_address(address, os.environ.get(ADDRESS_VARIABLE, "")) == "local"


def _refuse_unreachable(address: str) -> None:
    """Raises ConnectionError at once where Ray would try for minutes, and then end the process."""
    known = clusters_here() if address == "auto" else {address}
    errors = {each: can_connect(each, CONNECTION_SECONDS) for each in sorted(known)}
    if errors and None not in errors.values():
        refusals = "; ".join(f"{each}: {error}" for each, error in errors.items())
        raise ConnectionError(f"nobody answers ({refusals})")


def clusters_here() -> set[str]:
    """Where "auto" would look: Ray keeps the address of this machine's latest cluster after its end, too."""
    try:
        from ray._private.services import canonicalize_bootstrap_address, find_gcs_addresses
    except ImportError:  # they are Ray's own affair; without them a cluster that is gone is noticed later
        return set()
    recorded = canonicalize_bootstrap_address("auto")
    return {*find_gcs_addresses(), *([recorded] if recorded else [])}


@contextmanager
def _few_attempts() -> Iterator[None]:
    """By itself Ray tries twenty times to reach a head that was lost just after it was found. One that is merely slow
    answers within the first attempt."""
    if ATTEMPTS_VARIABLE in os.environ:
        yield
        return
    os.environ[ATTEMPTS_VARIABLE] = str(ATTEMPTS)
    try:
        yield
    finally:
        del os.environ[ATTEMPTS_VARIABLE]


@contextmanager
def _working_directory(path: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _raylets_kept_quiet() -> Iterator[None]:
    """Ray prints pages of a raylet's state where a node is lost, whatever it was told of logs; what happened to our
    workers is said in a line."""
    printing = getattr(ray._private.worker, "print_to_stdstream", None)
    if printing is None:
        yield
        return
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        ray._private.worker.print_to_stdstream = printing


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray sets its own, which would end the driver without tidying up."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _own_directory() -> Iterator[Path]:
    """Where our Ray instance keeps its sockets (whose paths must be short) and logs. It is locked while in use, so that
    what a killed driver left behind can be told and is removed."""
    root = Path("/tmp") if os.path.isdir("/tmp") else Path(tempfile.gettempdir())
    for old in root.glob("ltrp-ray-*"):
        with suppress(OSError), _locked(old):
            shutil.rmtree(old)
    own = tempfile.TemporaryDirectory(prefix="ltrp-ray-", dir=root, ignore_cleanup_errors=True)
    with own as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Raises BlockingIOError when another process holds it."""
    with open(directory / "in-use", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
