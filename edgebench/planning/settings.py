"""Parses `--set`, `--shape` and `--range`, and refuses what no chosen backend can do."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgebench.backend import Backend, Capabilities, Option, Scalar, Unavailable
from edgebench.definitions.variant_matrix import unique
from edgebench.errors import UsageError
from edgebench.files.number_bounds import MAX_INTEGER
from edgebench.models.precision_map import MIXED, is_mixed
from edgebench.planning.request_axes import OF_REQUESTS, check_axis, check_counts
from edgebench.record import SAMPLES_PER_QUERY, WORKERS
from edgebench.text.did_you_mean import did_you_mean
from edgebench.text.plain_text import shortened
from edgebench.units import parse_bytes, parse_duration_s

PRECISIONS = ("fp32", "int8-dynamic", "int8-static", "as-is")
MODEL_AXES = ("precision", "batch")  # fixed in the model file
POWER_MODE = "power_mode"  # a setting of the machine
MEMORY_BUDGET = "memory_budget"  # of the measuring process, such as 256MiB; every other axis is a backend option
MIN_BUDGET_BYTES = 16 << 20  # an interpreter alone takes more
_OF_INFERENCES = (*MODEL_AXES, POWER_MODE, MEMORY_BUDGET, SAMPLES_PER_QUERY, WORKERS)
#: Every axis that is no option of a backend.
OWN_AXES = (*_OF_INFERENCES, *OF_REQUESTS)
MAX_WORKERS = 256
STREAM = "stream"
GENERATE = "generate"  # the task of decoders, and the scenario
_MAX_DIGITS = len(str(MAX_INTEGER))
_ELSEWHERE = {"scenario": "--scenario", "backend": "--backend", "rate": "--rate"}


@dataclass(frozen=True)
class Runtime:
    spec: str
    backend: Backend
    unavailable: Unavailable | None

    @property
    def options(self) -> dict[str, Option]:
        """All of its options, those for decoders included; the plain ones where both have a name."""
        return {**self.options_for("generate"), **self.options_for("single_stream")}

    def capabilities(self, scenario: str) -> Capabilities | None:
        """Returns what it can do in a scenario; None: nothing."""
        if scenario == "generate":
            return self.backend.generation
        return self.backend.capabilities

    def options_for(self, scenario: str) -> dict[str, Option]:
        can = self.capabilities(scenario)
        return {} if can is None else {option.name: option for option in can.options}


# What --set may say


def parse_sets(items: Sequence[str]) -> dict[str, list[Scalar]]:
    """`["threads=1,2", "arena=false"]` -> `{"threads": [1, 2], "arena": [False]}`.

    A comma inside quotes, braces or brackets belongs to the value; a value in double quotes is text.
    Repeating an axis adds values. Raises UsageError.
    """
    sets: dict[str, list[Scalar]] = {}
    for item in items:
        axis, equals, text = item.partition("=")
        axis = axis.strip()
        if not axis or not equals:
            raise UsageError(f"--set {item!r} is not AXIS=VALUES", "write it like threads=1,2")
        values = [value.strip() for value in _split(text)]
        if "" in values:
            raise UsageError(f"--set {item!r} has an empty value", "write it like threads=1,2")
        sets[axis] = unique([*sets.get(axis, []), *map(_scalar, values)])
    return sets


def _split(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += (letter in "{[") - (letter in "}]") if not quoted else 0
        if letter == "," and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _scalar(text: str) -> Scalar:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?[0-9]+", text):
        return _integer(text)
    if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?", text, re.IGNORECASE):
        if math.isinf(number := float(text)):
            raise _too_large(text)
        return number
    return text


def _integer(text: str) -> int:
    """The number of decimal digits. Raises UsageError for one that no record could hold."""
    digits = text.lstrip("+-0") or "0"
    if len(digits) > _MAX_DIGITS or int(digits) > MAX_INTEGER:
        raise _too_large(text)
    return -int(digits) if text.startswith("-") else int(digits)


def _too_large(text: str) -> UsageError:
    return UsageError(f"{shortened(text, 40)} is too large", f"the largest number is {MAX_INTEGER}")


def check_sets(
    sets: Mapping[str, Sequence[Scalar]], runtimes: Sequence[Runtime], generating: bool
) -> None:
    """Raises UsageError for what no chosen backend can do, whatever the workload."""
    able = [runtime for runtime in runtimes if runtime.backend.capabilities.formats]
    for axis, values in sets.items():
        if axis == "precision":
            _check_precisions(values, able)
        elif axis in ("batch", SAMPLES_PER_QUERY):
            check_counts(axis, values)
        elif axis == WORKERS:
            _check_workers(values)
        elif axis in OF_REQUESTS and generating:
            check_axis(axis, values)
        elif axis == POWER_MODE:
            continue  # whether the board has it is known when it is set
        elif axis == MEMORY_BUDGET:
            for value in values:
                budget_bytes(value)
        elif able:
            _check_option(axis, values, able, generating)


def _check_workers(values: Sequence[Scalar]) -> None:
    check_counts(WORKERS, values)
    if max(map(int, values)) > MAX_WORKERS:
        raise UsageError(f"--set {WORKERS}: at most {MAX_WORKERS} threads serve queries")


def budget_bytes(value: Scalar, typed: str = f"--set {MEMORY_BUDGET}=") -> int:
    """The bytes of a memory budget. `typed`: what stands before the value. Raises UsageError."""
    size = parse_bytes(value) if isinstance(value, str) else int(value)
    if size < MIN_BUDGET_BYTES:
        raise UsageError(
            f"{typed}{value}: not a size of at least {MIN_BUDGET_BYTES >> 20} MiB",
            f"write it like {typed}256MiB,512MiB",
        )
    return size


def _check_precisions(values: Sequence[Scalar], runtimes: Sequence[Runtime]) -> None:
    able = [can for r in runtimes for can in (r.backend.capabilities, r.backend.generation) if can]
    known = {*PRECISIONS, *(precision for can in able for precision in can.precisions)}
    for value in values:
        if value == MIXED:
            raise UsageError("precision=mixed needs a map", "--set precision=@FILE.yaml")
        if value not in known and not (is_mixed(value) and MIXED in known):
            raise UsageError(f"no precision {value!r}{did_you_mean(str(value), known)}")


def _check_option(
    axis: str, values: Sequence[Scalar], runtimes: Sequence[Runtime], generating: bool
) -> None:
    options = [runtime.options[axis] for runtime in runtimes if axis in runtime.options]
    names = ", ".join(runtime.backend.name for runtime in runtimes)
    if not options:
        known = {
            *_OF_INFERENCES,
            *(OF_REQUESTS if generating else ()),
            *(name for runtime in runtimes for name in runtime.options),
        }
        fix = f"it has an option of its own: {_ELSEWHERE[axis]}" if axis in _ELSEWHERE else ""
        hint = "" if fix else did_you_mean(axis, known)
        raise UsageError(f"no option {axis!r} of {names}{hint}", fix)
    for value in values:
        problems = [option_problem(option, _fitted(option, value)) for option in options]
        if all(problems):
            raise UsageError(f"--set {axis}: {problems[0]}")


def as_options(sets: Mapping[str, Sequence[Scalar]], runtime: Runtime) -> dict[str, list[Scalar]]:
    """The values as this backend's options want them, where they can be had so."""
    return {
        axis: unique(
            _fitted(runtime.options[axis], value) if axis in runtime.options else value
            for value in values
        )
        for axis, values in sets.items()
    }


