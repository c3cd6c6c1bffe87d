"""Keeps the searches that docs/search.md shows, draws them and renews its tables: `python -m tests.kept_searches [FOLDER]`.

FOLDER is where `python -m tests.perf.search_goals --out FOLDER` left its answers; without it those that are kept are drawn
again. Kept is what the page and a reader need: results/searches/WORKLOAD.json (`edgebench search` prints and draws it), and the
map as a file beside it. `make reference-search` measures and keeps all six.

    <!-- begin searches: table -->
    (one row for each kept search)
    <!-- end searches -->
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgebench.models.precision_map import map_text
from edgebench.search.search_picture import svg
from edgebench.search.search_report import SearchReport, SearchRow, map_of, read_search
from edgebench.search.search_text import decision
from edgebench.units import format_bytes
from edgebench.words.search_words import STANDING_WORDS
from tests.llm_tables import UNKNOWN, grid
from tests.perf.search_goals import GOALS

ROOT = Path(__file__).parents[1]
KEPT, IMAGES, PAGE = ROOT / "results/searches", ROOT / "docs/images", ROOT / "docs/search.md"
#: Most bytes that each search and its children held together: no part of a search's own answer.
PEAKS = KEPT / "peak-bytes.json"
_BLOCK = re.compile(
    r"(?P<head><!-- begin searches: (?P<name>\w+) -->\n)(?P<body>.*?)(?P<tail><!-- end searches -->)",
    re.DOTALL,
)


def kept() -> dict[str, SearchReport]:
    """The kept searches by workload."""
    files = {name: KEPT / f"{name}.json" for name in GOALS}
    return {name: read_search(path) for name, path in files.items() if path.exists()}


def keep(answer: Path) -> None:
    """Keeps an answer of `edgebench search --format json`, without this machine's paths and without the maps that nothing
    shows."""
    report = read_search(answer)
    shown = map_of(report.exploration.candidates, report.explained)
    rows = [msgspec.structs.replace(row, map_file=None) for row in report.rows]
    if shown is not None:
        path = KEPT / f"{report.workload}.yaml"
        path.write_text(map_text(shown.map), encoding="utf-8")
        place = next(n for n, row in enumerate(rows) if row.precision == report.explained)
        rows[place] = msgspec.structs.replace(
            rows[place], map_file=path.relative_to(ROOT).as_posix()
        )
    exploration = msgspec.structs.replace(
        report.exploration, candidates=[] if shown is None else [shown]
    )
    small = msgspec.structs.replace(
        report, rows=rows, results=None, exploration=exploration, maps_found=len(report.exploration.candidates)
    )  # fmt: skip
    text = msgspec.json.format(msgspec.json.encode(small), indent=1)
    (KEPT / f"{report.workload}.json").write_bytes(text + b"\n")


def picture(workload: str) -> Path:
    return IMAGES / f"search-{workload}.svg"


def peaks() -> dict[str, int]:
    found: dict[str, int] = json.loads(PEAKS.read_text()) if PEAKS.exists() else {}
    return found


def table() -> str:
    """What each search found, beside int8-static."""
    heads = (
        "workload",
        "int8-static",
        "the search's deployment",
        "test items",
        "points",
        "time",
        "peak memory",
    )
    return grid(heads, [_row(name, report) for name, report in kept().items()])


def _row(name: str, report: SearchReport) -> tuple[str, ...]:
    static = next((row for row in report.rows if row.precision == "int8-static"), None)
    verdicts = {verdict.precision: verdict for verdict in report.verdicts}
    chosen = report.deployment
    tested = verdicts.get(str(chosen.precision)) if chosen else None
    peak = peaks().get(name)
    return (
        name,
        UNKNOWN if static is None else f"{_speed(static)}, {STANDING_WORDS[static.standing]}",
        decision(report) if chosen is None else _deployment(chosen),
        UNKNOWN if tested is None else str(tested.items),
        str(sum(row.front for row in report.rows)),
        f"{report.seconds:.0f} s",
        UNKNOWN if peak is None else format_bytes(peak),
    )


def _deployment(row: SearchRow) -> str:
    groups = "" if row.groups is None else f" ({row.int8_groups} of {row.groups} groups in int8)"
    name = "" if row.groups is not None else f"{row.precision}, "
    return f"{name}**{_speed(row)}, {STANDING_WORDS[row.standing]}**{groups}"


def _speed(row: SearchRow) -> str:
    if row.speedup is None:
        return UNKNOWN
    told = f"{row.speedup:.2f}x"
    if row.speedup_low is None or row.speedup_high is None:
        return told
    return f"{told} ({row.speedup_low:.2f}-{row.speedup_high:.2f})"


def pictures() -> str:
    """The picture of each kept search under its name."""
    return "".join(
        f"**{name}**: {decision(report)}\n\n![{report.title}: latency against quality, and the groups of the network]"
        f"(images/{picture(name).name})\n\n"
        for name, report in kept().items()
    )


def unless_all(body: str) -> str:
    """The table where all searches are kept, else as it stands: its rows are of one run."""
    return f"{table()}\n" if len(kept()) == len(GOALS) else body


TABLES: dict[str, Callable[[str], str]] = {"table": unless_all, "pictures": lambda _: pictures()}


def renewed(text: str) -> str:
    """The page with its blocks as the kept searches make them."""
    return _BLOCK.sub(
        lambda found: f"{found['head']}{TABLES[found['name']](found['body'])}{found['tail']}", text
    )


def main(arguments: list[str]) -> int:
    KEPT.mkdir(parents=True, exist_ok=True)
    for folder in map(Path, arguments):
        for answer in sorted(folder.glob("*.search.json")):
            if answer.stat().st_size:
                keep(answer)
        found = folder / "peak-bytes.json"
        if found.exists():
            PEAKS.write_text(json.dumps(peaks() | json.loads(found.read_text()), indent=1) + "\n")
    for name, report in kept().items():
        picture(name).write_text(svg(report), encoding="utf-8")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
