"""The exact command that measures a row again, from what its run was asked for."""

from __future__ import annotations

import shlex

import msgspec

from edgebench.analysis.table_types import Row, Run
from edgebench.backend import Scalar

_PERCENTILES = {0.5: "p50", 0.9: "p90", 0.99: "p99"}


class _Settings(msgspec.Struct, frozen=True):
    """How thoroughly a run was to measure, with the defaults of `edgebench run`."""

    target: float = 0.02
    percentile: float = 0.5
    slice_s: float = 2.0
    time_out_s: float = 120.0
    sustain_s: float = 300.0
    reruns: int = 2
    memory_limit_bytes: int | None = None
    seed: int = 0
    parity: float | None = None
    strict: bool = False
    companions: list[str] = []
    together: bool = False


class _Asked(msgspec.Struct, frozen=True):
    """What `edgebench run` was asked for, as its records keep it."""

    workloads: list[str]
    sets: list[str]
    settings: _Settings
    folders: list[str] = []
    model: str | None = None
    shapes: list[str] = []
    task: str | None = None
    reference: str | None = None
    ranges: list[str] = []
    inputs: str | None = None
    backends: list[str] = []
    devices: str | None = None
    device: str | None = None
    estimate: str | None = None
    energy_root: str | None = None
    energy_markers: bool = False


_DEFAULT = _Settings()


def command(row: Row, run: Run) -> tuple[str, str]:
    """A shell command, and what it is not: ("", why) where nothing is known.

    Falls back to the command of the whole run where the run's settings are not those of
    `edgebench run` (an older version's, or another tool's), and for rows that are unsupported: alone, a
    precision or option that none of the backends offers is a usage error.
    """
    if row.status == "unsupported":
        return _of_whole_run(run)
    try:
        asked = msgspec.convert(run.settings, _Asked)
    except msgspec.ValidationError:
        return _of_whole_run(run)
    if asked.settings.together:  # the others of the run are part of what was measured
        return _of_whole_run(run)
    backend = _backend(row, asked)
    words = ["edgebench", "run", *_what(row, asked)]
    words += [] if backend == "ort" else ["--backend", backend]
    for axis, value in sorted(row.variant.items()):
        words += ["--set", f"{axis}={_value(value)}"]
    words += ["--scenario", row.scenario]
    if row.rate_per_s is not None:
        words += ["--rate", f"{row.rate_per_s:.17g}"]
    if row.bound_p99_ns is not None:
        words += ["--bound", f"p99={row.bound_p99_ns / 1e6:.17g}ms"]
    return shlex.join([*words, *_how(row, asked.settings), *_around(row, asked)]), ""


def _of_whole_run(run: Run) -> tuple[str, str]:
    if not run.command:
        return "", "the record does not say by which command it was made"
    return shlex.join(run.command), "the command of the whole run, as recorded"


def _what(row: Row, asked: _Asked) -> list[str]:
    """The model file, or the workload and the folders it was looked for in."""
    if not asked.model:
        folders = [word for folder in asked.folders for word in ("--workloads", folder)]
        return [*folders, row.workload]
    words = ["--model", asked.model]
    for shape in asked.shapes:
        words += ["--shape", shape]
    for given in asked.ranges:
        words += ["--range", given]
    words += ["--inputs", asked.inputs] if asked.inputs else []
    words += ["--task", asked.task] if asked.task else []
    return words + (["--reference", asked.reference] if asked.reference else [])


def _backend(row: Row, asked: _Asked) -> str:
    """As it was asked for: a backend from a file goes by that, not by its own name."""
    if row.backend in asked.backends or len(asked.backends) != 1:
        return row.backend
    return asked.backends[0]


def _value(value: Scalar) -> str:
    """As `--set` reads it back: text that looks like a number, a list or a truth is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    bare = value.lower() not in ("true", "false") and not _numeric(value)
    return value if bare and not set(value) & set(',"{}[]') else f'"{value}"'


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _how(row: Row, settings: _Settings) -> list[str]:
    """How it was measured; the replicates that were made, since a default may add some."""
    words = []
    if row.latency_ns.replicates:
        words += ["--replicates", str(row.latency_ns.replicates)]
    if settings.target != _DEFAULT.target:
        words += ["--target", f"{settings.target * 100:.10g}%"]
    if settings.percentile != _DEFAULT.percentile and settings.percentile in _PERCENTILES:
        words += ["--percentile", _PERCENTILES[settings.percentile]]
    for companion in settings.companions:
        words += ["--companion", companion]
    if settings.slice_s != _DEFAULT.slice_s:
        words += ["--slice", f"{settings.slice_s:.10g}s"]
    if settings.time_out_s != _DEFAULT.time_out_s:
        words += ["--timeout", f"{settings.time_out_s:.10g}s"]
    if settings.sustain_s != _DEFAULT.sustain_s and row.scenario == "sustained":
        words += ["--sustain", f"{settings.sustain_s:.10g}s"]
    if settings.reruns != _DEFAULT.reruns:
        words += ["--reruns", str(settings.reruns)]
    if settings.memory_limit_bytes:
        words += ["--memory-limit", str(settings.memory_limit_bytes)]
    if settings.seed:
        words += ["--seed", str(settings.seed)]
    if settings.parity is not None:
        words += ["--parity", f"{settings.parity:.10g}"]
    return words + (["--strict"] if settings.strict else [])


def _around(row: Row, asked: _Asked) -> list[str]:
    """What was done to the machine, and by what its energy was measured."""
    words = ["--set-power-mode"] if "power_mode" in row.variant else []
    words += ["--devices", asked.devices] if asked.devices else []
    words += ["--device", asked.device] if asked.device else []
    words += ["--estimate", asked.estimate] if asked.estimate else []
    words += ["--energy-root", asked.energy_root] if asked.energy_root else []
    return words + (["--energy-markers"] if asked.energy_markers else [])
