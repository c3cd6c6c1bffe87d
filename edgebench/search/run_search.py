"""Runs a search from its options to its report: explore, measure, verify, choose.

Exploring and verifying run in processes of their own; what is measured goes the way of `edgebench run`: every map
is a variant, its replicates take turns with those of fp32, and its record is an ordinary one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from edgebench import assets, registry
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.api import run_resume
from edgebench.api.run_options import Options, resolved, workloads_of
from edgebench.api.run_request import Outcome, Start, Voice, measure
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.definitions.workload import PARITY_METRIC, Workload
from edgebench.errors import EdgebenchError, UsageError
from edgebench.measure.prepare_targets import fetch_assets, prepare_job
from edgebench.measure.time_budget import Budget
from edgebench.models.nncf_scope import require_nncf
from edgebench.models.precision_map import MIXED, CalibrationSpec, is_mixed, keep_map, map_text
from edgebench.models.quantization_recipes import recipes_for
from edgebench.planning.cells import DEFAULT_BACKEND, Cell, plan
from edgebench.planning.settings import parse_sets
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.search.children import Asking, ask_child
from edgebench.search.choosing import (
    by_latency,
    by_reward,
    deployable,
    holds,
    measured_maps,
    standings_of,
    worth_testing,
)
from edgebench.search.kept_search import forget, keep_search, read_exploration, write_file
from edgebench.search.requirements import (
    Requirements,
    Reward,
    check_rewarded,
    parse_reward,
    requirements_of,
    reward_of,
)
from edgebench.search.requirements import resolved as resolved_demands
from edgebench.search.search_messages import (
    REFUSED_DAMAGE,
    Candidate,
    Demand,
    Exploration,
    ExploreJob,
    Verdict,
    Verification,
    VerifyJob,
)
from edgebench.search.search_report import Known, SearchReport, float_groups, map_of, search_rows
from edgebench.tasks import task_metrics
from edgebench.units import format_clock
from edgebench.words.search_words import output_error

#: Precisions that are measured beside the maps, where the backend has them.
BASELINES = ("fp32", "int8-dynamic", "int8-static")
SHORT_FLOATS = ("fp16", "bf16")
#: Shares of the budget: for exploring, and for measuring; what is left shows the quality of the chosen map.
EXPLORING, MEASURING = 0.4, 0.42
MIN_VERIFY_S = 10.0
#: What a precision takes to be measured once, on a machine that is not idle; and how many are measured at least.
MEASURED_S_EACH, MIN_MEASURED = 8.0, 3
CONFIDENCE = 0.95
CALIBRATIONS = (
    CalibrationSpec(),
    CalibrationSpec(method="percentile", percentile=99.999),
    CalibrationSpec(method="entropy"),
)
SAY_EVERY_S = 4.0


@dataclass(frozen=True)
class SearchRequest:
    """What is searched, resolved."""

    options: Options  # as those of a run with precision fp32 alone
    budget_s: float
    points: int
    out: Path
    resume: bool
    command: Sequence[str]
    require: Sequence[str] = ()
    reward: Reward | None = None  # what is to be most, in the place of the speed
    confidence: float = CONFIDENCE
    via: Sequence[str] = ()  # further sources of maps


@dataclass
class Search:
    """The state of a search."""

    request: SearchRequest
    voice: Voice
    budget: Budget
    workload: Workload
    cell: Cell
    prepare: PrepareJob
    required: Requirements
    fp32_evaluation: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _said_s: float = float("-inf")

    def hear(self, step: str) -> None:
        """Tells what a child is at, and the time left, now and then."""
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            self.voice.say(f"search: {step}; {left_text(self.budget.left_s)}")

    def asking(self, time_s: float) -> Asking:
        limit = self.request.options.settings.memory_limit_bytes
        return Asking(time_s, limit, self.hear)

    @property
    def threads(self) -> int:
        return max(1, int(self.cell.options.get("threads", 1)))

    @property
    def demands(self) -> list[Demand]:
        return resolved_demands(self.required.demands, self.fp32_evaluation)


@dataclass(frozen=True)
class Found:
    """How a search ended."""

    report: SearchReport | None
    outcome: Outcome | None  # of the measuring; None: it ended before


def left_text(seconds: float) -> str:
    return f"{format_clock(seconds)} left"


def confidence_of(value: float) -> float:
    """Raises UsageError for one that nothing can have."""
    if not 0.5 < value < 1:
        raise UsageError(f"--confidence {value:g} is not between 0.5 and 1", "say 0.95")
    return value


def request_of(params: Mapping[str, Any], command: Sequence[str]) -> SearchRequest:
    """The options of the command, checked. Raises UsageError."""
    sets = parse_sets(params["sets"])
    if "precision" in sets:
        raise UsageError(
            "--set precision: the search chooses the precision",
            "leave it out, or use `edgebench run`",
        )
    if len(sets.get("batch", [])) > 1:
        raise UsageError("--set batch: a search is of one batch", "give one value of batch")
    fixed = [*params["sets"], "precision=fp32", *([] if "batch" in sets else ["batch=1"])]
    options = resolved({**params, "sets": fixed})
    if params["model"] is None and len(options.workloads) != 1:
        raise UsageError(
            "a search is of one workload or one --model", "name one: edgebench search file-typing"
        )
    assert options.settings.budget_s is not None
    if params["via"]:
        require_nncf()
    return SearchRequest(
        options,
        options.settings.budget_s,
        params["points"],
        Path(params["out"]),
        params["resume"],
        command,
        params["require"],
        None if params["maximize"] is None else parse_reward(params["maximize"]),
        confidence_of(params["confidence"]),
        params["via"],
    )


def search(request: SearchRequest, voice: Voice, started_s: float) -> Found:
    """Searches one workload. Raises EdgebenchError where it cannot begin, or exploring fails."""
    it = begun(request, voice, Budget(request.budget_s, started_s))
    return finished(it, explored(it))


def finished(it: Search, exploration: Exploration) -> Found:
    """Measures and tests what exploring found."""
    it.fp32_evaluation = exploration.fp32_evaluation
    outcome = _measured(it, exploration)
    if outcome.stopped is not None or not outcome.records:
        return Found(None, outcome)
    return Found(_reported(it, exploration, outcome), outcome)


def begun(request: SearchRequest, voice: Voice, budget: Budget) -> Search:
    """The workload with its files. Raises UsageError for what cannot be searched."""
    [workload] = workloads_of(request.options)
    if not request.options.backends:
        request = _with_ort(request)
    if "generate" in workload.scenarios:
        raise UsageError(
            f"{workload.name} generates text: its precision is not searched",
            "`edgebench run` measures it in every precision that its runtime has",
        )
    _check_backends(request.options.backends)
    required = requirements_of(workload, request.require)
    if request.reward is not None:
        check_rewarded(*_main_metric(workload))
    cell = fp32_cell(request.options, workload)
    with budget.without("downloads"), voice.downloading() as progress:
        fetched = fetch_assets([cell], progress)
    for error in fetched.errors.values():
        raise error
    job = prepare_job(cell, request.options.settings, assets.cache_dir(), fetched.paths)
    return Search(request, voice, budget, workload, cell, job, required)


def _main_metric(workload: Workload) -> tuple[str, str]:
    """The metric that rows are judged by, and which of it is better: of a user's own task its first."""
    metrics = task_metrics(workload.task)
    named = workload.quality.metric
    first = next((name for name in metrics if name != PARITY_METRIC), PARITY_METRIC)
    name = first if named == PARITY_METRIC else named
    return name, metrics[name].better if name in metrics else "lower"


