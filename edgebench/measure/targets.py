"""From cells of the plan to targets that workers can measure: assets fetched, models made ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench import assets
from edgebench.errors import AssetError
from edgebench.measure.campaign import Settings, Target
from edgebench.measure.jobs import GenerateJob, Job
from edgebench.measure.prepare import NotReady, Preparer, Ready
from edgebench.models.jobs import PrepareJob
from edgebench.plan import Cell, model_format
from edgebench.record import CellFacts, Reason
from edgebench.spec.types import Workload


def facts_of(cell: Cell) -> CellFacts:
    """What a record says of its cell."""
    return CellFacts(
        id=cell.id,
        workload=cell.workload.name,
        workload_version=cell.workload.version,
        title=cell.workload.title,
        task=cell.workload.task,
        backend=cell.backend,
        variant=cell.variant,
        scenario=cell.scenario,
        rate_per_s=cell.rate_per_s,
    )


@dataclass(frozen=True)
class Fetched:
    """Local paths of assets, and why others have none, by sha256."""

    paths: dict[str, Path]
    errors: dict[str, AssetError]


def fetch_assets(cells: Sequence[Cell], progress: assets.Progress | None = None) -> Fetched:
    """The assets of all cells that can run."""
    # By model as well: either side of an A/B may have its own for one workload.
    runnable = {
        (cell.workload.name, cell.workload.model.sha256): cell.workload
        for cell in cells
        if cell.unsupported is None
    }
    needs = assets.needs_of(runnable.values())
    return Fetched(
        *assets.fetch_each(
            [need.asset for need in needs],
            progress=progress,
            users={need.asset.sha256: need.users for need in needs},
        )
    )


def make_targets(
    cells: Sequence[Cell],
    settings: Settings,
    cache: Path,
    fetched: Fetched,
    on_prepare: Callable[[Cell, int, int], None] = lambda cell, number, total: None,
) -> list[Target]:
    """A target for every cell, in order. What a cell lacks, an asset or a model, is its own reason.

    `on_prepare` hears of each cell before its model is made ready, with its number and the total.
    """
    preparer = Preparer(cache)
    targets = []
    for number, cell in enumerate(cells, start=1):
        if cell.unsupported is not None:
            reasons = [cell.unsupported]
            targets.append(Target(facts_of(cell), status="unsupported", reasons=reasons))
            continue
        on_prepare(cell, number, len(cells))
        targets.append(_target(cell, settings, cache, preparer, fetched))
    return targets


def _target(
    cell: Cell,
    settings: Settings,
    cache: Path,
    preparer: Preparer,
    fetched: Fetched,
) -> Target:
    workload, facts = cell.workload, facts_of(cell)
    natives = [cell.native.model] if cell.native is not None else []
    for asset in (workload.model, *natives, *workload.data.values()):
        if asset.sha256 in fetched.errors:
            error = fetched.errors[asset.sha256]
            reason = Reason(code="asset_unavailable", message=error.message, fix=error.fix)
            return Target(facts, status="failed", reasons=[reason])
    request = _prepare_job(cell, settings, cache, fetched.paths)
    if cell.native is None:
        ready = preparer.ready(
            request, workload.title, workload.model.uri, cell.backend_spec, dict(cell.options)
        )
    else:
        path = fetched.paths[cell.native.model.sha256]
        ready = preparer.ready_native(request, workload.title, cell.native, path)
    if isinstance(ready, NotReady):
        return Target(facts, status=ready.status, reasons=[ready.reason])
    return Target(facts, model=ready.facts, job=_job(cell, settings, request, ready))


def _prepare_job(cell: Cell, settings: Settings, cache: Path, paths: dict[str, Path]) -> PrepareJob:
    workload: Workload = cell.workload
    return PrepareJob(
        task=workload.task,
        options=workload.options,
        data={name: str(paths[asset.sha256]) for name, asset in workload.data.items()},
        # Where it says it is: a file of equal content may have other weights beside it.
        source=str(assets.cached(workload.model) or paths[workload.model.sha256]),
        source_sha256=workload.model.sha256,
        format=model_format(workload.model),
        builder=workload.model.builder,
        shapes={name: list(shape) for name, shape in workload.model.shapes.items()},
        precision=cell.precision,
        batch=cell.batch,
        seed=settings.seed,
        cache=str(cache),
        generates=cell.scenario == "generate",
    )


def _job(cell: Cell, settings: Settings, request: PrepareJob, ready: Ready) -> Job:
    """The part of a worker's job that is the same for every replicate."""
    return Job(
        index=0,
        backend=cell.backend_spec,
        options=dict(cell.options),
        model_path=str(ready.model.path),
        model_format=ready.model.format,
        precision_unknown=cell.native is not None and cell.precision == "as-is",
        model_sha256=ready.model.sha256,
        model_names=dict(ready.model.names),
        precision=cell.precision,
        batch=cell.batch,
        task=request.task,
        task_options=request.options,
        task_data=request.data,
        model_asset=request.source,
        fp32_path=ready.prepared.fp32_path,
        fp32_inputs=ready.prepared.inputs,
        seed=settings.seed,
        scenario=cell.scenario,
        rate_per_s=cell.rate_per_s,
        warmup_s=settings.slice_s / 2,
        slice_s=settings.slice_s,
        target=settings.target,
        percentile=settings.percentile,
        max_samples=settings.max_samples,
        quality=cell.workload.quality,
        full_quality=True,
        reference=ready.prepared.reference,
        reference_constant=ready.prepared.reference_constant,
        fp32_rounding=ready.prepared.fp32_rounding,
        expected="",
        memory_limit_bytes=settings.memory_limit_bytes,
        generate=_generate_job(cell),
    )


def _generate_job(cell: Cell) -> GenerateJob | None:
    if cell.scenario != "generate":
        return None
    return GenerateJob(
        prompt_tokens=int(cell.variant["prompt_tokens"]), new_tokens=int(cell.variant["new_tokens"])
    )
