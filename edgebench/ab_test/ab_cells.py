"""Turns workloads and two variants into A/B cells: what is compared, what runs it, how it is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec

from edgebench import assets, registry
from edgebench.ab_test import git_revisions, runtime_environments
from edgebench.ab_test.ab_report_types import Asked, CellCase
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.pair_record import SIDES, Side
from edgebench.ab_test.pair_runner import ArmSpec, Interpreter
from edgebench.ab_test.pairing import CellPair, Request, cell_pair, points
from edgebench.ab_test.variant_spec import VariantSpec
from edgebench.assets.download_progress import LINE_EVERY_S
from edgebench.calibration import own_calibration
from edgebench.definitions.workload import PARITY_METRIC, Model, Workload
from edgebench.errors import UsageError
from edgebench.measure import cpu_pinning, preparation_process
from edgebench.measure.prepare_targets import fetch_assets, make_targets
from edgebench.measure.replicate.quality_checks import (
    MAX_ROUNDING,
    PARITY_LIMIT,
    REDUCED_PARITY_LIMIT,
    Tolerance,
    tolerance,
)
from edgebench.measure.runner import MIN_TURN_S, Target
from edgebench.measure.runner import Settings as CampaignSettings
from edgebench.measure.time_budget import Budget
from edgebench.measure.worker_messages import Job
from edgebench.planning.own_models import workload_for_model
from edgebench.probes.device_facts import detect
from edgebench.record import DeviceFacts, Reason
from edgebench.text.plain_text import say
from edgebench.words import verdict_words


def make_ab_cells(request: Request, cache: Path, budget: Budget | None = None) -> list[ABCell]:
    """An A/B cell for every cell. What a cell lacks is its failure. The budget does not count what is built,
    installed or fetched; models are made ready within it.

    Raises UsageError for what makes no sense, AssetError where an environment or a build fails.
    """
    budget = budget or Budget()
    with budget.without("builds"):
        models = _models(request, cache)
    ab_cells = [
        cell_pair(request, workloads, point)
        for workloads in _workloads(request, models)
        for point in points(request, workloads["base"])
    ]
    # Points that differ in an axis that neither backend has are one cell.
    cell_pairs = list({each.name: each for each in ab_cells}.values())
    with budget.without("installations"):
        interpreters = {side: _interpreter(request, side, cell_pairs, cache) for side in SIDES}
    targets = _targets(request, cell_pairs, cache, budget)
    available, machine = len(cpu_pinning.available()) or None, detect()
    return [
        _ab_cell(request, cell_pair, target, interpreters, available, machine)
        for cell_pair, target in zip(cell_pairs, targets, strict=True)
    ]


# Models and workloads of the two sides


def _models(request: Request, cache: Path) -> dict[Side, Path | None]:
    """The model file of each side, where it brings one."""
    models: dict[Side, Path | None] = {}
    for side in SIDES:
        spec = request.side(side)
        if spec.revision is None:
            models[side] = Path(spec.model) if spec.model else None
            continue
        if not request.build or not request.artifact:
            raise UsageError(
                f"git:{spec.revision} needs the command that builds the model, and its file",
                'add --build "python export.py" --artifact out/model.onnx',
            )
        models[side] = git_revisions.build_model(
            spec.revision, request.build, request.artifact, cache, Path(request.repository)
        )
    return models


def _workloads(request: Request, models: Mapping[Side, Path | None]) -> list[dict[Side, Workload]]:
    """Each workload as either side has it: with its own model, or the side's."""
    if request.workloads:
        return [
            {side: _on_model(workload, models[side]) for side in SIDES}
            for workload in request.workloads
        ]
    base, head = models["base"] or models["head"], models["head"] or models["base"]
    if base is None or head is None:
        raise UsageError(
            "nothing to run: name workloads, a --suite, or model files",
            "edgebench ab --base ... --head ... text-recognition",
        )
    shapes = msgspec.convert(request.shapes, dict)
    paths: dict[Side, Path] = {"base": base, "head": head}
    return [
        {
            side: workload_for_model(paths[side], shapes, request.task, inputs=request.inputs)
            for side in SIDES
        }
    ]


def _on_model(workload: Workload, path: Path | None) -> Workload:
    """The workload with another model file: same inputs, same labels, same limits."""
    if path is None:
        return workload
    given = workload_for_model(path, {}).model
    model = Model(
        uri=given.uri, sha256=given.sha256, license=given.license, shapes=workload.model.shapes
    )
    return msgspec.structs.replace(workload, model=model)


