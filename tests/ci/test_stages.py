"""A stage of CI leaves the tree as it was: what it writes goes into build/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = (ROOT / ".ci/run").read_text(encoding="utf-8")
#: Folders that hold files of the tree.
TRACKED = ("results", "docs", "tests", "workloads", "backends", "edgebench")
#: A file that a recipe writes: a redirection, an option, or the last word of its command.
_WRITTEN = re.compile(
    rf"(?:>\s*|--junitxml[= ]|--out[= ])(?:{'|'.join(TRACKED)})/|\s(?:{'|'.join(TRACKED)})/\S+\.(?:json|jsonl|md|svg)$",
    re.MULTILINE,
)


def _recipe(target: str) -> str:
    found = re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    assert found is not None, target
    return found[1]


def test_no_stage_of_ci_writes_into_the_tree() -> None:
    """What a stage wrote there a later one would judge: a page made of it is out of date from the next day on."""
    stages = set(re.findall(r"make ([a-z][a-z0-9-]*)|where_possible \S+ ([a-z0-9-]+)", CI))
    names = {first or second for first, second in stages}
    assert {"lint", "test", "test-kernel"} <= names
    writing = {name: _recipe(name) for name in sorted(names) if _WRITTEN.search(_recipe(name))}
    assert not writing
    assert _WRITTEN.search(
        "\tpython -m x 'a CPU' results/hardware/x.json\n"
    )  # the mistake that this would find
