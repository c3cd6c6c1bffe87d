"""Turns planned cells into targets that workers can measure: fetches assets and prepares models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgebench import assets, registry
from edgebench.definitions.workload import PARITY_METRIC, Asset, Workload
from edgebench.errors import AssetError
from edgebench.measure.model_files import Ask, NotReady, Preparer, Ready
from edgebench.measure.runner import OVERHEAD_FIRST_S, Prepared, Settings, Target
from edgebench.measure.worker_messages import DraftFile, GenerateJob, Job, StreamJob
from edgebench.models.file_kind import format_of
from edgebench.planning import request_axes as axes
from edgebench.planning.cells import Cell, model_format
from edgebench.planning.settings import GENERATE, STREAM
from edgebench.planning.shape_sequence import parse_shape_sequence
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.record import WORKERS, CellFacts, Reason, runs_of_query
from edgebench.words.reason_words import reason

#: Of the guess at a first replicate: bytes of weights that a small CPU works through in a second, of
#: networks, whose weights are used many times, and of decoders, which read all of them for a token.
BYTES_PER_S = 20e6
DECODED_BYTES_PER_S = 5e9
#: A token that is written takes as long as so many of a prompt, which are read together.
READ_TOGETHER = 8
#: Requests of a first replicate beside its window, and tokens of its quality pass as if each were written.
REQUESTS = 10
JUDGED_TOKENS = 900


def facts_of(cell: Cell) -> CellFacts:
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
        bound_p99_ns=cell.bound_p99_ns,
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
    cells: Sequence[Cell], settings: Settings, cache: Path, fetched: Fetched
) -> list[Target]:
    """A target for every cell, in order. What a cell lacks, an asset or a backend, is its own reason;
    its model is made ready when its turn comes."""
    preparer = Preparer(cache)
    return [_target(cell, settings, cache, preparer, fetched) for cell in cells]


def _target(
    cell: Cell, settings: Settings, cache: Path, preparer: Preparer, fetched: Fetched
) -> Target:
    facts = facts_of(cell)
    if cell.unsupported is not None:
        return Target(facts, status="unsupported", reasons=[cell.unsupported])
    for asset in _assets_of(cell):
        if error := fetched.errors.get(asset.sha256):
            lacking = Reason(code="asset_unavailable", message=error.message, fix=error.fix)
            return Target(facts, status="failed", reasons=[lacking])
    request = prepare_job(cell, settings, cache, fetched.paths)

    def prepare(ask: Ask) -> Prepared | NotReady:
        ready = _ready(cell, request, preparer, fetched, ask)
        if isinstance(ready, NotReady):
            return ready
        draft = _draft(cell, request, preparer, ask)
        if isinstance(draft, NotReady):
            return draft
        if settings.shape_sequence and (why := _one_shape(cell, ready)) is not None:
            return NotReady("unsupported", why)
        return Prepared(_job(cell, settings, request, ready, draft), ready.facts)

    return Target(
        facts,
        prepare=prepare,
        first_s=_first_s(cell, Path(request.source)),
        companions=cell.workload.companions,
    )


def _assets_of(cell: Cell) -> list[Asset]:
    natives: list[Asset] = [cell.native.model] if cell.native is not None else []
    return [cell.workload.model, *natives, *cell.workload.data.values()]


def _ready(
    cell: Cell, request: PrepareJob, preparer: Preparer, fetched: Fetched, ask: Ask
) -> Ready | NotReady:
    workload = cell.workload
    if cell.native is None:
        options = dict(cell.options)
        return preparer.ready(
            request, workload.title, workload.model.uri, cell.backend_spec, options, ask
        )
    path = fetched.paths[cell.native.model.sha256]
    return preparer.ready_native(request, workload.title, cell.native, path, ask)


def _draft(
    cell: Cell, request: PrepareJob, preparer: Preparer, ask: Ask
) -> DraftFile | NotReady | None:
    """The decoder that drafts: a file, or the row's own at another precision. None: none does."""
    asked = str(cell.variant.get(axes.DRAFT, axes.NO_DRAFT))
    if cell.scenario != GENERATE or asked == axes.NO_DRAFT:
        return None
    own = asked.startswith(axes.OF_ITSELF)
    source = request.source if own else str(Path(asked).absolute())
    job = msgspec.structs.replace(
        request,
        source=source,
        source_sha256=request.source_sha256 if own else assets.file_sha256(Path(source)),
        format=request.format if own else format_of(source) or request.format,
        precision=asked.removeprefix(axes.OF_ITSELF) if own else "as-is",
        without_reference=True,
    )
    ready = preparer.ready(job, "draft", source, cell.backend_spec, dict(cell.options), ask)
    if isinstance(ready, NotReady):
        why = msgspec.structs.replace(ready.reason, message=f"the draft: {ready.reason.message}")
        return NotReady(ready.status, why)
    return DraftFile(
        path=str(ready.model.path),
        format=ready.model.format,
        sha256=ready.model.sha256,
        precision=job.precision,
        tokens="" if own else source,
    )


