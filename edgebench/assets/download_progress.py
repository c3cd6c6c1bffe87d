"""Shows the progress of a download on stderr: a bar on a terminal, a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from edgebench.text.plain_text import plain
from edgebench.units import format_bytes

#: Told what is fetched, how many bytes of it are here, and of how many (None: unknown). The last
#: call for a thing has both equal, and means that it is dealt with.
Progress = Callable[[str, int, int | None], None]


#: Where there is no terminal, a download tells so often how far it is.
LINE_EVERY_S = 15.0


@contextmanager
def terminal_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Shows progress on stderr: bars where that is a terminal, else a line per download, and one more each 15 s.

    `NO_COLOR` is honoured. Nothing is printed before there is something to wait for.
    """
    out = stream or sys.stderr
    if out.isatty():
        with _bars(out) as progress:
            yield progress
    else:
        yield line_progress(lambda text: print(text, file=out, flush=True))


def line_progress(
    write: Callable[[str], None], now: Callable[[], float] = time.monotonic
) -> Progress:
    """A line to `write` per download, and one more each 15 s."""
    told_s: dict[str, float] = {}

    def progress(what: str, done_bytes: int, total_bytes: int | None) -> None:
        if what not in told_s:
            write(plain(f"fetching {what}"))
        elif now() - told_s[what] < LINE_EVERY_S or done_bytes == total_bytes:
            return
        else:
            total = "" if total_bytes is None else f" of {format_bytes(total_bytes)}"
            write(plain(f"fetching {what}: {format_bytes(done_bytes)}{total}"))
        told_s[what] = now()

    return progress


@contextmanager
def _bars(out: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(20), DownloadColumn())
    with Bars(
        *columns, TransferSpeedColumn(), console=Console(file=out), refresh_per_second=4
    ) as bars:
        tasks = {}

        def progress(what: str, done_bytes: int, total_bytes: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(plain(f"fetching {what}")[:44], total=None)
            bars.update(tasks[what], completed=done_bytes, total=total_bytes)

        yield progress
