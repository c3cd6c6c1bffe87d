"""Lists the facts of the device and software that differ between sets of results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from edgebench.record import Part, Record

Topic = Literal["device", "power", "versions", "settings", "packages", "state"]
TOPICS: tuple[Topic, ...] = ("device", "power", "versions", "settings", "packages", "state")

#: Facts of a device that decide how fast it may run.
_POWER = ("power_mode", "governor", "turbo", "frequency_max_khz", "frequency_min_khz", "charging")
#: Facts that change from boot to boot and tell nothing.
_VOLATILE = ("virtualised_evidence",)


class Difference(Part, frozen=True, kw_only=True):
    """A fact that is not the same for all sets. values: of each set all that were met; an empty
    list where the set does not tell."""

    topic: Topic
    name: str
    values: list[list[str]]


class Environment:
    """Facts of one set of records, noted while they stream by."""

    def __init__(self) -> None:
        self.facts: dict[tuple[Topic, str], dict[str, None]] = {}  # values in order of appearance
        self._runs: set[tuple[str, str]] = set()
        self._runtimes: set[tuple[str, str]] = set()

    def noting(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records."""
        for record in records:
            self._note(record)
            yield record

    def _note(self, record: Record) -> None:
        if record.effective is not None and record.effective.runtime:
            runtime = (record.cell.backend, record.effective.runtime)
            if runtime not in self._runtimes:
                self._runtimes.add(runtime)
                self._add("versions", *runtime)
        key = (record.run.id, record.device.name)
        if key in self._runs:
            return
        self._runs.add(key)
        run, device = record.run, record.device
        self._add("device", "device", device.name)
        for name, value in device.facts.items():
            if name not in _VOLATILE:
                self._add("power" if name in _POWER else "device", name, value)
        for name, why in device.unknown.items():
            self._add("power" if name in _POWER else "device", name, f"unknown: {why}")
        self._add("versions", "edgebench", run.edgebench)
        self._add("versions", "python", run.python)
        for name, value in _flat(run.settings):
            self._add("settings", name, value)
        for name, version in run.packages.items():
            self._add("packages", name, version)
        for check in record.state_before:
            if check.level in ("warn", "invalid"):
                self._add("state", check.name, f"{check.level}: {check.evidence}")

    def _add(self, topic: Topic, name: str, value: object) -> None:
        self.facts.setdefault((topic, name), {})[_fact_text(value)] = None


def _fact_text(value: object) -> str:
    """A fact or a setting as people write it: no list, no mapping and no None of Python."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact_text(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        between = "; " if any(isinstance(part, Mapping) for part in value) else ", "
        return between.join(map(_fact_text, value)) or "none"
    return str(value)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings with dotted names."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class RunEnvironments:
    """The environment of every run and device, noted while records stream by."""

    def __init__(self) -> None:
        self.of_run: dict[tuple[str, str], Environment] = defaultdict(Environment)

    def noting(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records."""
        for record in records:
            environment = self.of_run[record.device.name, record.run.id]
            yield from environment.noting([record])


def differences(environments: Sequence[Environment]) -> list[Difference]:
    """Facts whose values are not the same in all of them, by topic."""
    keys = dict.fromkeys(key for one in environments for key in one.facts)
    topics = []
    for topic, name in keys:
        values = [list(one.facts.get((topic, name), {})) for one in environments]
        if any(set(each) != set(values[0]) for each in values[1:]):
            topics.append(Difference(topic=topic, name=name, values=values))
    return sorted(topics, key=lambda difference: TOPICS.index(difference.topic))
