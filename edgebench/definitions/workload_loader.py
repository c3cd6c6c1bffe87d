"""Workload definitions: `*.yaml` -> `Workload`, shipped ones and a user's own.

Whether a metric exists is asked where the task is known, not here; which axes exist, the caller may say.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import edgebench.models
from edgebench.definitions.companion_load import is_load, parse_companion
from edgebench.definitions.typed_values import convert
from edgebench.definitions.variant_matrix import MAX_VARIANTS, expand, select, unique, value_key
from edgebench.definitions.workload import Asset, Limit, Variant, Workload
from edgebench.definitions.yaml_reader import Document, KeyPath, raise_errors, read_yaml
from edgebench.errors import SpecError, UsageError
from edgebench.tasks import known_tasks
from edgebench.text.did_you_mean import did_you_mean

_OWN_TASK = "write task: file:my_task.py:MyTask"
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


#: Tells which axes there are, where a definition has one that not every backend knows.
KnownAxes = Callable[[], Collection[str]]
#: Axes that need no asking.
_COMMON_AXES = frozenset({"precision", "batch", "threads"})


def load_workloads(
    folders: Sequence[Path] = (), known_axes: KnownAxes | None = None
) -> dict[str, Workload]:
    """The shipped workloads and those of the user's folders, by name in alphabetical order.

    Names are unique over all of them: `name@version` stands in result files and must mean one thing.
    Raises SpecError for a definition that says what it may not, or a name that is taken, and
    UsageError for a folder that is none.
    """
    shipped = importlib.import_module("edgebench.workloads").__path__
    workloads: dict[str, tuple[Path, Workload]] = {}
    own = [(folder, True) for folder in folders]
    for folder, is_own in [*((Path(folder), False) for folder in shipped), *own]:
        for path in _definitions(folder):
            axes = known_axes if is_own else None
            workload = load_workload(path, axes, own_tasks=is_own)
            if workload.name in workloads:
                other = workloads[workload.name][0]
                message = f"the name {workload.name!r} is taken by {other}"
                fix = "rename this file and its `name`"
                raise SpecError(str(path), 1, 1, "name", message, fix)
            workloads[workload.name] = (path, workload)
    return {name: workload for name, (_, workload) in sorted(workloads.items())}


def choose(
    known: Mapping[str, Workload], names: Sequence[str], suite: str | None
) -> list[Workload]:
    """The workloads by name, or of a suite; with both, its part of those. Raises UsageError for a name
    that is none, or not of the suite."""
    for name in names:
        if name not in known:
            raise UsageError(f"no workload {name!r}{did_you_mean(name, known)}")
    chosen = [known[name] for name in unique(names)] if names else list(known.values())
    if suite is None:
        return chosen if names else []
    suites = {name for workload in known.values() for name in workload.suites}
    if suite not in suites:
        raise UsageError(f"no suite {suite!r}{did_you_mean(suite, suites)}")
    outside = [workload.name for workload in chosen if suite not in workload.suites]
    if names and outside:
        raise UsageError(
            f"the suite {suite!r} has none of {', '.join(outside)}", "leave out either"
        )
    return [workload for workload in chosen if suite in workload.suites]


def load_workload(
    path: Path, known_axes: KnownAxes | None = None, *, own_tasks: bool = False
) -> Workload:
    """Loads one definition and makes its `file:` URIs and task absolute. Raises SpecError with all errors;
    where `known_axes` is given, also for an axis that is none of them.

    Only with `own_tasks` may it name a task by file: that is code, which runs where it is measured.
    """
    document = read_yaml(path)
    workload = convert(document, Workload)
    folder = path.resolve().parent
    errors = list(_impossible(workload, path, document, folder if own_tasks else None))
    if known_axes is not None:
        errors += _unknown_axes(workload, document, known_axes)
    raise_errors(errors)
    return _with_absolute_files(workload, folder)


def _definitions(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name a folder that holds workload files")
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))


def _impossible(
    workload: Workload, path: Path, document: Document, tasks_folder: Path | None
) -> Iterator[SpecError]:
    """Values of the right type that make no sense."""
    if workload.name != path.stem:
        message = f"the name is {workload.name!r} and the file is {path.name}"
        yield document.error(("name",), message, "make them the same")
    yield from _task_errors(workload, document, tasks_folder)
    yield from _unknown_builder(workload, document)
    yield from _asset_errors(workload, document)
    yield from _quality_errors(workload, document)
    yield from _scenario_errors(workload, document)
    yield from _companion_errors(workload, document)
    axis_errors = [
        *_axis_errors(workload, document),
        *_size_errors(workload, document),
        *_point_errors(workload, document),
    ]
    yield from axis_errors
    if not axis_errors:
        yield from _variant_errors(workload, document)
    for index, name in enumerate(workload.requires):
        if not _DISTRIBUTION.fullmatch(name):
            message = f"{name!r} is not the name of a distribution"
            yield document.error(("requires", index), message, "leave versions out")


def _task_errors(
    workload: Workload, document: Document, folder: Path | None
) -> Iterator[SpecError]:
    """`folder`: of the tasks that a definition may name by file; None: it may name none."""
    file = _task_file(workload.task)
    if file is None and workload.task not in known_tasks():
        message = f"no task {workload.task!r}{did_you_mean(workload.task, known_tasks())}"
        yield document.error(("task",), message, f"a task of your own: {_OWN_TASK}")
    elif file is not None and folder is None:
        message = "only a workload in a folder of your own may name a task by its file"
        yield document.error(("task",), message, "name its folder: --workloads DIR")
    elif file is not None and folder is not None and not (folder / file).is_file():
        message = f"there is no file {folder / file}"
        yield document.error(("task",), message, f"{_OWN_TASK}, relative to this file")


def _companion_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    """Loads that make no sense; whether a workload is there, the run says."""
    for index, text in enumerate(workload.companions):
        if text == workload.name:
            yield document.error(("companions", index), f"{text} cannot run beside itself")
        elif is_load(text):
            try:
                parse_companion(text)
            except UsageError as error:
                message = error.message.removeprefix("--companion ")
                yield document.error(("companions", index), message, error.fix)


def _unknown_builder(workload: Workload, document: Document) -> Iterator[SpecError]:
    builder = workload.model.builder
    modules = {module.name for module in pkgutil.iter_modules(edgebench.models.__path__)}
    if builder is not None and builder not in modules:
        message = f"no builder {builder!r}{did_you_mean(builder, modules)}"
        yield document.error(("model", "builder"), message)


def _asset_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    for path, asset in _assets(workload):
        if not asset.license.strip():
            yield document.error((*path, "license"), "is empty", 'say "not stated" if it is not')
        if _file_of(asset.uri) == "" or re.match(r"file://[^/]", asset.uri):
            yield document.error((*path, "uri"), "names no file", "write file:relative/path")
    for name, shape in workload.model.shapes.items():
        for index, size in enumerate(shape):
            if isinstance(size, int) and size < 1:
                yield document.error(
                    ("model", "shapes", name, index), f"a size must be 1 or more, got {size}"
                )
        if shape.count("batch") > 1:
            yield document.error(("model", "shapes", name), "more than one axis is the batch")


def _assets(workload: Workload) -> Iterator[tuple[KeyPath, Asset]]:
    yield ("model",), workload.model
    for form, native in workload.model.native.items():
        yield ("model", "native", form), native
    for name, asset in workload.data.items():
        yield ("data", name), asset


def _quality_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    quality = workload.quality
    if quality.floor is None and quality.ceiling is None:
        message = f"{quality.metric!r} needs a limit, or it judges nothing"
        fix = "give `floor` where higher is better, `ceiling` where lower is better"
        yield document.error(("quality",), message, fix)
    limits: list[tuple[KeyPath, Limit]] = [(("quality",), quality)]
    limits += [(("quality", "also", name), limit) for name, limit in quality.also.items()]
    for path, limit in limits:
        if limit.floor is not None and limit.ceiling is not None:
            yield document.error(path, "both `floor` and `ceiling` are given", "keep one of them")
    if quality.metric in quality.also:
        message = "is the metric that judges already"
        yield document.error(("quality", "also", quality.metric), message, at_key=True)


def _scenario_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    if not workload.scenarios:
        yield document.error(("scenarios",), "the list is empty")
    lists: list[tuple[KeyPath, Sequence[str]]] = [(("scenarios",), workload.scenarios)]
    lists += [(("suites", n, "scenarios"), part.scenarios) for n, part in workload.suites.items()]
    for path, names in lists:
        for index, name in enumerate(names):
            if name in names[:index]:
                yield document.error((*path, index), f"{name!r} twice")


def _axis_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    for axis, values in workload.matrix.axes.items():
        path: KeyPath = ("matrix", "axes", axis)
        if not values:
            yield document.error(path, "the list is empty", "leave the axis out")
        for index, value in enumerate(values):
            if value_key(value) in map(value_key, values[:index]):
                yield document.error((*path, index), f"{value!r} twice")
            message = _bad_value(axis, value)
            if message:
                yield document.error((*path, index), message)


def _size_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    matrix = workload.matrix
    count = math.prod(map(len, matrix.axes.values())) * (1 + len(matrix.include))
    if count > MAX_VARIANTS:
        yield document.error(("matrix",), f"up to {count} variants, and {MAX_VARIANTS} are allowed")


def _unknown_axes(
    workload: Workload, document: Document, known_axes: KnownAxes
) -> Iterator[SpecError]:
    for axis in workload.matrix.axes:
        if axis not in _COMMON_AXES and axis not in (known := known_axes()):
            message = f"no backend has an option {axis!r}{did_you_mean(axis, known)}"
            fix = "`edgebench list backends --format json` names all options"
            yield document.error(("matrix", "axes", axis), message, fix, at_key=True)


def _bad_value(axis: str, value: Any) -> str:
    if axis in ("batch", "threads") and (type(value) is not int or value < 1):
        return f"must be a whole number of 1 or more, got {value!r}"
    if axis == "precision" and not isinstance(value, str):
        return f"must be text, got {value!r}"
    return ""


def _points(workload: Workload) -> Iterator[tuple[KeyPath, Variant]]:
    for kind in ("include", "exclude"):
        for index, point in enumerate(getattr(workload.matrix, kind)):
            yield ("matrix", kind, index), point
    for suite, part in workload.suites.items():
        for index, point in enumerate(part.variants):
            yield ("suites", suite, "variants", index), point


def _point_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    axes = workload.matrix.axes
    for path, point in _points(workload):
        if not point:
            yield document.error(path, "names no axis")
        for axis, value in point.items():
            if axis not in axes:
                message = f"no axis {axis!r} in matrix.axes{did_you_mean(axis, axes)}"
                yield document.error((*path, axis), message, at_key=True)
            elif _bad_value(axis, value):
                yield document.error((*path, axis), _bad_value(axis, value))


def _variant_errors(workload: Workload, document: Document) -> Iterator[SpecError]:
    """Points that stand for no variant: a typo, or a value that no axis has."""
    matrix = workload.matrix
    unrestricted = expand(msgspec.structs.replace(matrix, exclude=[]))
    variants = expand(matrix)
    if not variants:
        yield document.error(("matrix",), "every variant is excluded")
    for path, point in _points(workload):
        if path[1] == "include":
            continue
        candidates = unrestricted if path[1] == "exclude" else variants
        if not select(candidates, [point]):
            yield document.error(path, _why_nothing(point, candidates))


def _why_nothing(point: Variant, variants: Sequence[Variant]) -> str:
    for axis, value in point.items():
        known = unique(variant[axis] for variant in variants if axis in variant)
        if value_key(value) not in map(value_key, known):
            suggestion = did_you_mean(str(value), map(str, known))
            return f"no variant has {axis}={value}{suggestion}"
    return "no variant has all of these values"


def _with_absolute_files(workload: Workload, folder: Path) -> Workload:
    model, data = workload.model, workload.data
    task_file = _task_file(workload.task)
    class_name = workload.task.rpartition(":")[2]
    return msgspec.structs.replace(
        workload,
        task=workload.task if task_file is None else f"{folder / task_file}:{class_name}",
        model=msgspec.structs.replace(
            model,
            uri=_absolute(model.uri, folder),
            native={
                form: msgspec.structs.replace(native, uri=_absolute(native.uri, folder))
                for form, native in model.native.items()
            },
        ),
        data={
            name: msgspec.structs.replace(asset, uri=_absolute(asset.uri, folder))
            for name, asset in data.items()
        },
    )


def _task_file(task: str) -> str | None:
    """The file of `file:FILE.py:CLASS`; None for a task by name."""
    return task.removeprefix("file:").rpartition(":")[0] if task.startswith("file:") else None


def _file_of(uri: str) -> str | None:
    """The path of a `file:` URI (`file:a/b`, `file:/a/b` or `file:///a/b`), None for other URIs."""
    if not uri.startswith("file:"):
        return None
    path = uri.removeprefix("file:")
    return path[2:] if path.startswith("///") else path


def _absolute(uri: str, folder: Path) -> str:
    path = _file_of(uri)
    if path is None:
        return uri
    return f"file:{folder / path}" + ("/" if path.endswith("/") else "")