def side_text(request: Request, side: Side) -> str:
    """A side as it was asked for; a revision with the commit that it names now, as names move on."""
    spec = request.side(side)
    asked = f"git:{spec.revision}"
    if spec.revision is None or asked not in spec.text:
        return spec.text
    commit = git_revisions.commit_of(spec.revision, Path(request.repository))
    return spec.text.replace(asked, f"{asked} ({commit[:12]})", 1)


# What runs the arms


def _interpreter(
    request: Request, side: Side, cell_pairs: Sequence[CellPair], cache: Path
) -> Interpreter:
    spec = request.side(side)
    if spec.python:
        return runtime_environments.for_python(spec.python, cache)
    if spec.pins:
        _refuse_idle(spec, side, {cell_pair.side(side).backend_spec for cell_pair in cell_pairs})
        also = {name for cell_pair in cell_pairs for name in cell_pair.side(side).workload.requires}
        also |= {name for c in cell_pairs for name in _distributions_of(c.side(side).backend)}
        return runtime_environments.for_pins(spec.pins, sorted(also), cache)
    return Interpreter()


def _refuse_idle(spec: VariantSpec, side: Side, backends: set[str]) -> None:
    """Versions of a runtime that the side does not run would compare something with itself."""
    shipped = set(registry.names())
    for pin in spec.pins:
        name = runtime_environments.distribution(pin)
        users = [known for known in sorted(shipped) if name in _distributions_of(known)]
        if users and backends <= shipped - {*users}:
            raise UsageError(
                f"{pin} is for {users[0]}, and {side} runs {' and '.join(sorted(backends))}",
                f"name the backend as well: --{side} {users[0]} --{side} {pin}",
            )


def _distributions_of(backend: str) -> list[str]:
    """Returns what the extra of a backend's name installs."""
    try:
        lines = metadata.requires("edgebench") or []
    except metadata.PackageNotFoundError:
        return []
    mark = f'extra == "{runtime_environments.normal(backend)}"'
    marked = [line for line in lines if mark in line.replace("'", '"')]
    return [line.split(";")[0].split(">")[0].split("=")[0].split("[")[0].strip() for line in marked]


def _targets(
    request: Request, cell_pairs: Sequence[CellPair], cache: Path, budget: Budget
) -> list[dict[Side, Target]]:
    """A target for either side of every pair; the same cell is prepared once."""
    cells = [cell_pair.side(side) for cell_pair in cell_pairs for side in SIDES]
    settings = CampaignSettings(
        seed=request.seed,
        time_out_s=request.time_out_s,
        memory_limit_bytes=request.memory_limit_bytes,
        # What the user allows between two files of their own, either may be off its reference.
        parity=None if request.workloads else request.parity,
    )
    with budget.without("downloads"), assets.terminal_progress() as progress:
        fetched = fetch_assets(cells, progress)
    targets = make_targets(cells, settings, cache, fetched)
    for target in targets:
        if late := target.make_ready(partial(_ask_child, request, budget)):
            target.status, target.prepare = "failed", None
            target.reasons.append(late)
    return [
        {"base": targets[2 * number], "head": targets[2 * number + 1]}
        for number in range(len(cell_pairs))
    ]


def _ask_child(
    request: Request,
    budget: Budget,
    module: str,
    job: bytes,
    *,
    patience: float = 1.0,
    share: float = 1.0,
) -> bytes | Reason:
    allowance = preparation_process.Allowance(
        patience * request.time_out_s,
        request.memory_limit_bytes,
        share * max(budget.left_s, MIN_TURN_S),
    )
    return preparation_process.ask(module, job, allowance, _Waiting().tick)


class _Waiting:
    """Reports from time to time that a model is being prepared."""

    def __init__(self) -> None:
        self._begun_s = self._said_s = time.monotonic()

    def tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            text = f"preparing a model: {now_s - self._begun_s:.0f} s so far"
            say(text)


