"""Calls tasks of boards through Dask's client, says why where that fails, and reconnects by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edgebench.fleet.board_tasks import Answer
from edgebench.fleet.certificates import security_of
from edgebench.fleet.dask_services import quieten, resource_of

CALL_TIMEOUT_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 8.0


class LinkError(Exception):
    """A call did not come back: the board, the scheduler or the network is not there. It may be made again."""


class DistrustError(Exception):
    """The scheduler's certificate and those here do not fit each other: no later call does better."""


class Link:
    """One connection to the scheduler, for all boards and threads."""

    def __init__(self, address: str, certs: Path | None) -> None:
        quieten()
        self._address = address
        self._security = security_of(certs)
        self._client: Any = None
        self._lock = threading.Lock()

    def call(
        self,
        board: str,
        task: Callable[..., Answer],
        *values: Any,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Answer:
        """The answer of a task on a board. Raises LinkError, or DistrustError."""
        client = self._connected()
        future = None
        try:
            if board not in self._boards(client):
                raise LinkError(f"no worker --device {board}")
            future = client.submit(task, *values, resources={resource_of(board): 1}, pure=False)
            answer: Answer = future.result(timeout=timeout_s)
            return answer
        except LinkError:
            raise
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes; all may be called again
            if not self._is_alive(client):
                self._drop(client)
                raise LinkError("the scheduler is gone") from None
            raise LinkError(f"no answer: {_words(error)}") from None
        finally:
            if future is not None:
                with contextlib.suppress(Exception):
                    future.release() if future.done() else future.cancel(force=True)

    def _connected(self) -> Any:
        """Raises LinkError where there is no scheduler, DistrustError where it is not ours."""
        with self._lock:
            if self._client is not None and self._is_alive(self._client):
                return self._client
            self._close()
            from distributed import Client
            from distributed.comm.core import FatalCommClosedError

            try:
                self._client = Client(
                    self._address,
                    security=self._security,
                    timeout=CONNECT_TIMEOUT_S,
                    set_as_default=False,
                )
            except FatalCommClosedError:
                raise DistrustError(
                    f"{self._address} has certificates of another `edgebench fleet certs`, or began with expired ones"
                ) from None
            except Exception as error:  # noqa: BLE001
                raise LinkError(f"no scheduler at {self._address}: {_words(error)}") from None
            return self._client

    @staticmethod
    def _boards(client: Any) -> set[str]:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        return {str(worker["name"]) for worker in workers}

    @staticmethod
    def _is_alive(client: Any) -> bool:
        comm = getattr(client, "scheduler_comm", None)
        return client.status == "running" and comm is not None and not comm.comm.closed()

    def _drop(self, client: Any) -> None:
        with self._lock:
            if self._client is client:
                self._close()

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close(timeout=1)

    def close(self) -> None:
        """Lets go of the scheduler; boards go on."""
        with self._lock:
            self._close()


def _words(error: Exception) -> str:
    """One line of what Dask raised."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