def _fitted(option: Option, value: Scalar) -> Scalar:
    """A typed word as the option's type: a command line cannot tell the text 1 from the number."""
    if option.type == "str" and not isinstance(value, str):
        return json.dumps(value)
    if option.type == "bool" and type(value) is int and value in (0, 1):
        return bool(value)
    if option.type == "float" and type(value) is int:
        return float(value)
    return value


def option_problem(option: Option, value: Scalar) -> str:
    """The reason why the option cannot have this value, or ""."""
    if option.accepts(value):
        return ""
    if option.choices and isinstance(value, str):
        return f"{option.name} has no {value!r}{did_you_mean(value, map(str, option.choices))}"
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    least = "" if option.minimum is None else f" of {option.minimum:g} or more"
    return f"{option.name} must be {kinds[option.type]}{least}, got {value!r}"


def parse_bound(text: str) -> int:
    """`"p99=15ms"` -> 15000000. Raises UsageError."""
    percentile, equals, limit = text.partition("=")
    fix = "write it like p99=15ms"
    if not equals or percentile.strip() != "p99":
        raise UsageError(f"--bound {text!r} is not a bound of p99", fix)
    bound_ns = round(parse_duration_s(limit.strip()) * 1e9)
    if not 0 < bound_ns <= MAX_INTEGER:
        raise UsageError(f"--bound {text!r} is not above 0", fix)
    return bound_ns