def _check_backends(names: Sequence[str]) -> None:
    """Raises UsageError for a backend that opens no file of mixed precision."""
    for name in names:
        if MIXED not in registry.load(name).capabilities.precisions:
            able = [b.name for b in registry.every() if MIXED in b.capabilities.precisions]
            raise UsageError(
                f"{name} runs no maps of mixed precision",
                f"--backend {', '.join(each for each in able if each != 'null')}",
            )


def _with_ort(request: SearchRequest) -> SearchRequest:
    options = msgspec.structs.replace(request.options, backends=[DEFAULT_BACKEND])
    return replace(request, options=options)


def fp32_cell(options: Options, workload: Workload) -> Cell:
    """The fp32 row of the first backend; further axes of the workload have their first value."""
    sets = {axis: values[:1] for axis, values in workload.matrix.axes.items()}
    sets |= parse_sets(options.sets)
    scenarios = options.scenarios or workload.scenarios[:1]
    cells = plan([workload], options.backends, sets=sets, scenarios=scenarios[:1])
    cell = cells[0]
    if cell.unsupported is not None:
        raise UsageError(
            f"{cell.backend} cannot run {workload.name}: {cell.unsupported.message}",
            cell.unsupported.fix,
        )
    return cell


# Exploring


def explored(it: Search) -> Exploration:
    """The maps that are worth measuring; of an earlier search where that goes on."""
    job = _explore_job(it)
    state = Path(job.state)
    kept = read_exploration(state) if it.request.resume else None
    if kept is not None:
        it.voice.say(f"search: {len(kept.candidates)} maps were found before: {state}")
        return kept
    if not it.request.resume:
        forget(state)  # else --resume would go on with the search before this one
    found = ask_child("edgebench.search.explore", job, Exploration, it.asking(job.time_s))
    it.voice.say(
        f"search: {len(found.candidates)} maps found in {found.seconds:.0f} s; {left_text(it.budget.left_s)}"
    )
    for note in found.notes:
        it.voice.say(f"search: {note}")
    return found


