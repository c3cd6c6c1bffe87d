"""An explanation in words and tables: the paragraph first, then what it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.explain.explanation import Deployment, Explanation, Figure, Finding, Prediction
from edgebench.operator_times import OperatorLine
from edgebench.render.console import DEPLOY, GOOD, QUIET, TITLE, WARN, paint
from edgebench.render.number_format import percent
from edgebench.render.operator_names import short_names
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain
from edgebench.units import format_ns, format_times

#: Within this of 1, two deployments are as fast as each other.
SAME = 0.02
_NAMED = 3  # nodes in a sentence
_NAME, _CELL = 28, 24  # characters of an operator's name in a sentence, and in a table
_NOUNS = {
    "Conv": "convolution",
    "ConvTranspose": "transposed convolution",
    "MatMul": "matrix product",
    "Gemm": "matrix product",
    "LSTM": "LSTM layer",
    "GRU": "GRU layer",
}
#: A field of the explanation that is not known -> what it is for a reader.
_UNKNOWN = {"ceiling_ns": "how fast the operators could be is unknown"}
_BOUNDS = {"compute": "arithmetic", "memory": "memory", "overhead": "overhead"}


def render(found: Explanation, top: int, out: TextIO) -> None:
    """Writes the explanation with the `top` operators that take most of the time."""
    paint(lambda width: _lines(found, top, width), out)


def _lines(found: Explanation, top: int, width: int) -> Iterator[Line]:
    title = f"{found.workload} on {found.machine} · {found.subject.backend} {found.subject.label}"
    yield from wrapped(plain(title), width, TITLE)
    for words in paragraph(found):
        yield from wrapped(plain(words), width, None)
    if found.prediction is not None:
        yield from wrapped(plain(predicted(found, found.prediction)), width, DEPLOY)
    yield "", None
    for words in further(found):
        yield from wrapped(plain(words), width, None, "  ", "- ")
    for deployment in filter(None, (found.subject, found.against)):
        yield from _deployment(deployment, top if deployment is found.subject else 0, width)
    for words in remarks(found):
        yield from wrapped(plain(words), width, QUIET)


# --- words ------------------------------------------------------------------------------------------


def paragraph(found: Explanation) -> list[str]:
    """The sentences on top: how it compares, and the one thing that explains most of it."""
    subject, against = found.subject, found.against
    if against is None or found.slowdown is None:
        return [_alone(found)]
    verdict = compared(found.slowdown)
    if verdict == "as fast as":
        first = f"{subject.label} is about as fast as {against.label}"
    else:
        first = f"{subject.label} is {_times(found.slowdown)} {verdict} than {against.label}"
    kind = " of CPU time" if subject.cpu_time and against.cpu_time else ""
    first += f" ({format_ns(subject.run_ns.value)} against {format_ns(against.run_ns.value)}{kind})"
    if verdict == "as fast as":
        return [f"{first}."]
    cause = _cause(found, f"{verdict}_operators")
    sentences = [f"{first}, because {cause}." if cause else f"{first}."]
    opposite = _cause(found, "slower_operators") if verdict == "faster" else ""
    return [*sentences, f"Against that, {opposite}."] if opposite else sentences


def remarks(found: Explanation) -> list[str]:
    unknown = (f"{_UNKNOWN.get(name, name)}: {why}" for name, why in found.unknown.items())
    return [*found.notes, *unknown]


def compared(slowdown: Figure) -> str:
    """Whether it is slower, faster, or neither is known."""
    low, high = slowdown.low, slowdown.high
    decided = low is None or high is None or not low <= 1 <= high
    if abs(slowdown.value - 1) <= SAME or not decided:
        return "as fast as"
    return "slower" if slowdown.value > 1 else "faster"


def _times(slowdown: Figure) -> str:
    """A factor above 1 with its interval: "1.31x (1.25-1.36)"."""
    value, low, high = slowdown.value, slowdown.low, slowdown.high
    if value < 1:
        value = 1 / value
        low, high = (1 / high if high else None), (1 / low if low else None)
    return factor(Figure(value=value, low=low, high=high))


def factor(figure: Figure) -> str:
    """ "1.31x (1.25-1.36)", without the interval where there is none."""
    if figure.low is None or figure.high is None:
        return format_times(figure.value)
    return f"{format_times(figure.value)} ({figure.low:.2f}-{figure.high:.2f})"


def _alone(found: Explanation) -> str:
    """Of one deployment: what takes most of its time."""
    subject = found.subject
    start = f"{subject.label} takes {format_ns(subject.run_ns.value)} a run"
    if not subject.kinds:
        return f"{start}."
    kind = subject.kinds[0]
    verb = "takes" if kind.count == 1 else "take"
    return f"{start}; {kind.count} {kind.kind} {verb} {percent(kind.share)} of its operators' time."


def _cause(found: Explanation, code: str) -> str:
    """What of one code explains most: the kind of operators whose time differs most."""
    causes = [each for each in found.findings if each.code == code]
    if not causes:
        return ""
    first = causes[0]
    other = found.against.label if found.against else ""
    words = (
        f"{counted(first)} {'takes' if first.count == 1 else 'take'} {format_ns(first.time_ns)} "
        f"({percent(first.share)} of its operators' time) where {other} takes "
        f"{format_ns(first.other_ns or 0)}"
    )
    rest = sum(each.count for each in causes[1:])
    if rest:
        extra = sum(each.time_ns - (each.other_ns or 0) for each in causes[1:])
        sign = "more" if extra > 0 else "less"
        take = "operator takes" if rest == 1 else "operators take"
        words += f"; {rest} further {take} {format_ns(abs(extra))} {sign}"
    return words


def counted(finding: Finding) -> str:
    """ "13 one-dimensional convolutions (QLinearConv)"."""
    detail, _, kind = finding.what.replace("2-D", "two-dimensional").rpartition(" ")
    noun = _NOUNS.get(kind, f"{kind} operator") + "s" * (finding.count != 1)
    kernel = f" ({finding.kernel})" if finding.kernel not in ("", kind) else ""
    return f"{finding.count} {f'{detail} ' if detail else ''}{noun}{kernel}"


def predicted(found: Explanation, prediction: Prediction) -> str:
    assert found.against is not None
    count, other = len(prediction.kept), found.against.label
    ratio = prediction.speedup
    versus = (
        f"{factor(ratio)} as fast as {other}"
        if ratio.value >= 1
        else f"{factor(ratio)} of {other}'s speed"
    )
    return (
        f"Prediction, not measured: with {_these(prediction.kept)} left in {other} it would take about "
        f"{format_ns(prediction.run_ns.value)}, {versus} and {format_times(prediction.gain)} as fast as "
        f"it is ({count} operator{'s' * (count != 1)})."
    )


def _these(names: Sequence[str]) -> str:
    shown = ", ".join(short_names(names, _NAME)[:_NAMED])
    rest = len(names) - _NAMED
    return f"{shown} and {rest} more" if rest > 0 else shown


def further(found: Explanation) -> list[str]:
    """What else was found, a sentence each."""
    told = _told_first(found)
    rest = [each for each in found.findings if each not in told]
    return [words for each in rest if (words := _words(each, found))]


def _told_first(found: Explanation) -> list[Finding]:
    """What the paragraph on top is made of."""
    if found.slowdown is None or found.against is None:
        return []
    verdict = compared(found.slowdown)
    codes = {"slower": ["slower_operators"], "faster": ["faster_operators", "slower_operators"]}
    firsts = (
        next((each for each in found.findings if each.code == code), None)
        for code in codes.get(verdict, [])
    )
    return [each for each in firsts if each is not None]


def _words(finding: Finding, found: Explanation) -> str:
    share, time = percent(finding.share), format_ns(finding.time_ns)
    count, take = finding.count, "takes" if finding.count == 1 else "take"
    other = found.against.label if found.against else ""
    match finding.code:
        case "slower_operators" | "faster_operators":
            word = finding.code.partition("_")[0]
            return (
                f"{counted(finding)}: {time} against {format_ns(finding.other_ns or 0)} in {other} "
                f"({word}), {share} of the operators' time"
            )
        case "left_in_float" if not finding.time_ns:
            return (
                f"{count} compute-heavy nodes run in {finding.what}, by what the runtime reported"
            )
        case "left_in_float":
            return f"{counted(finding)} stayed in floating point and {take} {share} ({time})"
        case "unfused_conversions":
            return (
                f"{count} conversions to integers and back (Q/DQ) are not fused into an operator and "
                f"{take} {share} ({time})"
            )
        case "layout_changes":
            return (
                f"the runtime added {count} changes of layout or type, which take {share} ({time})"
            )
        case "other_provider" if not finding.time_ns:
            return f"{count} nodes run on {finding.what}"
        case "other_provider":
            return f"{count} operators run elsewhere: {finding.what}, {share} ({time})"
        case "single_threaded":
            threads = found.subject.threads
            return f"{count} operators use one of {threads} threads and take {share} ({time})"
        case "dispatch_overhead":
            each = format_ns(finding.time_ns / max(count, 1))
            where = f"between the {count} operators, {each} for each"
            where = where if count > 1 else "beside the one operator"
            return f"{time} ({share} of a run) pass {where}"
        case "far_from_ceiling":
            reached = (finding.ceiling_ns or 0) / max(finding.time_ns, 1.0)
            return (
                f"{count} {finding.what} reach {percent(reached)} of what this machine's arithmetic and "
                f"memory allow ({time}, {share})"
            )


# --- tables -----------------------------------------------------------------------------------------


def _deployment(deployment: Deployment, top: int, width: int) -> Iterator[Line]:
    if not deployment.kinds:
        return
    yield "", None
    threads = f", {deployment.threads} thread{'s' * (deployment.threads != 1)}" * bool(
        deployment.threads
    )
    head = (
        f"{deployment.label}: {format_ns(deployment.run_ns.value)} a run, operators "
        f"{format_ns(deployment.operators_ns)} over {deployment.runs} profiled runs ({deployment.runtime}"
        f"{threads})"
    )
    yield from wrapped(plain(head), width, TITLE)
    yield from _kinds(deployment, width)
    if top:
        yield "", None
        yield from _operators(deployment.operators[:top], width)
    for note in deployment.notes:
        yield from wrapped(plain(note), width, WARN)


def _kinds(deployment: Deployment, width: int) -> Iterator[Line]:
    known = any(kind.ceiling_ns is not None for kind in deployment.kinds)
    names = ["in", "count", "time", "share", *(["of ceiling"] if known else [])]
    columns = [Column("kind", right=False), *map(Column, names)]
    shown = [kind for kind in deployment.kinds if kind.share >= 0.005]
    rows = []
    for kind in shown:
        known_ns = kind.ceiling_ns if kind.time_ns else None
        reached = "-" if known_ns is None else percent(known_ns / kind.time_ns)
        cells = [kind.type or "-", str(kind.count), format_ns(kind.time_ns), percent(kind.share)]
        rows.append(GridRow(kind.kind, [*cells, *([reached] if known else [])]))
    yield from grid(columns, rows, width)
    rest = len(deployment.kinds) - len(shown)
    if rest:
        yield f"{rest} kinds below 0.5 % are not listed", QUIET


def _operators(lines: Sequence[OperatorLine], width: int) -> Iterator[Line]:
    columns = [
        Column("operator", right=False),
        *(Column("kind", right=False), Column("time"), Column("quartiles"), Column("share")),
        *([Column("bound by", right=False, dispensable=True)] if any_bound(lines) else []),
    ]
    names = short_names([operator_name(line) for line in lines], _CELL)
    rows = [
        GridRow(
            name,
            [
                line.kind,
                format_ns(line.time_ns),
                f"{format_ns(line.low_ns)}-{format_ns(line.high_ns)}",
                percent(line.share),
                *([_BOUNDS.get(line.bound or "", "-")] if any_bound(lines) else []),
            ],
            GOOD if line.bound in ("compute", "memory") else None,
        )
        for name, line in zip(names, lines, strict=True)
    ]
    yield from grid(columns, rows, width)


def any_bound(lines: Sequence[OperatorLine]) -> bool:
    """Whether it is known of an operator what limits it: else a column of it says nothing."""
    return any(line.bound for line in lines)


def operator_name(line: OperatorLine) -> str:
    """The node of the file that it stands for; of several the one that is no conversion."""
    named = [node for node in line.nodes or () if not node.endswith(("Linear", "Linear_1"))]
    return (named or [line.name])[0]