# What --shape and --range may say

Shapes = dict[str, list[int | Literal["batch"]]]


def parse_shapes(items: Sequence[str]) -> Shapes:
    """`["image=1,3,224,224"]` -> `{"image": [1, 3, 224, 224]}`; "batch" marks the batch axis.

    Sizes may be joined by `x` as well; "scalar" stands for no axis at all. Raises UsageError.
    """
    shapes: Shapes = {}
    fix = "write it like input=1,3,224,224, or input=batch,3,224,224 to vary the batch"
    for name, text, item in _of_inputs("--shape", items, fix):
        sizes = [] if text.strip() == "scalar" else re.split(r"[,x](?=[0-9b])", text)
        shapes[name] = [_size(part, item, fix) for part in sizes]
        if shapes[name].count("batch") > 1:
            raise UsageError(f"--shape {item!r}: more than one axis is the batch", fix)
    return shapes


def _of_inputs(option: str, items: Sequence[str], fix: str) -> Iterator[tuple[str, str, str]]:
    """Yields the input of each item, what is said of it, and the item; an input has one."""
    seen: set[str] = set()
    for item in items:
        name, equals, text = item.rpartition("=")
        if not equals or not name:
            raise UsageError(f"{option} {item!r} names no input", fix)
        if name in seen:
            raise UsageError(f"{option} gives {name!r} twice", "keep one of them")
        seen.add(name)
        yield name, text, item


def _size(text: str, item: str, fix: str) -> int | Literal["batch"]:
    text = text.strip()
    if text == "batch":
        return "batch"
    if not re.fullmatch(r"[0-9]+", text) or (size := _integer(text)) < 1:
        raise UsageError(f"--shape {item!r}: {text!r} is not a size of 1 or more", fix)
    return size


def parse_ranges(items: Sequence[str]) -> dict[str, Any]:
    """`["ids=0,99", "k=1|2|4"]` -> `{"ids": [0, 99], "k": {"choices": [1, 2, 4]}}`: from low to high, both
    included, or one of some values. Raises UsageError."""
    ranges: dict[str, Any] = {}
    fix = "write it like ids=0,30521 (from low to high) or k=1|2|4 (one of these)"
    for name, text, item in _of_inputs("--range", items, fix):
        if "," not in text:
            ranges[name] = {"choices": [_number(part, item, fix) for part in text.split("|")]}
            continue
        limits = [_number(part, item, fix) for part in text.split(",")]
        if len(limits) != 2 or limits[0] > limits[1]:
            raise UsageError(f"--range {item!r} is not a low and a high end", fix)
        ranges[name] = limits
    return ranges


def _number(text: str, item: str, fix: str) -> int | float:
    text = text.strip()
    try:
        value = int(text) if re.fullmatch(r"[-+]?[0-9]{1,19}", text) else float(text)
    except ValueError:
        raise UsageError(f"--range {item!r}: {text!r} is not a number", fix) from None
    if not math.isfinite(value):
        raise UsageError(f"--range {item!r}: {text!r} is not a finite number", fix)
    return value