def _one_shape(cell: Cell, ready: Ready) -> Reason | None:
    """Why a session of the cell can be given one shape alone; None: it takes several."""
    made = cell.precision not in ("fp32", "as-is")
    if made or cell.native is not None or cell.batch != 1:
        return reason("unsupported_shapes.made")
    if not ready.prepared.open_path:
        return reason("unsupported_shapes.fixed", workload=cell.workload.name)
    return None


def _first_s(cell: Cell, source: Path) -> float:
    """A guess at what a cell's first replicate takes beside its window, by the size of its model.

    It decides which cells go first where a budget is short, and what is said before a run begins.
    """
    try:
        size_bytes = source.stat().st_size
    except OSError:
        size_bytes = 0
    if cell.scenario != GENERATE:
        return OVERHEAD_FIRST_S + size_bytes * cell.batch / BYTES_PER_S
    request = int(cell.variant["prompt_tokens"]) / READ_TOGETHER + int(cell.variant["new_tokens"])
    tokens = JUDGED_TOKENS + REQUESTS * request * cell.batch
    return OVERHEAD_FIRST_S + tokens * size_bytes / DECODED_BYTES_PER_S


def prepare_job(cell: Cell, settings: Settings, cache: Path, paths: dict[str, Path]) -> PrepareJob:
    workload: Workload = cell.workload
    quality = workload.quality
    return PrepareJob(
        task=workload.task,
        options=workload.options,
        metrics=[m for m in (quality.metric, *quality.also) if m != PARITY_METRIC],
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
        keeps_open=bool(settings.shape_sequence),
    )


def _job(
    cell: Cell, settings: Settings, request: PrepareJob, ready: Ready, draft: DraftFile | None
) -> Job:
    """The part of a worker's job that is the same for every replicate."""
    return Job(
        index=0,
        backend=registry.direct(cell.backend_spec),
        options=dict(cell.options),
        model_path=str(ready.model.path),
        model_format=ready.model.format,
        precision_unknown=cell.native is not None and cell.precision == "as-is",
        model_sha256=ready.model.sha256,
        model_names=dict(ready.model.names),
        model_shapes=_native_shapes(cell, ready),
        model_inputs=list(ready.model.inputs),
        model_outputs=list(ready.model.outputs),
        precision=cell.precision,
        batch=cell.batch,
        task=request.task,
        task_options=request.options,
        task_data=request.data,
        model_asset=request.source,
        fp32_path=ready.prepared.fp32_path,
        fp32_inputs=ready.prepared.inputs,
        input_ranges=ready.prepared.input_ranges,
        items=ready.prepared.items,
        seed=settings.seed,
        scenario=cell.scenario,
        rate_per_s=cell.rate_per_s,
        seeks_rate=cell.bound_p99_ns is not None,
        workers=int(cell.variant.get(WORKERS, 1)),
        runs_per_query=runs_of_query(cell.scenario, cell.variant),
        warmup_s=settings.slice_s / 2,
        slice_s=settings.slice_s,
        target=settings.target,
        percentile=settings.percentile,
        max_samples=settings.max_samples,
        quality=cell.workload.quality,
        full_quality=True,
        reference=ready.prepared.reference,
        parity_limit=settings.parity,
        expected="",
        memory_limit_bytes=settings.memory_limit_bytes,
        memory_budget_bytes=cell.memory_budget_bytes,
        stream=_stream_job(cell),
        shape_sequence=parse_shape_sequence(settings.shape_sequence)
        if settings.shape_sequence
        else None,
        worst_case_s=settings.worst_case_s,
        open_path=ready.prepared.open_path,
        generate=_generate_job(cell, draft),
    )


def _native_shapes(cell: Cell, ready: Ready) -> dict[str, list[int]]:
    """The input shapes that a file in a runtime's own format is opened with: its reference's, or those
    that were asked for. Files made from ONNX have theirs."""
    if cell.native is not None:
        return {i.name: [*(i.sizes or ())] for i in ready.prepared.inputs}
    if ready.prepared.format == "onnx":
        return {}
    asked = cell.workload.model.shapes
    return {name: [1 if size == "batch" else size for size in asked[name]] for name in asked}


def _stream_job(cell: Cell) -> StreamJob | None:
    stream = cell.workload.stream
    if cell.scenario != STREAM or stream is None:
        return None
    return StreamJob(
        hop_ns=round(stream.hop_s * 1e9),
        window_ns=round((stream.window_s or stream.hop_s) * 1e9),
        lookahead_ns=round(stream.lookahead_s * 1e9),
        warm_up_hops=stream.warm_up_hops,
        state=stream.state,
    )


def _generate_job(cell: Cell, draft: DraftFile | None) -> GenerateJob | None:
    if cell.scenario != "generate":
        return None
    variant = cell.variant
    return GenerateJob(
        prompt_tokens=int(variant["prompt_tokens"]),
        new_tokens=int(variant["new_tokens"]),
        content=str(variant.get(axes.CONTENT, "")),
        lookup=int(variant.get(axes.LOOKUP, 0)),
        draft_tokens=int(variant.get(axes.DRAFT_TOKENS, axes.DEFAULT_DRAFT_TOKENS)),
        draft=draft,
        draft_confidence=float(variant.get(axes.DRAFT_CONFIDENCE, 0.0)),
        turns=int(variant.get(axes.TURNS, 0)),
        reuse=bool(variant.get(axes.REUSE, False)),
    )
