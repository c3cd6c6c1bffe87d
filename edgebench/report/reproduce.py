"""The exact command that measures a row again, from what its run was asked for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from edgebench.analysis.types import Row, Run
from edgebench.backend import Scalar

#: Options, their names in the settings and their defaults.
_TIMES = (
    ("--slice", "slice_s", 2.0),
    ("--timeout", "time_out_s", 120.0),
    ("--sustain", "sustain_s", 300.0),
)
_PERCENTILES = {0.5: "p50", 0.9: "p90", 0.99: "p99"}
_DEFAULT_TARGET, _DEFAULT_RERUNS = 0.02, 2


def command(row: Row, run: Run) -> tuple[str, str]:
    """A shell command, and what it is not: ("", why) where nothing is known.

    Falls back to the command of the whole run where the run's settings are not those of
    `edgebench run` (an older version's, or another tool's), and for rows that are unsupported: alone, a
    precision or option that none of the backends offers is a usage error.
    """
    asked = run.settings
    settings = asked.get("settings")
    if row.status == "unsupported":
        return _of_whole_run(run)
    if not isinstance(settings, Mapping) or not {"workloads", "sets"} <= asked.keys():
        return _of_whole_run(run)
    backend = _backend(row, asked)
    words = ["edgebench", "run", *_what(row, asked)]
    words += [] if backend == "ort" else ["--backend", backend]
    for axis, value in sorted(row.variant.items()):
        words += ["--set", f"{axis}={_value(value)}"]
    words += ["--scenario", row.scenario]
    if row.rate_per_s is not None:
        words += ["--rate", f"{row.rate_per_s:.17g}"]
    return shlex.join([*words, *_how(row, settings), *_around(row, asked)]), ""


def _of_whole_run(run: Run) -> tuple[str, str]:
    if not run.command:
        return "", "the record does not say by which command it was made"
    return shlex.join(run.command), "the command of the whole run, as recorded"


def _what(row: Row, asked: Mapping[str, Any]) -> list[str]:
    """The model file, or the workload and the folders it was looked for in."""
    if not asked.get("model"):
        folders = [word for folder in asked.get("folders", []) for word in ("--workloads", folder)]
        return [*folders, row.workload]
    words = ["--model", str(asked["model"])]
    for shape in asked.get("shapes", []):
        words += ["--shape", shape]
    for option in ("task", "reference"):
        if asked.get(option):
            words += [f"--{option}", str(asked[option])]
    return words


def _backend(row: Row, asked: Mapping[str, Any]) -> str:
    """As it was asked for: a backend from a file goes by that, not by its own name."""
    asked_for = [str(spec) for spec in asked.get("backends", [])]
    if row.backend in asked_for or len(asked_for) != 1:
        return row.backend
    return asked_for[0]


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


def _how(row: Row, settings: Mapping[str, Any]) -> list[str]:
    """How it was measured; the replicates that were made, since a default may add some."""
    words = []
    if row.latency_ns.replicates:
        words += ["--replicates", str(row.latency_ns.replicates)]
    if settings.get("target", _DEFAULT_TARGET) != _DEFAULT_TARGET:
        words += ["--target", f"{settings['target'] * 100:.10g}%"]
    percentile = _PERCENTILES.get(settings.get("percentile", 0.5), "p50")
    if percentile != "p50":
        words += ["--percentile", percentile]
    for option, name, default_s in _TIMES:
        applies = option != "--sustain" or row.scenario == "sustained"
        if applies and settings.get(name, default_s) != default_s:
            words += [option, f"{settings[name]:.10g}s"]
    if settings.get("reruns", _DEFAULT_RERUNS) != _DEFAULT_RERUNS:
        words += ["--reruns", str(settings["reruns"])]
    if settings.get("memory_limit_bytes"):
        words += ["--memory-limit", str(settings["memory_limit_bytes"])]
    if settings.get("seed"):
        words += ["--seed", str(settings["seed"])]
    return words + (["--strict"] if settings.get("strict") else [])


def _around(row: Row, asked: Mapping[str, Any]) -> list[str]:
    """What was done to the machine, and by what its energy was measured."""
    words = ["--set-power-mode"] if "power_mode" in row.variant else []
    for option in ("devices", "estimate", "energy_root"):
        if asked.get(option):
            words += [f"--{option.replace('_', '-')}", str(asked[option])]
    return words + (["--energy-markers"] if asked.get("energy_markers") else [])
