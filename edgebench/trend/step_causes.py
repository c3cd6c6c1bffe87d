"""Finds what may explain a step: what changed in the environment at that run, else the commits in between; and the
`edgebench ab` that would confirm it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.analysis.frame import Identity
from edgebench.analysis.per_row.environment_differences import (
    Difference,
    Environment,
    Topic,
    differences,
)

#: Topics of a difference that may move a number. Settings of a run move its precision, not
#: its value, and the state of the machine is told in new words each time.
_TOPICS: tuple[Topic, ...] = ("device", "power", "versions", "packages")
#: Backend -> the distribution that brings its runtime.
RUNTIMES = {
    "ort": "onnxruntime",
    "openvino": "openvino",
    "openvino_genai": "openvino-genai",
    "ort_genai": "onnxruntime-genai",
    "litert": "ai-edge-litert",
    "ncnn": "ncnn",
    "mlx": "mlx",
    "llama_cpp": "llama-cpp-python",
}
_SHOWN = 8


@dataclass(frozen=True)
class Cause:
    """What is known of a step besides its size."""

    explained: list[str]
    commits: list[str]
    confirm: list[str]
    why_not: str


def cause_of(
    cell: Identity,
    before: Environment | None,
    after: Environment | None,
    commits: tuple[str | None, str | None],
) -> Cause:
    """Between the last run before a step and the first one after it."""
    found = [] if before is None or after is None else _that_matter(differences([before, after]))
    between = _commit_range(commits)
    confirm, why_not = _confirmation(cell, found, between)
    words = [_words(each) for each in found[:_SHOWN]]
    if len(found) > _SHOWN:
        words.append(f"and {len(found) - _SHOWN} more differences")
    return Cause(words, between, confirm, why_not)


def _that_matter(found: Sequence[Difference]) -> list[Difference]:
    return [each for each in found if each.topic in _TOPICS]


def _words(each: Difference) -> str:
    before, after = ("; ".join(values) or "not told" for values in each.values)
    return f"{each.name} {before} -> {after}"


def _commit_range(commits: tuple[str | None, str | None]) -> list[str]:
    before, after = commits
    return [before, after] if before and after and before != after else []


def _confirmation(
    cell: Identity, found: Sequence[Difference], commits: Sequence[str]
) -> tuple[list[str], str]:
    """The command that measures both sides in turns, or why none can."""
    runtime = RUNTIMES.get(cell.backend, "")
    versions = _versions(found, runtime)
    if versions is not None:
        pins = [f"{runtime}=={version}" for version in versions]
        return _command(cell, *pins), ""
    others = sorted({each.topic for each in found} & {"device", "power"})
    if others:
        return [], "a machine cannot be its old self in the same job: set it back, and run again"
    if commits:
        return [], (
            "if the model changed between these commits: edgebench ab --base "
            f"git:{commits[0].rstrip('+')[:12]} --head git:{commits[1].rstrip('+')[:12]} "
            "--build CMD --artifact PATH"
        )
    return [], "nothing that is recorded changed: run the cell again, today's machine may be slower"


def _versions(found: Sequence[Difference], runtime: str) -> tuple[str, str] | None:
    """The runtime's version before and after, where it changed and each side had one."""
    for each in found:
        if each.topic == "packages" and each.name == runtime:
            before, after = each.values
            if len(before) == len(after) == 1:
                return before[0], after[0]
    return None


def _command(cell: Identity, base: str, head: str) -> list[str]:
    settings = [f"{axis}={_value(value)}" for axis, value in sorted(cell.variant.items())]
    sets = [word for setting in settings for word in ("--set", setting)]
    sides = ["--base", cell.backend, "--base", base, "--head", cell.backend, "--head", head]
    return ["edgebench", "ab", cell.workload, *sides, *sets]


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown(command: Sequence[str]) -> str:
    """As a user would type it."""
    return shlex.join(command)


Environments = Mapping[tuple[str, str], Environment]