def _ab_cell(
    request: Request,
    cell_pair: CellPair,
    targets: Mapping[Side, Target],
    interpreters: Mapping[Side, Interpreter],
    available: int | None,
    machine: DeviceFacts,
) -> ABCell:
    threads = max(int(cell_pair.side(side).variant.get("threads", 1)) for side in SIDES)
    allowed = _allowed(request, cell_pair, targets)
    case = CellCase(
        cell=cell_pair.name,
        base=cell_pair.base.id,
        head=cell_pair.head.id,
        tolerances=request.tolerances,
        report_only=_report_only(threads, available),
        parity_limit=None if allowed is None else allowed.limit,
        quality=request.quality,
        size_bytes={
            side: target.model.size_bytes
            for side, target in targets.items()
            if target.model is not None
        },
        asked={
            side: Asked(
                variant=target.cell.variant,
                work=None if target.model is None else target.model.work,
            )
            for side, target in targets.items()
        },
        machine=machine.facts,
        calibration=own_calibration(assets.cache_dir(), machine.name),
    )
    for side, target in targets.items():
        if target.job is None:
            why = target.reasons[0] if target.reasons else Reason(code="missing", message="missing")
            message = verdict_words.cannot_run(side=side, why=why.message)
            return ABCell(case, failure=Reason(code=why.code, message=message, fix=why.fix))
    arms = {
        side: ArmSpec(target.job, interpreters[side])
        for side, target in targets.items()
        if target.job is not None
    }
    return ABCell(case, arms, cores=threads, allowed=allowed)


def canary_of(ab_cells: Sequence[ABCell]) -> list[ABCell]:
    """Base against itself, on the first of the cells that can be judged and allow the least: what is calm
    enough for a cell that allows more may be too wild for another."""
    judged = [each for each in ab_cells if each.arms is not None and not each.case.report_only]
    if not judged:
        return []
    chosen = min(judged, key=_least_tau)
    case = CellCase(
        cell=verdict_words.CANARY,
        base=chosen.case.base,
        head=chosen.case.base,
        tolerances=chosen.case.tolerances,
        parity_limit=chosen.case.parity_limit,
        canary=True,
        asked={side: asked for side in SIDES if (asked := chosen.case.asked.get("base"))},
        machine=chosen.case.machine,
        calibration=chosen.case.calibration,
    )
    assert chosen.arms is not None
    arms: dict[Side, ArmSpec] = dict.fromkeys(SIDES, chosen.arms["base"])
    return [ABCell(case, arms, cores=chosen.cores, allowed=chosen.allowed)]


def _least_tau(ab_cell: ABCell) -> float:
    allowed = ab_cell.case.tolerances
    return min(allowed.cpu.tau, allowed.wall.tau)


def _report_only(threads: int, available: int | None) -> str:
    if available is None or threads < 2 or threads < available:
        return ""
    return verdict_words.every_core(threads=threads)


def _allowed(
    request: Request, cell_pair: CellPair, targets: Mapping[Side, Target]
) -> Tolerance | None:
    """How far outputs of the two sides may lie apart; None: they may differ, labels judge them, or they are
    random."""
    labelled = cell_pair.head.workload.quality.metric != PARITY_METRIC
    if request.parity_off:
        if not labelled:
            raise UsageError(
                f"--parity off: {cell_pair.head.workload.name} has no labels to judge its answers by",
                "give a limit: --parity 0.1; or a task with labels: --task my_task.py:Class",
            )
        return None
    if request.parity is not None:
        return Tolerance(request.parity)
    jobs = [target.job for target in targets.values() if target.job is not None]
    if any(job.reference.parity.random for job in jobs):
        return None
    computed = {_computed_in(job) for job in jobs}
    if labelled and len(computed) > 1:
        return None
    sides = [tolerance(job.precision, job.reference.parity) for job in jobs]
    if len(computed) > 1 or any(job.precision not in PARITY_LIMIT for job in jobs):
        return _allowing(sides, lambda limits: max(REDUCED_PARITY_LIMIT, *limits))
    # Either side may be off the reference by its limit.
    return _allowing(sides, lambda limits: min(sum(limits), max(MAX_ROUNDING, *limits)))


def _computed_in(job: Job) -> str:
    """Returns what decides how far apart right answers may lie: fp32 is fp32 by any name."""
    precision = "fp32" if job.precision in PARITY_LIMIT else job.precision
    return job.reference.parity.arithmetic or precision


def _allowing(
    sides: Sequence[Tolerance], together: Callable[[list[float]], float]
) -> Tolerance | None:
    """Returns how far apart two results may lie, each of which may be off by its own tolerance."""
    if not sides:
        return None
    names = {name for side in sides for name in side.outputs}
    return Tolerance(
        together([side.limit for side in sides]),
        outputs={name: together([side.of(name) for side in sides]) for name in names},
    )
