"""`edgebench energy watch`: the rails of this machine's meter, and the energy of a while."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.options import FiniteRange, format_option, sysroot_option
from edgebench.text.plain_text import plain, say

if TYPE_CHECKING:
    from edgebench.energy.meter_watch import Watch
    from edgebench.energy.source import EnergySource, NoEnergy
    from edgebench.render.wrapping import Line

_SECONDS = 2.0  # where nobody looks
_UNTIL_INTERRUPTED_S = 86_400.0
_NO_ENERGY = {"energy_j": None, "window_s": None, "uncertainty_j": None, "status": "unavailable"}


@click.command(
    "watch",
    epilog="Exit codes: 0 also if energy is unavailable (status and reason say so); 2 wrong option.",
)
@sysroot_option("Read the copy of another machine's /proc and /sys in DIR.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0.05, max=_UNTIL_INTERRUPTED_S),
    metavar="N",
    help="How many seconds to watch.  [default: until Ctrl-C on a terminal, else 2]",
)
@format_option()
def command(sysroot: Path | None, seconds: float | None, form: str) -> None:
    """Show the power of each rail of this machine's energy meter, and the energy of the time watched.

    The meter, and the rails that make up its total, are those that `run` would use. This is a quick
    look and no measurement: it reads the meter from this process, and also accepts meters that are
    too slow for the time watched.

    \b
    Example:
      edgebench energy watch --seconds 5
    """
    from edgebench.api.energy_source import find_here
    from edgebench.energy.source import EnergySource, NoEnergy, not_opened

    source = find_here(sysroot)
    if isinstance(source, EnergySource):
        try:
            source.open()
        except OSError as error:
            source = not_opened(source, error)
    if isinstance(source, NoEnergy):
        fix = f"; fix: {source.fix}" if source.fix else ""
        _say(form, _unavailable(source), f"{source.detail}{fix}")
        return
    with contextlib.closing(source):
        _watch(source, seconds, form)


def _watch(source: EnergySource, seconds: float | None, form: str) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from edgebench.energy.meter_watch import Watch

    watch = Watch(source)
    live = form == "table" and sys.stdout.isatty()
    limit_s = seconds or (_UNTIL_INTERRUPTED_S if live else _SECONDS)
    with contextlib.suppress(KeyboardInterrupt):  # what was seen until then is shown
        if live:
            with Live(console=Console(), auto_refresh=False, transient=True) as screen:
                watch.run(
                    limit_s, lambda: screen.update(Text(_live_text(source, watch)), refresh=True)
                )
        else:
            watch.run(limit_s)
    took_s = min(limit_s, watch.elapsed_s())
    answer, detail = _answer(source, watch, took_s)
    _say(form, answer, detail, _rails(source, watch), source.caveats)


def _answer(source: EnergySource, watch: Watch, seconds: float) -> tuple[dict[str, Any], str]:
    """The JSON, and the words that it has no key for."""
    from edgebench.energy.energy_window import Refused

    energy = watch.energy(seconds)
    answer = {
        "source": source.name,
        "kind": source.kind,
        "scope": source.scope,
        "total_rail": source.total_rail,
        "rails": [{"name": rail.name, "w": rail.w} for rail in watch.rails()],
    }
    if isinstance(energy, Refused):
        return {**answer, **_NO_ENERGY, "reason": energy.reason}, energy.detail
    measured = {name: getattr(energy, name) for name in ("energy_j", "window_s", "uncertainty_j")}
    return {**answer, **measured, "status": "ok", "reason": ""}, ""


def _unavailable(reason: NoEnergy) -> dict[str, Any]:
    nothing = dict.fromkeys(("source", "kind", "scope", "total_rail"))
    return {**nothing, "rails": [], **_NO_ENERGY, "reason": reason.reason}


def _say(
    form: str,
    answer: dict[str, Any],
    detail: str,
    rails: Sequence[Line] = (),
    notes: Sequence[str] = (),
) -> None:
    if form == "json":
        import json

        click.echo(json.dumps(answer, indent=2))
        if detail:
            say(f"edgebench: energy unavailable ({answer['reason']}): {detail}")
        for note in notes:
            say(f"edgebench: note: {note}")
        return
    from edgebench.render.console import paint
    from edgebench.render.wrapping import wrapped

    told = [*_summary(answer, detail), *(f"note: {note}" for note in notes)]
    paint(
        lambda width: [*rails, *(line for text in told for line in wrapped(text, width, None))],
        sys.stdout,
    )


def _summary(answer: dict[str, Any], detail: str) -> Iterator[str]:
    if answer["status"] != "ok":
        yield f"Energy unavailable ({answer['reason']}): {detail}"
        return
    mean_w = answer["energy_j"] / answer["window_s"]
    yield (
        f"{answer['energy_j']:.4g} J ±{answer['uncertainty_j']:.2g} J in {answer['window_s']:.3g} s "
        f"= {mean_w:.4g} W"
    )
    yield f"{answer['total_rail']}: {answer['scope']}, {answer['kind']}"


def _rails(source: EnergySource, watch: Watch) -> list[Line]:
    from edgebench.render.text_grid import Column, GridRow, grid

    columns = [
        Column(f"{source.name} rail", right=False),
        Column("W now"),
        Column("W mean"),
        Column("in the total", right=False),
    ]
    rows = []
    for rail in watch.rails():
        powers = ["-" if power is None else f"{power:.3f}" for power in (rail.now_w, rail.w)]
        rows.append(GridRow(plain(rail.name), [*powers, "yes" if rail.counted else ""]))
    return list(grid(columns, rows, width=None))


def _live_text(source: EnergySource, watch: Watch) -> str:
    return "\n".join(text for text, _ in _rails(source, watch))
