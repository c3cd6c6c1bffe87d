"""Applies the rules that make findings of profiles, each a code with its figures. `render.explain_text` words them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from edgebench.explain.explanation import Code, Deployment, Finding
from edgebench.explain.node_groups import CONVERTING, Group
from edgebench.explain.prediction import LAYOUTS
from edgebench.explain.turn_statistics import quartiles
from edgebench.operator_times import OperatorLine, OperatorTime

#: An operator is slower or faster where it differs by this share of itself, and of the whole.
MIN_CHANGE, MIN_PART = 0.05, 0.001
#: A kind of them is worth a word where it changes the time by this share.
MIN_TOLD = 0.005
#: A finding is worth a word from this share of the time on.
MIN_SHARE = 0.01
#: Operators of a kind are far from the ceiling below this share of it.
NEAR_CEILING = 0.5
MIN_KIND_SHARE = 0.1
COPIES = frozenset({"MemcpyToHost", "MemcpyFromHost"})
#: Kinds of nodes that do the arithmetic of a network.
COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "Attention"})
NODES_NAMED = 200


def findings_of(subject: Deployment, groups: Sequence[Group]) -> list[Finding]:
    """All findings about a deployment; `groups`: its operators beside those of another, where there is one."""
    rules: tuple[Callable[[Deployment], Iterator[Finding]], ...] = (
        *(_unfused, _layouts, _other_providers, _single_threaded, _dispatch, _ceilings),
    )
    found = [*_changed(subject, groups), *_left_in_float(subject, groups)]
    for rule in rules:
        found += rule(subject)
    return found


def _changed(subject: Deployment, groups: Sequence[Group]) -> Iterator[Finding]:
    """Operators that take longer than in the other deployment, and those that take less, by kind of kernel."""
    slower: dict[tuple[str, str], list[Group]] = defaultdict(list)
    faster: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        ours, theirs = (_time_ns(operators) for operators in group.operators)
        if not all(group.operators):
            continue
        least = max(MIN_CHANGE * ours, MIN_PART * subject.operators_ns)
        if abs(theirs - ours) > least:
            kinds = slower if theirs > ours else faster
            kinds[group.what(), _kernel(group)].append(group)
    told: tuple[tuple[Code, dict[tuple[str, str], list[Group]]], ...]
    told = (("slower_operators", slower), ("faster_operators", faster))
    for code, kinds in told:
        made = [_about(code, what, each, subject, name) for (what, name), each in kinds.items()]
        worth = [each for each in made if _change_ns(each) >= MIN_TOLD * subject.operators_ns]
        yield from sorted(worth, key=lambda each: -_change_ns(each))


def _change_ns(finding: Finding) -> float:
    return abs(finding.time_ns - (finding.other_ns or 0))


def _about(
    code: Code, what: str, groups: Sequence[Group], subject: Deployment, kernel: str = ""
) -> Finding:
    """What groups take in both deployments."""
    ours_ns, theirs_ns = (
        sum(_time_ns(group.operators[side]) for group in groups) for side in (0, 1)
    )
    return Finding(
        code=code,
        what=what,
        count=len(groups),
        time_ns=theirs_ns,
        share=_share(theirs_ns, subject),
        other_ns=ours_ns,
        kernel=kernel,
        nodes=[group.main.name for group in groups][:NODES_NAMED],
    )


def _left_in_float(subject: Deployment, groups: Sequence[Group]) -> Iterator[Finding]:
    """Operators that do the arithmetic and did not become integers, where int8 was asked for."""
    if not str(subject.variant.get("precision", "")).startswith("int8"):
        return
    kinds: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        types = {operator.type for operator in group.operators[1]}
        if group.main.kind in COMPUTE and types and "int8" not in types:
            kinds[group.what()].append(group)
    found = (_about("left_in_float", what, chosen, subject) for what, chosen in kinds.items())
    yield from (each for each in found if each.share >= MIN_SHARE)


def _unfused(subject: Deployment) -> Iterator[Finding]:
    """Conversions to integers and back that run as operators of their own."""
    chosen = [line for line in subject.operators if line.kind in CONVERTING]
    yield from _of_lines("unfused_conversions", chosen, subject)


def _layouts(subject: Deployment) -> Iterator[Finding]:
    """Changes of layout or type that the runtime put in."""
    chosen = [
        line
        for line in subject.operators
        if line.nodes == [] and (line.kind in LAYOUTS or line.kind == "Cast")
    ]
    yield from _of_lines("layout_changes", chosen, subject)


def _other_providers(subject: Deployment) -> Iterator[Finding]:
    """Operators beside the provider that takes most of the time, and copies between devices."""
    places: dict[str, list[OperatorLine]] = defaultdict(list)
    for line in subject.operators:
        places[f"{line.device} {line.provider}".strip()].append(line)
    main = max(places, key=lambda place: sum(each.time_ns for each in places[place]), default="")
    for place in sorted(places.keys() - {main}):
        yield from _of_lines("other_provider", places[place], subject, place, least=0.0)
    copies = [line for line in subject.operators if line.kind in COPIES]
    yield from _of_lines("other_provider", copies, subject, "copies", least=0.0)


def _single_threaded(subject: Deployment) -> Iterator[Finding]:
    if subject.threads is not None and subject.threads > 1:
        chosen = [line for line in subject.operators if line.parallel is False]
        yield from _of_lines("single_threaded", chosen, subject, least=5 * MIN_SHARE)


def _of_lines(
    code: Code,
    lines: Sequence[OperatorLine],
    subject: Deployment,
    what: str = "",
    least: float = MIN_SHARE,
) -> Iterator[Finding]:
    time_ns = sum(line.time_ns for line in lines)
    if lines and _share(time_ns, subject) >= least:
        yield Finding(
            code=code,
            what=what,
            count=len(lines),
            time_ns=time_ns,
            share=_share(time_ns, subject),
            kernel=max(lines, key=lambda line: line.time_ns).kind,
            nodes=[name for line in lines for name in line.nodes or ()][:NODES_NAMED],
        )


def _dispatch(subject: Deployment) -> Iterator[Finding]:
    """What a run takes beside its operators."""
    beside_ns = subject.beside_ns
    if beside_ns > 2 * MIN_SHARE * subject.run_ns.value and subject.operators:
        yield Finding(
            code="dispatch_overhead",
            count=sum(kind.count for kind in subject.kinds),
            time_ns=beside_ns,
            share=beside_ns / subject.run_ns.value,
        )


def _ceilings(subject: Deployment) -> Iterator[Finding]:
    """Kinds of operators that take much of the time, and far more than the device's ceilings explain."""
    for line in subject.kinds:
        if line.ceiling_ns is None or line.share < MIN_KIND_SHARE:
            continue
        if line.ceiling_ns < NEAR_CEILING * line.time_ns:
            yield Finding(
                code="far_from_ceiling",
                what=line.kind,
                count=line.count,
                time_ns=line.time_ns,
                share=line.share,
                ceiling_ns=line.ceiling_ns,
            )


def _time_ns(operators: Sequence[OperatorTime]) -> float:
    return sum(quartiles(operator.times_ns)[1] for operator in operators)


def _kernel(group: Group) -> str:
    """The operator of the explained deployment that takes most of the group's time."""
    return max(group.operators[1], key=lambda o: quartiles(o.times_ns)[1]).kind


def _share(time_ns: float, subject: Deployment) -> float:
    return time_ns / subject.operators_ns if subject.operators_ns else 0.0