def _explore_job(it: Search) -> ExploreJob:
    job = ExploreJob(
        prepare=it.prepare,
        workload=it.workload.name,
        demands=it.required.demands,
        recipes=[recipe.name for recipe in reversed(recipes_for(it.cell.backend))],
        calibrations=list(CALIBRATIONS),
        backend=it.cell.backend_spec,
        options=dict(it.cell.options),
        threads=it.threads,
        points=it.request.points,
        confidence=it.request.confidence,
        via=list(it.request.via),
        time_s=EXPLORING * it.request.budget_s,
        state="",
    )
    key = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(job, time_s=0.0))).hexdigest()
    path = it.request.out / "search" / f"{it.workload.name}-{key[:12]}.json"
    return msgspec.structs.replace(job, state=str(path.absolute()), resume=it.request.resume)


# Measuring


def _measured(it: Search, exploration: Exploration) -> Outcome:
    """Ordinary records of fp32, the usual int8 variants and the maps, whose replicates take turns."""
    chosen = measured_maps(exploration, it.request.points)
    for each in chosen:
        keep_map(each.map, assets.cache_dir())
    reserve_s = max(MIN_VERIFY_S, (1 - EXPLORING - MEASURING) * it.request.budget_s)
    left_s = max(1.0, it.budget.left_s - reserve_s)
    precisions = _affordable(it, [each.map.precision for each in chosen], left_s)
    sets = [f"precision={','.join(precisions)}", *_asked_settings(it)]
    settings = msgspec.structs.replace(
        it.request.options.settings, budget_s=left_s, hard_budget=True, first_window_s=None
    )
    options = msgspec.structs.replace(
        it.request.options, sets=sets, suite=None, scenarios=[it.cell.scenario], settings=settings
    )
    if it.request.resume:
        kept = _resumed(it, options, {*_baselines(it), *(c.map.precision for c in chosen)})
        if isinstance(kept, Outcome):
            return kept
        if kept is not None:
            start, sets = kept
            return measure(msgspec.structs.replace(options, sets=sets), start, it.voice)
    it.voice.say(
        f"search: measuring {len(precisions)} precisions for {format_clock(left_s)}, then testing quality; "
        f"{left_text(it.budget.left_s)}"
    )
    start = Start(it.request.command, it.request.out, time.monotonic())
    return measure(options, start, it.voice)


def _settings(cell: Cell) -> list[str]:
    """The axes of a cell beside its precision, as `--set` takes them."""
    axes = ((axis, value) for axis, value in cell.variant.items() if axis != "precision")
    return [f"{axis}={value_text(value)}" for axis, value in axes]


def _asked_settings(it: Search) -> list[str]:
    """The same with all values that were asked for: maps are found at the first of each."""
    asked = parse_sets(it.request.options.sets)
    found = []
    for text in _settings(it.cell):
        axis = text.partition("=")[0]
        values = asked.get(axis, [])
        found.append(f"{axis}={','.join(map(value_text, values))}" if len(values) > 1 else text)
    return found


