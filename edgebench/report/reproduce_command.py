"""The exact command that measures a row again, from what its run was asked for."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from edgebench.analysis.table_types import Row, Run
from edgebench.backend import Scalar
from edgebench.planning.run_parameters import RUN_OPTIONS, NotKept

_OF_MODELS = ("model", "shapes", "ranges", "inputs", "task", "reference")
#: Options that a row tells better than its run, which may have measured many.
_OF_ROWS = {
    "names",
    "suite",
    "backends",
    "sets",
    "memory_budget",
    "scenarios",
    "rate",
    "bound",
    "together",
    "replicates",
    "set_power_mode",
}


def command(row: Row, run: Run) -> tuple[str, str]:
    """A shell command, and what it is not: ("", why) where nothing is known.

    Falls back to the command of the whole run where the run's settings are not those of
    `edgebench run` (an older version's, or another tool's), and for rows that are unsupported: alone, a
    precision or option that none of the backends offers is a usage error.
    """
    if row.status == "unsupported":
        return _of_whole_run(run)
    try:
        kept = _Kept(run.settings)
        if kept.value("together"):  # the others of the run are part of what was measured
            return _of_whole_run(run)
        what = _what(row, kept)
        how = [*_how(row), *_rest(row, kept)]
    except NotKept:
        return _of_whole_run(run)
    return shlex.join(["edgebench", "run", *what, *how]), ""


class _Kept:
    """The settings that a run has kept, by the parameters of `edgebench run`."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        for parameter in ("names", "sets"):  # those that every version keeps
            if not isinstance(self.value(parameter), list):
                raise NotKept(f"no {parameter}")

    def value(self, parameter: str) -> Any:
        """The kept value; that of an option that is not given where nothing is kept. Raises NotKept."""
        option = RUN_OPTIONS[parameter]
        group = self._settings
        *groups, name = option.decides[0].split(".")
        for each in groups:
            group = group.get(each, {}) if isinstance(group, Mapping) else None
        if not isinstance(group, Mapping):
            raise NotKept("no settings")
        return group.get(name, option.form.read(option.default))

    def words(self, parameter: str) -> list[str]:
        return RUN_OPTIONS[parameter].words(self.value(parameter))


def _of_whole_run(run: Run) -> tuple[str, str]:
    if not run.command:
        return "", "the record does not say by which command it was made"
    return shlex.join(run.command), "the command of the whole run, as recorded"


def _what(row: Row, kept: _Kept) -> list[str]:
    """The model file, or the workload and the folders it was looked for in; and the backend."""
    if kept.value("model"):
        words = [word for parameter in _OF_MODELS for word in kept.words(parameter)]
    else:
        words = [*kept.words("folders"), row.workload]
    backend = _backend(row, kept.value("backends"))
    return words if backend == "ort" else [*words, "--backend", backend]


def _backend(row: Row, asked: Any) -> str:
    """Returns the backend as it was asked for: one from a file is named by the file, not by its own name."""
    if not isinstance(asked, list | tuple):
        raise NotKept("no backends")
    if row.backend in asked or len(asked) != 1:
        return row.backend
    return str(asked[0])


def _value(value: Scalar) -> str:
    """Writes a value as `--set` reads it back: text that looks like a number, a list or a truth value is quoted."""
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


def _how(row: Row) -> Iterator[str]:
    """Yields what the row tells; the replicates are those that were made, since a default may add some."""
    for axis, value in sorted(row.variant.items()):
        yield from ("--set", f"{axis}={_value(value)}")
    yield from ("--scenario", row.scenario)
    if row.rate_per_s is not None and row.stream is None:  # a stream has the rate of its hops
        yield from ("--rate", f"{row.rate_per_s:.17g}")
    if row.bound_p99_ns is not None:
        yield from ("--bound", f"p99={row.bound_p99_ns / 1e6:.17g}ms")
    if row.latency_ns.replicates:
        yield from ("--replicates", str(row.latency_ns.replicates))
    if "power_mode" in row.variant:
        yield "--set-power-mode"


def _rest(row: Row, kept: _Kept) -> Iterator[str]:
    """All else that the run decided other than by default."""
    told = {*_OF_ROWS, *_OF_MODELS, "folders"}
    if row.scenario != "sustained":
        told.add("sustain")
    for option in RUN_OPTIONS.values():
        if option.decides and option.parameter not in told:
            yield from kept.words(option.parameter)
