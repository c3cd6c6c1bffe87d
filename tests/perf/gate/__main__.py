"""Writes results/gate/summary.md from the collected pairs: `python -m tests.perf.gate`."""

from __future__ import annotations

from tests.perf.gate import data, judge, peers

HEAD = """\
# What the gate's rules make of real pairs

Written by `python -m tests.perf.gate` from the files of this folder, which `tests.perf.gate.collect` measured
on a virtual machine with two cores while other jobs ran on it; the load before each pair is recorded. A pair
is two fresh processes on one core. Injected slowdowns are real work after each run (`fault-slower`).
Where a row says *drawn with replacement*, its n is the number of pairs, not of draws.
"""


def main() -> None:
    parts = [HEAD, *judge.report(), *peers.report()]
    versions = data.FOLDER / "versions.md"
    if versions.exists():
        text = versions.read_text(encoding="utf-8").partition("\n")[2]
        parts += ["### Two ONNX Runtime releases on the default suite\n", text]
    (data.FOLDER / "summary.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
