"""Finds the last unfinished run and continues it with its own options (`edgebench run --resume`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from edgebench import registry
from edgebench.api.run_options import Options
from edgebench.assets import file_sha256
from edgebench.backend import Ready
from edgebench.definitions.variant_matrix import unique
from edgebench.errors import EdgebenchError, StoreError, UsageError
from edgebench.planning.cells import Cell
from edgebench.planning.run_parameters import RUN_OPTIONS
from edgebench.record import DeviceFacts, Record, RunFacts
from edgebench.store import JournalHead, RunStore, read_records, result_files, unfinished
from edgebench.tasks import task_file


def head(
    run: RunFacts, options: Options, cells: Sequence[Cell], device: DeviceFacts
) -> JournalHead:
    return JournalHead(
        run_id=run.id,
        started_utc=run.started_utc,
        options=msgspec.to_builtins(options),
        device=device.name,
        versions=_versions(run, cells),
        plan_sha256=_plan_sha256(cells),
    )


def _versions(run: RunFacts, cells: Sequence[Cell]) -> dict[str, str]:
    """Returns the versions of everything that measures."""
    backends = [registry.load(spec) for spec in unique(cell.backend_spec for cell in cells)]
    ready = {backend.name: backend.availability() for backend in backends}
    runtimes = {
        name: runtime.version for name, runtime in ready.items() if isinstance(runtime, Ready)
    }
    return {"edgebench": run.edgebench, "Python": run.python, **runtimes}


def _plan_sha256(cells: Sequence[Cell]) -> str:
    # What cannot run may run later, when what it lacks is there.
    plan = [msgspec.structs.replace(cell, unsupported=None) for cell in cells]
    digest = hashlib.sha256(msgspec.json.encode(plan))
    for task in sorted({cell.workload.task for cell in cells if ":" in cell.workload.task}):
        digest.update(file_sha256(task_file(task)).encode())
    return digest.hexdigest()


def reopen(out: Path, options: Options, typed: set[str]) -> tuple[RunStore | None, Options]:
    """The last unfinished run below `out`, and its options; a new budget is allowed."""
    journals = unfinished(out) if out.is_dir() else []
    if not journals:
        return None, options
    store = RunStore.resume(journals[-1])
    try:
        kept = _options_of(journals[-1], store.head.options)
        _refuse_others("the run to resume", kept, options, typed)
    except EdgebenchError:
        store.close()
        raise
    # Time that was spent before the kill is gone: the budget starts again.
    settings = kept.settings
    if "budget" in typed:
        settings = msgspec.structs.replace(
            settings, budget_s=options.settings.budget_s, hard_budget=True
        )
    return store, msgspec.structs.replace(kept, settings=settings)


def _options_of(file: Path, kept: dict[str, Any]) -> Options:
    try:
        return msgspec.convert(kept, Options)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"{file}: its options are of another version of edgebench: {error}",
            "start a new run without --resume",
        ) from None


def _refuse_others(what: str, kept: Options, options: Options, typed: set[str]) -> None:
    """Raises UsageError for an option that was typed and differs from that of the run."""
    options_typed = [option for option in RUN_OPTIONS.values() if option.parameter in typed]
    for field in (field for option in options_typed for field in option.decides):
        was, asked = attrgetter(field)(kept), attrgetter(field)(options)
        if was != asked:
            raise UsageError(
                f"{what} has {field.removeprefix('settings.')} {was}, not {asked}",
                "give --resume alone, or start a new run without --resume",
            )


#: Name of the result file of a run; others below the folder were put there by somebody.
_RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.jsonl")


def last_complete(out: Path, options: Options, typed: set[str]) -> tuple[Path, list[Record]] | None:
    """The last run below `out` and its records, where there is nothing to resume."""
    files = (
        [file for file in result_files(out) if _RUN.fullmatch(file.name)] if out.is_dir() else []
    )
    for file in reversed(files):
        records = read_records(file)
        if not records:  # killed as it began
            continue
        kept = _options_of(file, records[0].run.settings)
        _refuse_others(f"nothing to resume: the last run, {file},", kept, options, typed)
        return file, records
    return None


def check_same(store: RunStore, now: JournalHead) -> None:
    """Closes the store and raises StoreError where replicates would be pooled that may not be."""
    difference = _difference(store.head, now)
    if difference:
        store.close()
        raise StoreError(f"{store.journal}: {difference}", "start a new run")


def _difference(was: JournalHead, now: JournalHead) -> str:
    if was.device != now.device:
        return f"the run was begun on {was.device}, and this is {now.device}"
    for name, version in was.versions.items():
        if now.versions.get(name) != version:
            version_now = now.versions.get(name, "not there")
            return f"the run was begun with {name} {version}, which is {version_now} now"
    if was.plan_sha256 != now.plan_sha256:
        return "the definitions changed since: other cells are planned now"
    return ""
