"""Explores the maps of one model: times and damages of its groups, the cuts that follow, and what they are worth.

Runs in a process of its own, `python -m edgebench.search.explore PARENT_PID MEMORY_LIMIT`: an ExploreJob as JSON on
stdin, a line on stdout for each step, and a last one, an Exploration or a ChildFailure.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgebench.errors import EdgebenchError, UnsupportedError, tells_of_no_memory
from edgebench.models.precision_map import CalibrationSpec
from edgebench.models.quantization_recipes import JOINERS, recipe_named
from edgebench.search import group_costs, sessions
from edgebench.search.candidates import Draft, between, drafts
from edgebench.search.children import answer_job
from edgebench.search.judge import TUNED, TUNING_DRAW, Explorer, Judge, calibration_name
from edgebench.search.kept_search import journal_at, write_file
from edgebench.search.quality_interval import MIN_BLOCKS, unseen_change
from edgebench.search.requirements import resolved
from edgebench.search.search_messages import Candidate, Exploration, ExploreJob, UnitFacts
from edgebench.search.tradeoff import Choice
from edgebench.words.search_words import few_items

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.models.quantize import Ranges
    from edgebench.task import Task

#: Further draws of test items, at most: each as many as the workload's own.
MAX_DRAWS = 8
PROFILE_ITEMS = 4
#: Shares of the time: when profiling ends, when damages end; what follows is tried, timed and refined.
PROFILED, DAMAGED = 0.25, 0.6
#: And where most of the time, by this share, goes into matrix products: quantising them at run time needs no damages.
DAMAGED_OF_PRODUCTS, MOSTLY = 0.35, 0.5
#: Methods that keep histograms take so many times as long as the lowest and highest values.
HISTOGRAM_FACTOR = 5.0
#: Candidates that are built however little time there is.
MIN_DRAFTS = 3
MAX_PROFILE_S = 12.0
#: Steps of the bisection between the best map that holds on tuning items and the next one that does not.
MAX_STEPS = 5


def begun(job: ExploreJob, say: Callable[[str], object], recipe: str) -> Explorer:
    """The model of a job, ready to be explored. Raises EdgebenchError; UnsupportedError where it has nothing to
    quantise."""
    from edgebench.models.quantize import quantizable
    from edgebench.preparation.prepare import subject_of

    started_s = time.monotonic()
    say("preparing the model")
    subject = subject_of(job.prepare, say)
    source = quantizable(subject.model, recipe_named(recipe))
    journal = journal_at(Path(job.journal), job.resume)
    return Explorer(job, subject, source, say, time.monotonic, started_s, journal)


def explored(it: Explorer) -> Exploration:
    """Times, damages and candidates. Raises UnsupportedError where fp32 itself misses a limit."""
    spec, ranges, errors = calibrated(it, everything(it))
    timed = it.journal.once(it.key("times", spec), list[UnitFacts], lambda: _timed(it, ranges))
    _note_untimed(it, timed)
    facts = _with_damages(it, ranges, timed, spec)
    fp32_evaluation, fp32_tuning = _fp32_quality(it)
    candidates = _candidates(it, spec, ranges, facts, (fp32_evaluation, fp32_tuning))
    told = (
        type(it.evaluation).draws if it.tuning is not None else "calibration items, without labels"
    )
    return Exploration(
        calibration=spec,
        calibration_errors=errors,
        units=facts,
        fp32_ms=sum(fact.fp32_us for fact in facts) / 1e3,
        fp32_quick_ms=it.fp32_quick_ms,
        fp32_evaluation=fp32_evaluation,
        fp32_tuning=fp32_tuning,
        tuned_on=told,
        tuning_items=len(it.tuning) if it.tuning is not None else 0,
        evaluation_items=len(it.evaluation),
        candidates=candidates,
        recurrent=[unit.name for unit in it.source.units.recurrent],
        seconds=it.clock() - it.started_s,
        notes=it.notes,
    )


def everything(it: Explorer) -> Choice:
    """All groups in int8, and between them what the usual placement takes along."""
    groups = [unit.name for unit in it.source.units.groups]
    return it.source.units.joined(groups, JOINERS)


def calibrated(it: Explorer, full: Choice) -> tuple[CalibrationSpec, Ranges, dict[str, float]]:
    """The method whose ranges leave the whole network in int8 with the least error."""
    found: list[tuple[float, CalibrationSpec, Ranges]] = []
    begun_s, end_s = it.clock(), it.started_s + PROFILED * it.job.time_s
    for spec in it.job.calibrations:
        each_s = (it.clock() - begun_s) / max(1, len(found))
        if found and it.clock() + HISTOGRAM_FACTOR * each_s > end_s:
            it.notes.append(f"there was no time to calibrate by {calibration_name(spec)}")
            continue
        it.say(f"calibrating ({calibration_name(spec)})")
        ranges = it.subject.ranges(spec, it.source)
        error = it.damage_of(ranges, full, spec)
        found.append((error, spec, ranges))
    _, spec, ranges = min(found, key=lambda each: each[0])
    return spec, ranges, {calibration_name(each): error for error, each, _ in found}


def _timed(it: Explorer, ranges: Ranges) -> list[UnitFacts]:
    """Every unit with its kernel times: fp32, everything in int8, and the usual placement, in turns."""
    it.say("profiling fp32 and int8 in turns")
    model, units = it.source.model, it.source.units
    full = it.quantized(ranges, units.names)
    end_s = it.clock() + MAX_PROFILE_S
    runtime = sessions.RuntimeChoice(it.job.backend, it.job.options)
    profiles = sessions.profiles_in_turns(
        [model, full],
        it.items[:PROFILE_ITEMS],
        runtime,
        lambda: it.clock() > end_s or it.past(PROFILED),
    )
    fp32, int8 = (group_costs.unit_times(units, profile) for profile in profiles)
    return group_costs.facts_of(units, fp32, int8)


def _note_untimed(it: Explorer, facts: Sequence[UnitFacts]) -> None:
    lost = [fact.name for fact in facts if not (fact.timed or fact.joiner)]
    if lost:
        it.notes.append(
            f"the profiles do not time {len(lost)} groups both in fp32 and in int8: {lost[0]}, ..."
        )


def _with_damages(
    it: Explorer, ranges: Ranges, facts: Sequence[UnitFacts], spec: CalibrationSpec
) -> list[UnitFacts]:
    """The damage of each group alone; of joiners, of all of one operator together, in equal shares."""
    damages: dict[str, float] = {}
    end = DAMAGED_OF_PRODUCTS if _mostly_products(it, facts) else DAMAGED
    groups = [fact.name for fact in facts if not fact.joiner]
    for number, name in enumerate(sorted(groups, key=_gain(facts), reverse=True)):
        it.say(f"damage of group {number + 1} of {len(groups)}")
        if damages and it.past(end):
            it.notes.append(
                f"the damage of {len(groups) - number} groups was not measured for want of time: "
                "they count as the worst"
            )
            break
        damages[name] = it.damage_of(ranges, [name], spec)
    kinds: dict[str, list[str]] = {}
    for fact in facts:
        if fact.joiner:
            kinds.setdefault(fact.op, []).append(fact.name)
    for op, names in kinds.items():
        if it.past(end):
            break
        it.say(f"damage of {len(names)} x {op}")
        together = it.damage_of(ranges, names, spec)
        damages |= dict.fromkeys(names, together / math.sqrt(len(names)))
    return [msgspec.structs.replace(fact, damage=damages.get(fact.name)) for fact in facts]


def _gain(facts: Sequence[UnitFacts]) -> Callable[[str], float]:
    gains = {fact.name: fact.fp32_us - fact.int8_us for fact in facts}
    return gains.__getitem__


def _fp32_quality(it: Explorer) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of fp32 on the workload's own items and on tuning items. Raises UnsupportedError where fp32
    itself misses a limit."""
    if not it.job.demands:
        return {}, {}
    it.say("quality of fp32")
    evaluation = _fp32_metrics(it, it.evaluation, 0)
    for demand in resolved(it.job.demands, evaluation):
        value = evaluation.get(demand.metric)
        if value is not None and demand.spare(value) < 0:
            raise UnsupportedError(
                f"fp32 itself has {demand.metric} {value:.4g}, beyond the limit {demand.limit:g}: no map can hold it",
                "lower the limit, or take another model",
            )
    _check_items(it, evaluation)
    tuning = {} if it.tuning is None else _fp32_metrics(it, it.tuning, TUNING_DRAW)
    return evaluation, tuning


