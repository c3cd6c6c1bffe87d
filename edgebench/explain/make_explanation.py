"""Makes an explanation of a deployment: prepares model files, profiles in turns, applies the rules, predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgebench.calibration import Calibration
from edgebench.errors import AssetError, EdgebenchError, UnsupportedError, UsageError
from edgebench.explain import describe_deployment, profile_runs
from edgebench.explain.cells_to_explain import Pair, label_of
from edgebench.explain.explanation import Deployment, Explanation, Figure, Prediction
from edgebench.explain.findings import findings_of
from edgebench.explain.node_groups import Group, common_names, grouped
from edgebench.explain.numeric_report import NumericReport
from edgebench.explain.numeric_worker import NumericAnswer, NumericJob
from edgebench.explain.prediction import predict, too_coarse
from edgebench.explain.profile_runs import Measured, Unmeasured
from edgebench.explain.turn_statistics import figure
from edgebench.measure import preparation_process
from edgebench.measure.model_files import NotReady
from edgebench.measure.prepare_targets import fetch_assets, make_targets
from edgebench.measure.runner import Settings, Target
from edgebench.measure.worker_messages import Job
from edgebench.planning.cells import Cell
from edgebench.record import Reason

_COARSE = "operators take about as long as the profiler's clock steps, and are not told apart"


@dataclass(frozen=True)
class Place:
    """The machine on which it is explained."""

    name: str
    cache: Path
    calibration: Calibration | None = None


def explain(
    pair: Pair,
    settings: Settings,
    place: Place,
    say: Callable[[str], None] = lambda text: None,
) -> Explanation:
    """Profiles the deployments and explains the first one.

    Raises UnsupportedError where the runtime tells no times of operators, AssetError and EdgebenchError where
    a model cannot be had or a worker fails.
    """
    cells = [pair.subject] if pair.against is None else [pair.against, pair.subject]
    jobs = _jobs(cells, settings, place.cache, say)
    say(f"profiling {' and '.join(label_of(c, _other(pair, c)) for c in cells)} in turns")
    found = profile_runs.profile_in_turns(jobs, settings.time_out_s, seed=settings.seed)
    measured = [_demand(each, cell) for each, cell in zip(found, cells, strict=True)]
    return explanation(pair, measured[-1], measured[0] if pair.against else None, place)


def explanation(
    pair: Pair, subject: Measured, against: Measured | None, place: Place
) -> Explanation:
    """What two profiles say; of one alone where `against` is None."""
    workload = pair.subject.workload
    described = _described(pair, pair.subject, subject, place)
    groups, names = _groups(subject, against)
    prediction, why = _predicted(pair, groups, names, subject, against)
    coarse = too_coarse(subject) or (against is not None and too_coarse(against))
    other = None
    if pair.against is not None and against is not None:
        other = _described(pair, pair.against, against, place)
    return Explanation(
        workload=workload.name,
        title=workload.title,
        machine=place.name,
        subject=described,
        against=other,
        slowdown=None if against is None else _slowdown(subject, against),
        findings=findings_of(described, [] if coarse else groups),
        prediction=prediction,
        notes=[*_notes(subject), *([_COARSE] if coarse else [])],
        unknown=why | _no_ceiling(place),
    )


def _other(pair: Pair, cell: Cell) -> Cell | None:
    return pair.subject if cell is pair.against else pair.against


def _described(pair: Pair, cell: Cell, measured: Measured, place: Place) -> Deployment:
    named = describe_deployment.Named(
        label_of(cell, _other(pair, cell)), cell.id, cell.backend, dict(cell.variant)
    )
    return describe_deployment.deployment(named, measured, place.calibration)


def _groups(subject: Measured, against: Measured | None) -> tuple[list[Group], dict[str, str]]:
    """Operators of both beside each other; of one alone there are none."""
    if against is None:
        return [], {}
    names = common_names(against.nodes, subject.nodes)
    ours, theirs = against.profile.operators, subject.profile.operators
    return grouped(against.nodes, ours, theirs, names), names


def _predicted(
    pair: Pair,
    groups: Sequence[Group],
    names: dict[str, str],
    subject: Measured,
    against: Measured | None,
) -> tuple[Prediction | None, dict[str, str]]:
    """The prediction, or why there is none."""
    if pair.against is None or against is None:
        return None, {"prediction": "there is no other deployment to mix it with"}
    if pair.subject.backend != pair.against.backend:
        return None, {"prediction": "two runtimes cannot be mixed in one file"}
    if pair.subject.precision == pair.against.precision:
        return None, {"prediction": "both have the same precision"}
    if too_coarse(subject) or too_coarse(against):
        return None, {"prediction": _COARSE}
    found = predict(groups, against, subject, names)
    if found is None:
        return None, {"prediction": "no mix of the two is predicted to be faster"}
    return found, {}


def _slowdown(subject: Measured, against: Measured) -> Figure:
    turns = zip(subject.compared_by_turn, against.compared_by_turn, strict=False)
    return figure([ours / theirs for ours, theirs in turns])


def _notes(subject: Measured) -> list[str]:
    if subject.compared_ns is subject.cpu_ns:
        words = "one thread computes: ratios are of CPU time, and what operators waited for other programs"
        return [f"{words} is taken out"]
    return []


def _no_ceiling(place: Place) -> dict[str, str]:
    if place.calibration is not None:
        return {}
    return {"ceiling_ns": "no calibration of this device: `edgebench calibrate`"}


def _demand(found: Measured | Unmeasured, cell: Cell) -> Measured:
    """Raises UnsupportedError or EdgebenchError where there is no profile."""
    if isinstance(found, Measured):
        return found
    reason = found.reason
    if found.unsupported:
        raise UnsupportedError(f"{cell.backend}: {reason.message}", reason.fix)
    raise EdgebenchError(f"{cell.id}: {reason.message}", reason.fix)


def explain_numbers(
    cell: Cell,
    settings: Settings,
    place: Place,
    reference: str | None,
    limit: float | None,
    say: Callable[[str], None] = lambda text: None,
) -> NumericReport:
    """Where the numbers of a deployment leave those of its reference, by default the fp32 model.

    Raises what `explain` raises, and UsageError where the deployment is its own reference.
    """
    job = _jobs([cell], settings, place.cache, say)[0]
    against = reference or job.fp32_path
    if Path(against) == Path(job.model_path) and cell.backend == "ort":
        raise UsageError(
            "the deployment is its own reference: there is nothing to compare it with",
            "--reference FILE names the model that it was made from",
        )
    asked = NumericJob(job=job, name=cell.precision, reference=against, limit=limit)
    say("comparing layer by layer")
    allowance = preparation_process.Allowance(settings.time_out_s, settings.memory_limit_bytes)
    answer = preparation_process.ask(
        "edgebench.explain.numeric_worker", msgspec.json.encode(asked), allowance
    )
    if isinstance(answer, Reason):
        raise EdgebenchError(f"{cell.id}: {answer.message}", answer.fix)
    told = msgspec.json.decode(answer, type=NumericAnswer)
    if told.report is None:
        kind = UnsupportedError if told.unsupported else EdgebenchError
        raise kind(told.error, told.fix)
    return told.report


def _jobs(
    cells: Sequence[Cell], settings: Settings, cache: Path, say: Callable[[str], None]
) -> list[Job]:
    """The workers' jobs, their model files made ready."""
    fetched = fetch_assets(cells)
    targets = make_targets(cells, settings, cache, fetched)
    jobs = []
    for target in targets:
        say(f"preparing {target.cell.id}")
        jobs.append(_job(target, settings))
    return jobs


def _job(target: Target, settings: Settings) -> Job:
    if target.prepare is None:
        raise _error(target.reasons[0], target.status == "unsupported")

    def ask(
        module: str, job: bytes, *, patience: float = 1.0, share: float = 1.0
    ) -> bytes | Reason:
        time_out_s = settings.time_out_s * patience
        allowance = preparation_process.Allowance(time_out_s, settings.memory_limit_bytes)
        return preparation_process.ask(module, job, allowance)

    ready = target.prepare(ask)
    if isinstance(ready, NotReady):
        raise _error(ready.reason, ready.status == "unsupported")
    return ready.job


def _error(reason: Reason, unsupported: bool) -> EdgebenchError:
    if reason.code == "asset_unavailable":
        return AssetError(reason.message, reason.fix)
    kind = UnsupportedError if unsupported else EdgebenchError
    return kind(reason.message, reason.fix)
