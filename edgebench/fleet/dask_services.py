"""Runs the scheduler of a fleet or the worker of a board until it is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from edgebench.errors import StoreError, UsageError
from edgebench.fleet.board_tasks import state_folder
from edgebench.fleet.certificates import security_of
from edgebench.fleet.fleet_file import check_address, is_loopback

AGAIN_S: Final = 2.0  # between attempts to reach the scheduler
NAME_TAKEN_S: Final = 90.0  # as long as a scheduler may believe in a worker that was rebooted
#: Dask listens for HTTP whatever it is told: nobody but this machine reaches it, and it serves nothing.
_NO_DASHBOARD = "127.0.0.1:0"
#: A worker that measures must not be felt: no monitor looks around, and its clock ticks seldom.
QUIET: Final[dict[str, Any]] = {
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.comm.timeouts.connect": "10s",
    "distributed.worker.lifetime.duration": None,
}


def resource_of(device: str) -> str:
    """What a task asks for, so that this board runs it, and one at a time."""
    return f"board-{device}"


def quieten() -> None:
    """Dask as this process uses it: no monitors, and no log lines but those of edgebench."""
    import dask

    dask.config.set(QUIET)
    # Python, numpy and tornado may differ; what may not is compared by `board_runs.version_mismatch`
    warnings.filterwarnings("ignore", message="Mismatched versions found")
    for name in ("distributed", "distributed.core", "distributed.worker", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def serve_scheduler(
    address: str, certs: Path | None, insecure: bool, say: Callable[[str], None]
) -> None:
    """Until it is ended. Raises UsageError for an address that is open to others, or is taken."""
    check_address(address, insecure)
    security = security_of(certs)
    quieten()
    parts = urlsplit(address)

    async def serve() -> None:
        from distributed import Scheduler

        async with Scheduler(
            host=f"{parts.scheme}://{parts.hostname}",
            port=parts.port,
            security=security,
            dashboard=False,
            dashboard_address=_NO_DASHBOARD,
        ) as scheduler:
            say(f"scheduler: {scheduler.address}")
            await scheduler.finished()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise UsageError(
            f"{address}: cannot listen: {error.strerror or error}", "name another address or port"
        ) from None


def serve_worker(
    address: str, device: str, certs: Path | None, insecure: bool, say: Callable[[str], None]
) -> None:
    """Until it is ended; where the scheduler is gone, it is looked for again. Raises UsageError where another board has
    this name, or another worker runs here."""
    check_address(address, insecure)
    security = security_of(certs)
    quieten()
    lock = _only_one_here(device)
    attempts = Attempts(address, device, say)
    try:
        while True:
            try:
                asyncio.run(_work(address, device, security, say))
                attempts = Attempts(address, device, say)
            except (OSError, RuntimeError, ValueError, asyncio.TimeoutError, TimeoutError) as error:
                attempts.failed(error)
            time.sleep(AGAIN_S)
    finally:
        os.close(lock)


#: What Dask raises where it tried until its time was over, also where TLS refuses.
_SILENCE: Final = (asyncio.CancelledError, asyncio.TimeoutError, TimeoutError)


class Attempts:
    """Attempts of a worker to reach its scheduler: each new reason is said once."""

    def __init__(
        self,
        address: str,
        device: str,
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._device = address, device
        self._say, self._now = say, now
        self._told = ""
        self._taken_since: float | None = None

    def failed(self, error: BaseException) -> None:
        """Raises UsageError where another board has had this name for too long to be this one before a reboot."""
        why = _innermost(error)
        if "name taken" in why:
            self._taken_since = self._now() if self._taken_since is None else self._taken_since
            if self._now() - self._taken_since > NAME_TAKEN_S:
                raise UsageError(
                    f"another board is called {self._device!r} at {self._address}",
                    "give this one another --device",
                )
            why = f"the name {self._device!r} is taken there"
        elif isinstance(_first_cause(error), _SILENCE):
            others = ", or it has certificates of another `edgebench fleet certs`"
            why = f"nothing answers there{others * self._address.startswith('tls:')}"
        if why != self._told:
            self._say(f"waiting for {self._address}: {why}")
        self._told = why


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _innermost(error: BaseException) -> str:
    """One line of the first cause: Dask wraps it in "Worker failed to start"."""
    error = _first_cause(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


async def _work(address: str, device: str, security: Any, say: Callable[[str], None]) -> None:
    from distributed import Worker

    host = urlsplit(address).hostname or ""
    worker = await Worker(
        address,
        nthreads=1,
        name=device,
        resources={resource_of(device): 1},
        security=security,
        host="127.0.0.1" if is_loopback(host) else None,
        dashboard=False,
        dashboard_address=_NO_DASHBOARD,
        memory_limit=0,
        death_timeout=30,
        local_directory=str(state_folder() / "dask"),
    )
    say(f"worker {device}: {worker.address}, at {address}")
    await worker.finished()
    say(f"worker {device}: the scheduler is gone")


def _only_one_here(device: str) -> int:
    """A lock that this process holds. Raises UsageError where another worker has it."""
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(folder / "worker.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}", "make it writable") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise UsageError(
            f"another worker of a fleet runs on this machine ({folder})",
            f"end it first: a board measures one thing at a time, also as {device}",
        ) from None
    return fd