def _check_items(it: Explorer, fp32: Mapping[str, float]) -> None:
    """Notes limits that too few test items are there for. Raises UnsupportedError where these are too few for any
    interval."""
    task = it.evaluation
    count, kind = len(task), type(task)
    independent = len({task.cluster(item) for item in range(count)})
    if independent < MIN_BLOCKS:
        raise UnsupportedError(
            f"the task has {independent} independent labelled items, and an interval takes {MIN_BLOCKS}: no map could "
            "be shown to hold a limit",
            "give it more labelled items, or leave out --task: outputs are then held against fp32",
        )
    if kind.draws and not kind.same_sources:
        count *= 1 + MAX_DRAWS
    unseen = unseen_change(count, it.job.confidence)
    for demand in resolved(it.job.demands, fp32):
        spare = demand.spare(fp32[demand.metric]) if demand.metric in fp32 else unseen
        if spare < unseen:
            it.notes.append(few_items(demand.metric, count, it.job.confidence, unseen, spare))


def _fp32_metrics(it: Explorer, task: Task, draw: int) -> dict[str, float]:
    return it.journal.once(
        ("fp32", str(draw)), dict[str, float], lambda: task.evaluate(it.infer(it.fp32))
    )


# Candidates


def _candidates(
    it: Explorer,
    spec: CalibrationSpec,
    ranges: Ranges,
    facts: Sequence[UnitFacts],
    fp32: tuple[Mapping[str, float], Mapping[str, float]],
) -> list[Candidate]:
    """Cuts for all prices of damage, the usual placement, and what lies between holding and missing."""
    tradeoff = group_costs.tradeoff_of(facts, it.source.units.edges)
    judge = Judge(it, spec, ranges, tradeoff, fp32)
    proposed = drafts(tradeoff, everything(it), it.job.points)
    products_first = _mostly_products(it, facts)
    sure = 1 if products_first else MIN_DRAFTS
    found = [judge.candidate(draft) for draft in islice(proposed, sure)]
    if products_first:
        found += [*judge.at_run_time(found), *judge.in_blocks()]
    found += [judge.candidate(draft) for draft in proposed if not it.past(TUNED)]
    for _step in range(MAX_STEPS):
        judged = [(each.map.quantized, each.holds) for each in found]
        further = None if it.past(TUNED) else between(tradeoff, judged)
        if further is None:
            break
        found.append(judge.candidate(further))
    if "nncf" in it.job.via:
        found += [judge.candidate(draft) for draft in _nncf_drafts(it, fp32[1])]
    if not products_first:
        found += [*judge.at_run_time(found), *judge.in_blocks()]
    return judge.refined(judge.timed(found))