def _baselines(it: Search) -> list[str]:
    """Of the usual precisions those that the workload knows, of a model of one's own all; and the shorter floats that
    a backend computes in, whatever the file says."""
    known = it.workload.matrix.axes.get("precision", list(BASELINES))
    able = {
        precision
        for name in it.request.options.backends
        for precision in registry.load(name).capabilities.precisions
    }
    return [
        *(name for name in BASELINES if name in known or name == "fp32"),
        *(name for name in SHORT_FLOATS if name in able),
    ]


def _affordable(it: Search, maps: Sequence[str], left_s: float) -> list[str]:
    """As many precisions as there is time for, each on every backend and setting: fp32, the first maps, the usual
    variants, then the other maps."""
    base, *usual = _baselines(it)
    first = [base, *maps[:2], *usual, *maps[2:]]
    cells = prod(len(values) for values in parse_sets(_asked_settings(it)).values())
    cells *= len(it.request.options.backends)
    return first[: max(MIN_MEASURED, int(left_s / MEASURED_S_EACH / cells))]


def _resumed(
    it: Search, options: Options, known: Collection[str]
) -> tuple[Start, list[str]] | Outcome | None:
    """The unfinished or finished measuring of these maps, if that was the last one; with its axes."""
    out = it.request.out
    store, kept = run_resume.reopen(out, options, {"budget"})
    if store is not None:
        same = kept.workloads == options.workloads and kept.model == options.model
        if same and kept.sets[1:] == options.sets[1:] and _precisions(kept.sets) <= set(known):
            return Start(it.request.command, out, time.monotonic(), store), kept.sets
        store.close()
        return None
    complete = run_resume.last_complete(out, options, set())
    if complete is None:
        return None
    file, records = complete
    measured = {str(record.cell.variant.get("precision")) for record in records}
    same = {record.cell.workload for record in records} == {it.workload.name}
    return Outcome(records, file) if same and measured <= set(known) else None


def _precisions(sets: Sequence[str]) -> set[str]:
    return {str(value) for value in parse_sets(sets[:1]).get("precision", [])}


# Choosing


def _reported(it: Search, exploration: Exploration, outcome: Outcome) -> SearchReport:
    rows = [r for r in build_table(outcome.records).rows if r.workload == it.workload.name]
    candidates: dict[Scalar, Candidate]
    candidates = {each.map.precision: each for each in exploration.candidates}
    missed = it.required.missed_by(rows)
    fitting = [row for row in rows if not missed[row.id]]
    able = deployable(fitting, candidates, exploration.fp32_quick_ms)
    if _asked_settings(it) != _settings(it.cell) or len(it.request.options.backends) > 1:
        able = by_latency(able)
    base = [row for row in rows if row.variant["precision"] == "fp32" and row.status == "ok"]
    order = by_reward(able, it.request.reward, base)
    verdicts = _verified(it, worth_testing(order, candidates), exploration.evaluation_items)
    chosen = _chosen(it, order, verdicts)
    standings = standings_of(rows, candidates, verdicts, it.demands, exploration.evaluation_items)
    files = _written_maps(it, outcome, rows, candidates, exploration)
    explained = _explained(exploration, chosen, order)
    reward = it.request.reward
    rewards = {} if reward is None else {row.id: reward_of(row, reward) for row in rows}
    groups = [unit.name for unit in exploration.units if not unit.joiner] + exploration.recurrent
    report = SearchReport(
        workload=it.workload.name,
        title=it.workload.title,
        subject=_subject(it.request.options, it.workload),
        task=it.request.options.task,
        settings=_settings(it.cell),
        rows=search_rows(rows, Known(candidates, standings, files, groups, rewards, missed)),
        maximize=None if reward is None else reward.text,
        chosen=None if chosen is None else chosen.id,
        verdicts=verdicts,
        better="lower" if _main_metric(it.workload)[1] == "lower" else "higher",
        confidence=it.request.confidence,
        explained=None if explained is None else explained.map.precision,
        kept_in_fp32=float_groups(exploration.units, explained),
        exploration=exploration,
        results=None if outcome.file is None else str(outcome.file),
        seconds=time.monotonic() - it.budget.started_s,
        budget_s=it.request.budget_s,
        notes=[*it.notes, *exploration.notes],
    )
    if outcome.file is not None:
        keep_search(report, outcome.file)
    return report


