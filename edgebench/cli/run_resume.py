"""`edgebench run --resume`: the last unfinished run is found again, and goes on as it was begun."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import click
import msgspec
from click.core import ParameterSource

from edgebench.cli.run_options import Options
from edgebench.errors import StoreError, UsageError
from edgebench.plan import Cell
from edgebench.record import DeviceFacts, RunFacts
from edgebench.store import JournalHead, RunStore, result_files, unfinished


def head(
    run: RunFacts, options: Options, cells: Sequence[Cell], device: DeviceFacts
) -> JournalHead:
    return JournalHead(
        run_id=run.id,
        started_utc=run.started_utc,
        options=msgspec.to_builtins(options),
        cells=[cell.id for cell in cells],
        device=device.name,
    )


def typed_in(context: click.Context) -> set[str]:
    """Names of the parameters that were given on the command line."""
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


#: Parameter of the command -> what it decides, which stays as it was when a run is resumed.
FIXED = {
    "names": ("workloads",),
    "suite": ("suite",),
    "folders": ("folders",),
    "model": ("model",),
    "shapes": ("shapes",),
    "reference": ("reference",),
    "task": ("task",),
    "backends": ("backends",),
    "sets": ("sets",),
    "set_power_mode": ("set_power_mode",),
    "scenarios": ("scenarios",),
    "rate": ("rate_per_s",),
    "target": ("settings.target",),
    "percentile": ("settings.percentile",),
    "replicates": ("settings.replicates", "settings.max_replicates"),
    "reruns": ("settings.reruns",),
    "slice_": ("settings.slice_s",),
    "sustain": ("settings.sustain_s",),
    "timeout": ("settings.time_out_s",),
    "memory_limit": ("settings.memory_limit_bytes",),
    "estimate": ("estimate",),
    "energy_markers": ("energy_markers",),
    "energy_root": ("energy_root",),
    "seed": ("settings.seed",),
    "devices": ("devices",),
    "strict": ("settings.strict",),
}
#: The others: where the run is, how it is shown, and the time there is for the rest of it.
FREE = {"out", "no_save", "resume", "form", "budget"}


def reopen(out: Path, options: Options, typed: set[str]) -> tuple[RunStore | None, Options]:
    """The last unfinished run below `out`, and its options; a new budget is allowed."""
    journals = unfinished(out) if out.is_dir() else []
    if not journals:
        return None, options
    store = RunStore.resume(journals[-1])
    kept = msgspec.convert(store.head.options, Options)
    for field in (field for parameter in FIXED if parameter in typed for field in FIXED[parameter]):
        was, asked = attrgetter(field)(kept), attrgetter(field)(options)
        if was != asked:
            store.close()
            raise UsageError(
                f"the run to resume has {field.removeprefix('settings.')} {was}, not {asked}",
                "resume it with --resume alone, or start a new run without --resume",
            )
    # Time that was spent before the kill is gone: the budget starts again.
    settings = kept.settings
    if "budget" in typed:
        settings = msgspec.structs.replace(
            settings, budget_s=options.settings.budget_s, hard_budget=True
        )
    return store, msgspec.structs.replace(kept, settings=settings)


def last_complete(out: Path) -> Path | None:
    files = result_files(out) if out.is_dir() else []
    return files[-1] if files else None


def check_same_plan(store: RunStore, cells: Sequence[Cell]) -> None:
    ids = [cell.id for cell in cells]
    if ids != store.head.cells:
        store.close()
        raise StoreError(
            f"{store.journal}: the definitions changed since: other cells are planned now",
            "start a new run",
        )
