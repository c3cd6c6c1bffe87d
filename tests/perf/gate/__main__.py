"""Writes results/gate/summary.md from the collected pairs: `python -m tests.perf.gate`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tests.perf.gate import data, judge, peers, targets, versions

#: A pair is a load of 1 by itself; half of one more is somebody else.
BUSY_LOAD = 1.5
HEAD = """\
# What the gate's rules make of real pairs

Written by `python -m tests.perf.gate` from the files of this folder, which `tests.perf.gate.collect` measured
on virtual machines with two cores{others}: the load before a pair was {least:.1f} to {most:.1f},
median {middle:.1f}, where none was added. A pair is two fresh processes on one core. Injected
slowdowns are real work after each run (`fault-slower`): heads are named by how much slower their pairs were in
the mean, which is more than what was asked for. Where a row says *drawn with replacement*, its n is
the number of pairs, not of draws.
"""


def head(loads: Sequence[float]) -> str:
    """The first lines: where the pairs come from, and how busy that machine was by its own record."""
    middle = median(loads)
    others = " while other jobs ran on it" if middle > BUSY_LOAD else ""
    return HEAD.format(others=others, least=min(loads), most=max(loads), middle=middle)


def main() -> None:
    found = judge.collected()
    same = judge.suites(found)
    parts = [
        head(
            [pair.load_1m for name, pairs in found.items() if "busy" not in name for pair in pairs]
        ),
        *targets.report(found, same),
        *judge.report(found, same),
        *peers.report(),
    ]
    for report in versions.reports():
        text = versions.write_page(report).read_text(encoding="utf-8").partition("\n")[2]
        parts += [f"### Two ONNX Runtime releases on the default suite ({report.stem})\n", text]
    (data.FOLDER / "summary.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