def _subject(options: Options, workload: Workload) -> list[str]:
    """What names the searched model on a command line."""
    if options.model is None:
        return [
            workload.name,
            *(word for path in options.folders for word in ("--workloads", path)),
        ]
    shapes = (word for shape in options.shapes for word in ("--shape", shape))
    return ["--model", options.model, *shapes]


def _explained(
    exploration: Exploration, chosen: Row | None, order: Sequence[Row]
) -> Candidate | None:
    """The map that is told of: the chosen one, else the fastest that may replace fp32."""
    rows = order if chosen is None else [chosen, *order]
    names = [row.variant["precision"] for row in rows if is_mixed(row.variant["precision"])]
    return map_of(exploration.candidates, names[0]) if names else None


def _verified(it: Search, tested: Sequence[Row], items: int) -> list[Verdict]:
    """Verdicts over the first rows. Those whose record misses a limit count among them: they were looked at."""
    passing = [row for row in tested if holds(row, it.demands, items)]
    if not it.demands or not passing:
        return []
    confidence = 1 - (1 - it.request.confidence) / max(1, len(tested))
    found: list[Verdict] = []
    for name in dict.fromkeys(row.backend for row in passing):
        asked = [str(row.variant["precision"]) for row in passing if row.backend == name]
        found += _verified_by(it, name, asked, confidence)
    return found


def _verified_by(
    it: Search, backend: str, precisions: list[str], confidence: float
) -> list[Verdict]:
    """Verdicts over what one backend answers."""
    specs = {registry.load(spec).name: spec for spec in it.request.options.backends}
    job = VerifyJob(
        prepare=it.prepare,
        demands=it.demands,
        precisions=list(dict.fromkeys(precisions)),
        backend=specs.get(backend, backend),
        options=dict(it.cell.options),
        confidence=confidence,
        threads=it.threads,
        time_s=max(MIN_VERIFY_S, it.budget.left_s),
    )
    it.voice.say(f"search: testing quality; {left_text(it.budget.left_s)}")
    try:
        found = ask_child("edgebench.search.verify", job, Verification, it.asking(job.time_s))
    except EdgebenchError as error:
        it.notes.append(f"quality was not tested: {error}")
        return []
    return [msgspec.structs.replace(verdict, backend=backend) for verdict in found.verdicts]


def _chosen(it: Search, order: Sequence[Row], verdicts: Sequence[Verdict]) -> Row | None:
    """The fastest row that is safe; without labels, the fastest whose parity holds."""
    if not it.demands:
        return next((row for row in order if holds(row, it.demands)), None)
    safe = {(verdict.backend, verdict.precision) for verdict in verdicts if verdict.safe}
    return next((row for row in order if (row.backend, row.variant["precision"]) in safe), None)


def _written_maps(
    it: Search,
    outcome: Outcome,
    rows: Sequence[Row],
    candidates: Mapping[Scalar, Candidate],
    exploration: Exploration,
) -> dict[Scalar, str]:
    """The maps of the rows as files beside the results."""
    if outcome.file is None:
        return {}
    folder = outcome.file.with_suffix(".maps")
    notes = {
        unit.name: f"{unit.op}: "
        + (
            f"fp32 {unit.fp32_us:.0f} us, int8 {unit.int8_us:.0f} us"
            if unit.timed
            else "times unknown"
        )
        + ("" if unit.damage is None else f", damage {output_error(unit.damage, REFUSED_DAMAGE)}")
        for unit in exploration.units
    }
    files: dict[Scalar, str] = {}
    for row in rows:
        precision = row.variant["precision"]
        candidate = candidates.get(precision)
        if candidate is not None:
            path = folder / f"{str(precision).replace(':', '-')}.yaml"
            write_file(path, map_text(candidate.map, notes).encode())
            files[precision] = str(path)
    return files
