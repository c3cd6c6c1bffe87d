"""Checks what the types of a record cannot express: lists that belong together, references, contradictions.

A record is checked once, where it is read or comes from a worker, so that analysis needs no guards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from edgebench import record as rec
from edgebench.files.number_bounds import MAX_INTEGER
from edgebench.metrics import METRICS

#: The field and what is wrong with it.
Finding = tuple[str, str]

MAX_DEPTH = 32  # of what is anybody's content
#: Parts of a row that are there whatever was measured: a reported number can stand in them.
_STANDING_PARTS = ("", "latency_ns", "memory", "energy")
_NEVER_NEGATIVE = ("ns", "bytes", "per_s")


def record_findings(record: rec.Record) -> Iterator[Finding]:
    """Yields what makes no sense in a record, each with its field."""
    batch = record.cell.variant.get("batch", 1)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        yield "cell.variant.batch", f"{batch!r} is not a number of items"
    yield from _free_form("run.settings", record.run.settings)
    yield from _free_form("device.facts", record.device.facts)
    yield from _indices(record.replicates)
    for place, replicate in enumerate(record.replicates):
        for field, problem in replicate_findings(replicate):
            yield f"replicates[{place}].{field}", problem
    if record.quality is not None:
        yield from _quality("quality", record.quality)
    yield from _energy("energy", record.energy)
    if record.imported is not None:
        yield from _reported(record, record.imported)


def replicate_findings(replicate: rec.Replicate) -> Iterator[Finding]:
    """Yields what makes no sense in one replicate."""
    yield from _window(replicate)
    if replicate.paced is not None:
        yield from _paced(replicate.paced, len(replicate.samples_ns))
    if replicate.shapes is not None:
        yield from _shapes(replicate.shapes)
    if replicate.company is not None:
        yield from _company(replicate.company)
    if (loadgen := replicate.loadgen) is not None and loadgen.wait_ns:
        yield from _equally_long("loadgen", loadgen.wait_ns, loadgen.service_ns)
    if replicate.sustained is not None:
        ends_ns = [point.at_ns for point in replicate.sustained.curve]
        yield from _ascending("sustained.curve", ends_ns)
    yield from _parallel_lists(replicate)
    if replicate.generate is not None:
        yield from _generate(replicate.generate)
    if replicate.scaling is not None:
        yield from _scaling(replicate.scaling)
    if replicate.quality is not None:
        yield from _quality("quality", replicate.quality)
    if replicate.energy is not None:
        yield from _energy("energy", replicate.energy)
    for place, marker in enumerate(replicate.markers):
        if marker.end_unix_ns < marker.start_unix_ns:
            yield f"markers[{place}].end_unix_ns", "it ends before it starts"


def _window(replicate: rec.Replicate) -> Iterator[Finding]:
    samples = len(replicate.samples_ns)
    if replicate.queries is not None and replicate.queries < samples:
        yield "queries", f"{replicate.queries} queries have {samples} samples"
    start_ns, end_ns = replicate.window_start_ns, replicate.window_end_ns
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        yield "window_end_ns", f"{end_ns} is before the start, {start_ns}"


def _shapes(shapes: rec.ShapeChanges) -> Iterator[Finding]:
    yield from _equally_long("shapes", shapes.shapes, shapes.first_ns, shapes.again_ns)  # type: ignore[arg-type]
    yield from _equally_long("shapes", shapes.changed_ns, shapes.same_ns)


def _company(company: rec.Company) -> Iterator[Finding]:
    means = (company.alone_mean_ns, company.company_mean_ns)
    kept = (company.alone_ns, company.company_ns)
    yield from _equally_long("company", *means, *kept)  # type: ignore[arg-type]
    counts = (company.alone_cpu_ns, company.company_cpu_ns)
    waits = (company.alone_waited_ns, company.company_waited_ns)
    for counted in (counts, waits):
        if any(counted):
            yield from _equally_long("company", company.alone_mean_ns, *counted)
    for counter in company.counters:
        told = (counter.alone, counter.company)
        yield from _equally_long("company", company.alone_mean_ns, *told)
    if not all([*company.alone_ns, *company.company_ns]):
        yield "company", "a block without a query"


def _free_form(field: str, value: object) -> Iterator[Finding]:
    """Parts whose content is anybody's: no deeper than a walk through it may go, and no larger numbers
    than elsewhere."""
    level: Iterable[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for part in level:
            if isinstance(part, dict):
                inner += part.values()
            elif isinstance(part, list):
                inner += part
            elif isinstance(part, int) and abs(part) > MAX_INTEGER:
                yield field, "a number in it is beyond 64 bits"
        if not inner:
            return
        level = inner
    yield field, f"it is nested deeper than {MAX_DEPTH} levels"


def _indices(replicates: Sequence[rec.Replicate]) -> Iterator[Finding]:
    """References of replicates to each other."""
    known: set[int] = set()
    for place, replicate in enumerate(replicates):
        if replicate.index in known:
            yield f"replicates[{place}].index", f"a second replicate {replicate.index}"
        known.add(replicate.index)
    for place, replicate in enumerate(replicates):
        for name in ("rerun_of", "superseded_by"):
            other = getattr(replicate, name)
            if other is not None and (other not in known or other == replicate.index):
                yield f"replicates[{place}].{name}", f"there is no other replicate {other}"


def _parallel_lists(replicate: rec.Replicate) -> Iterator[Finding]:
    """Lists that have one entry for each query."""
    if (way := replicate.pipeline) is not None:
        ways = (way.preprocess_ns, way.inference_ns, way.postprocess_ns, way.end_to_end_ns)
        yield from _equally_long(
            "pipeline", *ways, *_without_absent(way.prepare_ns, way.read_ns, way.copy_ns)
        )
    if (unseen := replicate.unseen) is not None:
        kept = _without_absent(unseen.prepare_ns, unseen.copy_ns)
        yield from _equally_long("unseen", unseen.unseen_ns, *kept)
    if (reads := replicate.completion) is not None:
        times_ns = (reads.first_read_ns, reads.second_read_ns, *_without_absent(reads.cold_read_ns))
        yield from _equally_long("completion", *times_ns)
    if (times := replicate.device) is not None:
        parts = (times.host_to_device_ns, times.compute_ns, times.device_to_host_ns)
        yield from _equally_long("device", *parts)


def _without_absent(*lists: Sequence[int]) -> Iterator[Sequence[int]]:
    """Returns those that are there: records of earlier versions have none."""
    return filter(None, lists)


def _equally_long(field: str, *lists: Sequence[float]) -> Iterator[Finding]:
    lengths = list(map(len, lists))
    if lengths.count(lengths[0]) != len(lengths):
        lengths_text = ", ".join(map(str, lengths))
        yield field, f"its lists have {lengths_text} entries, and must be equally long"


def _unequal(length: int, expected: int, other: str) -> str:
    return f"it has {length} entries, and {other} has {expected}"


def _ascending(field: str, values: Sequence[int]) -> Iterator[Finding]:
    if any(later < earlier for earlier, later in pairwise(values)):
        yield field, "times must not go back"


def _tokens(field: str, token_ns: Sequence[int]) -> Iterator[Finding]:
    if not token_ns:
        yield field, "it has no token"
    yield from _ascending(field, token_ns)


def _generate(part: rec.Generate) -> Iterator[Finding]:
    for place, request in enumerate(part.requests):
        field = f"generate.requests[{place}]"
        yield from _tokens(f"{field}.token_ns", request.token_ns)
        for name in ("new_tokens", "stop"):
            length = len(getattr(request, name))
            if length != part.width:
                yield f"{field}.{name}", f"it has {length} entries for {part.width} sequences"
        if request.speculated is not None:
            yield from _speculated(f"{field}.speculated", request.speculated)
    if part.plain is not None and len(part.plain.plain_ns) != len(part.plain.speculated_ns):
        counts = (
            f"{len(part.plain.plain_ns)} entries, and speculated_ns {len(part.plain.speculated_ns)}"
        )
        yield "generate.plain.plain_ns", f"it has {counts}"


def _speculated(field: str, part: rec.Speculated) -> Iterator[Finding]:
    if part.drafted is not None and part.accepted > part.drafted:
        yield f"{field}.accepted", f"it is {part.accepted} of {part.drafted} drafted tokens"
    if part.steps < 1:
        yield f"{field}.steps", "it is 0: the reading of the prompt is one"


def _scaling(part: rec.Scaling) -> Iterator[Finding]:
    if not part.problems:
        yield "scaling.problems", "there is none"
    width: int | None = None
    for number, problem in enumerate(part.problems):
        field = f"scaling.problems[{number}].attempts"
        if not problem.attempts:
            yield field, "there is none"
        for place, attempt in enumerate(problem.attempts):
            width = len(attempt.samples) if width is None else width
            if not attempt.samples or len(attempt.samples) != width:
                others = f", and others have {width}" if attempt.samples else ""
                yield f"{field}[{place}].samples", f"it has {len(attempt.samples)} entries{others}"
            yield from _tokens(f"{field}[{place}].token_ns", attempt.token_ns)
            for at, sample in enumerate(attempt.samples):
                if len(sample.since) != len(sample.answers):
                    problem_text = _unequal(len(sample.since), len(sample.answers), "answers")
                    yield f"{field}[{place}].samples[{at}].since", problem_text
                yield from _ascending(f"{field}[{place}].samples[{at}].since", sample.since)


def _quality(field: str, quality: rec.Quality) -> Iterator[Finding]:
    """A limit that did not hold must not be called passed."""
    limits = [(field, quality.value, quality.floor, quality.better, quality.passed)]
    limits += [
        (f"{field}.also[{place}]", each.value, each.limit, each.better, each.passed)
        for place, each in enumerate(quality.also)
    ]
    for name, value, limit, better, passed in limits:
        if passed and value is not None and limit is not None:
            missed = value < limit if better == "higher" else value > limit
            if missed:
                yield f"{name}.passed", f"true, and {value:g} does not meet the limit {limit:g}"


def _energy(field: str, energy: rec.Energy) -> Iterator[Finding]:
    if energy.status == "unavailable" and energy.j_per_inference is not None:
        yield f"{field}.j_per_inference", "it has a value, and the status is unavailable"
    trace = energy.trace
    if trace is not None:
        yield from _equally_long(f"{field}.trace", trace.read_ns, trace.values)  # type: ignore[arg-type]
        yield from _ascending(f"{field}.trace.read_ns", trace.read_ns)


def _paced(paced: rec.Paced, samples: int) -> Iterator[Finding]:
    if len(paced.service_ns) > samples:
        yield "paced.service_ns", _unequal(len(paced.service_ns), samples, "samples_ns")
    for name in ("due_ns", "depth"):
        values = getattr(paced, name)
        if values and len(values) != len(paced.service_ns):
            yield f"paced.{name}", _unequal(len(values), len(paced.service_ns), "service_ns")
    yield from _ascending("paced.due_ns", paced.due_ns)
    if paced.arrivals == "poisson" and paced.service_ns and not paced.due_ns:
        yield "paced.due_ns", "a Poisson load without its schedule"


def _reported(record: rec.Record, imported: rec.Imported) -> Iterator[Finding]:
    """Numbers of another tool must be metrics that a row has a place for."""
    yield from _free_form("imported.row", imported.row)
    beside: Mapping[str, object] = {
        "quality": record.quality,
        "model": record.model,
        "generate": record.cell.scenario == "generate" or None,
    }
    for name, value in imported.reported.items():
        field = f"imported.reported.{name}"
        metric = METRICS.get(name)
        if metric is None:
            yield field, "no metric has this name"
            continue
        part = metric.path.rpartition(".")[0]
        if part not in _STANDING_PARTS and beside.get(part) is None:
            yield field, f"there is no {part} that it could be of"
        if metric.unit in _NEVER_NEGATIVE and value < 0:
            yield field, f"{value:g} is less than nothing"
