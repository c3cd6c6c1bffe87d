"""How far a download is: a bar on a terminal, a line elsewhere; on stderr, since stdout is results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

#: Told what is fetched, how many bytes of it are here, and of how many (None: unknown). The last
#: call for a thing has both equal, and means that it is dealt with.
Progress = Callable[[str, int, int | None], None]


@contextmanager
def terminal_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Shows progress on stderr: bars where that is a terminal, else one line per download.

    `NO_COLOR` is honoured. Nothing is printed before there is something to wait for.
    """
    out = stream or sys.stderr
    if out.isatty():
        with _bars(out) as progress:
            yield progress
    else:
        yield _lines(out)


def _lines(out: TextIO) -> Progress:
    seen: set[str] = set()

    def progress(what: str, done_bytes: int, total_bytes: int | None) -> None:
        if what not in seen:
            seen.add(what)
            print(f"fetching {what}", file=out, flush=True)

    return progress


@contextmanager
def _bars(out: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn())
    with Bars(
        *columns, TransferSpeedColumn(), console=Console(file=out), refresh_per_second=4
    ) as bars:
        tasks = {}

        def progress(what: str, done_bytes: int, total_bytes: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"fetching {what}"[:44], total=None)
            bars.update(tasks[what], completed=done_bytes, total=total_bytes)

        yield progress