def _mostly_products(it: Explorer, facts: Sequence[UnitFacts]) -> bool:
    """Whether most of the time goes into what can be quantised at run time: that is tried first then."""
    products = {unit.name for unit in it.source.units.products}
    whole = sum(fact.fp32_us for fact in facts)
    return sum(fact.fp32_us for fact in facts if fact.name in products) > MOSTLY * whole


class _OutOfTimeError(Exception):
    """NNCF knows no budget: this ends it."""


def _nncf_drafts(it: Explorer, fp32_tuning: Mapping[str, float]) -> list[Draft]:
    """The map that NNCF's accuracy control chooses on tuning items by the first limit; none where it finds none."""
    from edgebench.models.nncf_scope import nncf_scope

    demand = next(iter(resolved(it.job.demands, fp32_tuning)), None)
    if it.tuning is None or demand is None or demand.metric not in fp32_tuning:
        it.notes.append("NNCF was not asked: it takes labelled tuning items and a limit")
        return []
    task, sign = it.tuning, 1 if demand.better == "higher" else -1
    most = max(0.0, demand.spare(fp32_tuning[demand.metric]))

    def quality(model: ModelProto) -> float:
        if it.past(TUNED):
            raise _OutOfTimeError
        it.say("NNCF's accuracy control")
        return sign * task.evaluate(it.infer(it.session(model)))[demand.metric]

    def asked() -> list[str]:
        return sorted(nncf_scope(it.source.model, it.calibration, quality, most))

    try:
        names = set(it.journal.once(("nncf", demand.metric, f"{most:.9g}"), list[str], asked))
    except _OutOfTimeError:
        it.notes.append("NNCF's accuracy control did not end in the time for exploring")
        return []
    except Exception as error:
        if tells_of_no_memory(error) or isinstance(error, EdgebenchError):
            raise
        it.notes.append(f"NNCF's accuracy control failed: {type(error).__name__}")
        return []
    units = it.source.units
    groups = [unit.name for unit in units.groups if names.intersection(unit.nodes)]
    if not groups:
        it.notes.append("NNCF's accuracy control leaves nothing in int8")
        return []
    return [Draft(units.joined(groups, JOINERS), "NNCF")]


def main() -> int:
    return answer_job(ExploreJob, _kept)


def explored_by_any(job: ExploreJob, say: Callable[[str], object]) -> Exploration:
    """By the first recipe that the quantizer can do. Raises EdgebenchError, or what the last one raised."""
    *others, last = job.recipes
    for recipe in others:
        try:
            return explored(begun(job, say, recipe))
        except EdgebenchError:
            raise
        except Exception as error:
            if tells_of_no_memory(error):
                raise
            say(f"recipe {recipe} cannot be done: {type(error).__name__}")
    return explored(begun(job, say, last))


def _kept(job: ExploreJob, say: Callable[[str], object]) -> Exploration:
    found = explored_by_any(job, say)
    write_file(Path(job.state), msgspec.json.encode(found))
    return found


if __name__ == "__main__":
    sys.exit(main())
