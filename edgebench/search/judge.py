"""Holds the state of an exploration; builds the maps that were proposed, and measures what exploring can tell of them:
quality, damage, time in turns.

The model of costs is right in the large; kernels of a few microseconds it cannot tell apart. So the fastest map that
holds is refined by measuring: one group at a time takes the other precision, and what is faster and holds is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.errors import tells_of_no_memory
from edgebench.models.precision_map import IN_BLOCKS, CalibrationSpec, PrecisionMap
from edgebench.search import sessions
from edgebench.search.candidates import Draft, neighbours
from edgebench.search.item_cache import remembering
from edgebench.search.requirements import resolved
from edgebench.search.search_messages import REFUSED_DAMAGE, Candidate, ExploreJob
from edgebench.search.tradeoff import Choice, Tradeoff
from edgebench.words.search_words import refused_maps

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.models.quantize import Quantizable, Ranges
    from edgebench.preparation.prepare import Subject
    from edgebench.search.kept_search import Journal
    from edgebench.task import Feeds, Infer, Outputs, Task

#: The draw of items that maps are tuned on.
TUNING_DRAW = 1
ERROR_ITEMS = 8  # whose outputs tell the damage of a map
#: Shares of the time of exploring: when no further map is tried, and when timing them ends; refining has the rest.
TUNED, TIMED = 0.75, 0.85
#: Items whose runs are timed, and seconds for each map.
TIMED_ITEMS, TIMING_S_EACH = 4, 1.5
#: Maps that are tried with their rest quantised at run time.
MAX_AT_RUN_TIME = 2
#: And shares of what can be quantised so, those of the least damage, where there are so many of them.
PARTS_AT_RUN_TIME, MIN_PARTED = (0.75, 0.5), 4
BLOCK_BITS = (8, 4)
#: Without labels a neighbour may have so many times the damage that refining began with.
DAMAGE_WITHOUT_LABELS = 1.1
#: Neighbours that are built and timed together; a run of one must be so much shorter to count as faster.
NEIGHBOURS_AT_ONCE, FASTER = 6, 0.995
#: Sessions that wait for their turn hold models of so many bytes together: each takes two to three times as much.
MAX_HELD_BYTES = 320 * 2**20


@dataclass
class Explorer:
    """The state of one exploration."""

    job: ExploreJob
    subject: Subject
    source: Quantizable
    say: Callable[[str], object]
    clock: Callable[[], float]
    started_s: float
    journal: Journal
    notes: list[str] = field(default_factory=list)
    fp32_quick_ms: float | None = None

    def past(self, share: float) -> bool:
        """Whether so much of the time is over."""
        return self.clock() - self.started_s > share * self.job.time_s

    # Items

    @cached_property
    def tuning(self) -> Task | None:
        """The task with items to tune on; None: it has no labelled items but those of the evaluation."""
        draws = type(self.evaluation).draws
        wanted = draws and self.job.demands
        return remembering(self.subject.task(TUNING_DRAW)) if wanted else None

    @cached_property
    def evaluation(self) -> Task:
        return self.subject.task(0)

    @cached_property
    def calibration(self) -> list[Feeds]:
        from edgebench.models.quantize import CALIBRATION_ITEMS

        return list(islice(self.evaluation.calibration(), CALIBRATION_ITEMS))

    @cached_property
    def items(self) -> list[Feeds]:
        """Items whose outputs tell the damage: tuning items, or those of the calibration."""
        if self.tuning is None:
            step = max(1, len(self.calibration) // (2 * ERROR_ITEMS))
            return self.calibration[::step][: 2 * ERROR_ITEMS]
        task, count = self.tuning, min(ERROR_ITEMS, len(self.tuning))
        return [task.preprocess(task.raw(number)) for number in range(count)]

    # Models

    @cached_property
    def fp32(self) -> Any:
        return self.session(self.source.model)

    @cached_property
    def reference(self) -> list[Outputs]:
        return self.infer(self.fp32)(self.items)

    def session(self, model: ModelProto) -> Any:
        return sessions.open_session(model, self.job.threads)

    def infer(self, session: Any) -> Infer:
        return sessions.infer_with(session)

    def damage(self, session: Any) -> float:
        """The relative error of the outputs of a session."""
        return sessions.output_error(self.infer(session)(self.items), self.reference)

    def damage_of(self, ranges: Ranges, names: Collection[str], spec: CalibrationSpec) -> float:
        """The damage of some units in int8, measured once."""
        key = (*self.key("damage", spec), *sorted(names))
        return self.journal.once(key, float, lambda: self._damage_of(ranges, names))

    def key(self, what: str, spec: CalibrationSpec) -> tuple[str, ...]:
        """What a measured value belongs to."""
        return what, self.source.recipe.name, calibration_name(spec)

    def _damage_of(self, ranges: Ranges, names: Collection[str]) -> float:
        """That of a file that the runtime refuses is beyond all others."""
        try:
            return self.damage(self.session(self.quantized(ranges, names)))
        except Exception as error:
            if tells_of_no_memory(error):
                raise
            return REFUSED_DAMAGE

    def quantized(
        self,
        ranges: Ranges,
        names: Collection[str],
        dynamic: Collection[str] = (),
        in_blocks: Mapping[str, int] = {},
    ) -> ModelProto:
        from edgebench.models.quantize import quantize_units

        return quantize_units(self.source, ranges, names, dynamic, in_blocks)


@dataclass
class Judge:
    """Builds candidates and measures what exploring can tell of them."""

    it: Explorer
    spec: CalibrationSpec
    ranges: Ranges
    tradeoff: Tradeoff
    fp32: tuple[Mapping[str, float], Mapping[str, float]]
    sessions: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of the models, by their precision
    shares: dict[str, float] = field(default_factory=dict)  # of fp32's time
    refusals: list[str] = field(
        default_factory=list
    )  # why the runtime opens no neighbour, one each

    def candidate(self, draft: Draft) -> Candidate:
        it = self.it
        it.say(f"quality of a map with {len(draft.choice)} parts in int8")
        wanted = self._map(draft)
        session = self.sessions.get(wanted.precision) or self._session(draft)
        key = ("candidate", wanted.precision)
        found = it.journal.once(key, Candidate, lambda: self._judged(draft, wanted, session))
        self._make_room(wanted.precision)
        self.sessions[wanted.precision] = session
        return found

    def _make_room(self, precision: str) -> None:
        """Times the open sessions and lets go of them where the next one would be too much."""
        held = sum(self.sizes.get(name, 0) for name in {*self.sessions, precision})
        if held > MAX_HELD_BYTES and self.sessions:
            self._time_held()

    def _time_held(self) -> None:
        times = self._times({"fp32": self.it.fp32, **self.sessions}, TIMED)
        self.shares.update({name: times[name] / times["fp32"] for name in self.sessions})
        self.it.fp32_quick_ms = self.it.fp32_quick_ms or times["fp32"]
        self.sessions.clear()

    def _session(self, draft: Draft) -> Any:
        it = self.it
        model = it.quantized(self.ranges, draft.choice, draft.dynamic, draft.in_blocks)
        self.sizes[self._map(draft).precision] = model.ByteSize()
        return it.session(model)

    def _judged(self, draft: Draft, wanted: PrecisionMap, session: Any) -> Candidate:
        it = self.it
        tuning = {} if it.tuning is None else it.tuning.evaluate(it.infer(session))
        return Candidate(
            map=wanted,
            origin=draft.origin,
            int8_groups=len(draft.dynamic)
            + sum(bits == 8 for bits in draft.in_blocks.values())
            + sum(unit.name in draft.choice for unit in it.source.units.groups),
            predicted_ms=self.tradeoff.cost(draft.choice) / 1e3,
            predicted_damage=math.sqrt(self.tradeoff.load(draft.choice)),
            damage=it.damage(session),
            size_bytes=self.sizes[wanted.precision],
            tuning=tuning,
            spare=self._spare(tuning),
        )

    def at_run_time(self, found: Sequence[Candidate]) -> list[Candidate]:
        """The likeliest candidates once more, with what they leave in fp32 quantised at run time where it can be;
        that alone; and parts of it. No profile names its kernels: what it saves is told by timing the whole."""
        able = {unit.name for unit in self.it.source.units.dynamic}
        holding = [each for each in found if each.holds]
        holding.sort(key=lambda each: each.predicted_ms)
        choices = [*(each.map.quantized for each in holding[:MAX_AT_RUN_TIME]), frozenset()]
        wanted = [Draft(c, "the rest at run time", frozenset(able - c)) for c in choices]
        wanted += [Draft(frozenset(), "parts at run time", part) for part in self._parts(able)]
        return [self.candidate(each) for each in wanted if each.dynamic and not self.it.past(TUNED)]

    def _parts(self, able: Collection[str]) -> list[Choice]:
        """Those of the least damage: points between fp32 and all of them."""
        order = sorted(able, key=lambda name: self.tradeoff.load_a.get(name, 0.0))
        parts = [frozenset(order[: round(share * len(order))]) for share in PARTS_AT_RUN_TIME]
        return parts if len(order) >= MIN_PARTED else []

    def in_blocks(self) -> list[Candidate]:
        """The weights of all matrix products in blocks of 8 or of 4 bits, activations in fp32: least memory."""
        able = {unit.name for unit in self.it.source.units.in_blocks}
        wanted = [
            Draft(frozenset(), f"weights in {bits} bits", in_blocks=dict.fromkeys(able, bits))
            for bits in BLOCK_BITS
        ]
        return [self.candidate(each) for each in wanted if able and not self.it.past(TUNED)]

    def timed(self, found: Sequence[Candidate]) -> list[Candidate]:
        """The candidates with what a run takes, in turns with fp32; the fastest first."""
        self.it.say(f"timing {len(found)} maps in turns")
        self._time_held()
        fp32_ms = self.it.fp32_quick_ms or 0.0
        told = [
            msgspec.structs.replace(each, quick_ms=fp32_ms * self.shares[each.map.precision])
            for each in found
        ]
        return sorted(told, key=_time)

    def _times(self, opened: Mapping[str, Any], share: float) -> dict[str, float]:
        it = self.it
        end_s = it.clock() + TIMING_S_EACH * len(opened)
        return sessions.times_in_turns(
            opened, it.items[:TIMED_ITEMS], lambda: it.clock() > end_s or it.past(share)
        )

    def refined(self, found: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, and what measuring the neighbours of the fastest that holds found; the fastest first."""
        best = next((each for each in sorted(found, key=_time) if each.holds), None)
        if best is None or best.map.in_blocks:
            return list(found)
        most = DAMAGE_WITHOUT_LABELS * best.damage
        known = {each.map.precision for each in found}
        added: list[Candidate] = []
        while not self.it.past(1.0):
            drafts = self._next_to(best, known)
            if not drafts:
                break
            known.update(self._map(each).precision for each in drafts)
            for each in self._faster(best, drafts):
                added.append(each)
                if each.holds and (each.spare is not None or each.damage <= most):
                    best = each
                    break
        if self.refusals:
            self.it.notes.append(refused_maps(self.refusals))
        return sorted([*found, *added], key=_time)

    def _next_to(self, best: Candidate, known: Collection[str]) -> list[Draft]:
        able = {unit.name for unit in self.it.source.units.dynamic}
        draft = Draft(best.map.quantized, best.origin, best.map.dynamic)
        fresh = (
            each
            for each in neighbours(self.tradeoff, draft, able)
            if self._map(each).precision not in known
        )
        room = MAX_HELD_BYTES // max(1, best.size_bytes or 0)
        return list(islice(fresh, min(NEIGHBOURS_AT_ONCE, max(1, room))))

    def _faster(self, best: Candidate, drafts: Sequence[Draft]) -> Iterator[Candidate]:
        """Those that take less time than `best` in turns with it, the fastest first, judged as they are asked for."""
        it, name = self.it, best.map.precision
        it.say(f"timing {len(drafts)} maps next to the fastest that holds")
        if name not in self.sessions:
            own = Draft(best.map.quantized, best.origin, best.map.dynamic)
            self.sessions = {name: self._session(own)}
        tried: dict[str, Draft] = {}
        for draft in drafts:
            if it.past(1.0):
                break
            wanted = self._map(draft).precision
            try:
                self.sessions[wanted] = self._session(draft)
            except Exception as error:
                if tells_of_no_memory(error):
                    raise
                self.refusals.append(f"{type(error).__name__}: {error}")
                continue
            tried[wanted] = draft
        times = self._times({each: self.sessions[each] for each in (name, *tried)}, 1.0)
        faster = [each for each in tried if times[each] < FASTER * times[name]]
        for each in tried.keys() - set(faster):
            del self.sessions[each]
        for each in sorted(faster, key=times.__getitem__):
            scaled = (best.quick_ms or 0.0) * times[each] / times[name]
            yield msgspec.structs.replace(self.candidate(tried[each]), quick_ms=scaled)

    def _map(self, draft: Draft) -> PrecisionMap:
        job, units, choice = self.it.job, self.it.source.units, draft.choice
        return PrecisionMap(
            model_sha256=job.prepare.source_sha256,
            workload=job.workload,
            recipe=self.it.source.recipe.name,
            calibration=self.spec,
            groups={
                unit.name: "int8" if unit.name in choice else "fp32"
                for unit in units.units
                if unit.name in choice or not unit.joiner
            }
            | dict.fromkeys((unit.name for unit in units.recurrent), "fp32")
            | dict.fromkeys(sorted(draft.dynamic), "int8-dynamic")
            | {name: IN_BLOCKS[bits] for name, bits in sorted(draft.in_blocks.items())},
        )

    def _spare(self, tuning: Mapping[str, float]) -> float | None:
        """What the tightest limit leaves, relative. A map may lose on tuning items what fp32 has to spare on
        the workload's own, for which alone the limits were set."""
        evaluation, base = self.fp32
        left = []
        for demand in resolved(self.it.job.demands, evaluation):
            name = demand.metric
            if name in tuning and name in base and name in evaluation:
                change = tuning[name] - base[name]
                left.append(demand.spare(evaluation[name] + change) / max(abs(demand.limit), 1e-9))
        return min(left, default=None)


def _time(candidate: Candidate) -> float:
    return candidate.quick_ms if candidate.quick_ms is not None else math.inf


def calibration_name(spec: CalibrationSpec) -> str:
    return spec.method if spec.percentile is None else f"{spec.method} {spec.percentile:g}"
