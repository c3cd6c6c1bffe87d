"""Makes a workload of a user's own model file, without YAML (`--model`)."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from edgebench import registry
from edgebench.definitions.workload import (
    PARITY_METRIC,
    Asset,
    Limit,
    Matrix,
    Model,
    NativeModel,
    Quality,
    Workload,
)
from edgebench.errors import EdgebenchError, UsageError
from edgebench.files.regular_file import open_regular
from edgebench.models.file_kind import format_of
from edgebench.planning.cells import model_format
from edgebench.planning.settings import GENERATE, Shapes
from edgebench.tasks import task_file
from edgebench.text.did_you_mean import did_you_mean

SHAPED_FORMATS = ("onnx", "tflite")  # whose inputs may have open axes
#: A user's own decoder is held against its fp32 reference; 0.1 nat is far beyond rounding.
_OWN_DECODER = Quality(
    metric="kl_divergence",
    ceiling=0.1,
    also={"greedy_agreement": Limit(), "exact_match": Limit()},
)


class OwnInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The ranges of generated inputs of a model file, or the user's own inputs."""

    ranges: dict[str, Any] = {}  # as `parse_ranges` reads them
    file: Path | None = None


def workload_for_model(
    path: Path,
    shapes: Shapes,
    task: str | None = None,
    reference: Path | None = None,
    inputs: OwnInputs | None = None,
) -> Workload:
    """A workload around a model file: seeded inputs (or a task of the user's own, FILE.py:CLASS),
    judged by its parity with the reference; a GGUF file, and any model with `--task generate`, generates
    text and is judged by its divergence from an fp32 reference. `reference` is the ONNX model that a file in a runtime's
    own format was made from. The name tells apart what is other work, as rows of one name compete: other
    files, shapes, inputs or tasks. Raises UsageError where a file cannot be read or makes no sense."""
    given = _file_asset(path)
    form = format_of(given.uri)
    if reference is not None and form == "onnx":
        raise UsageError("--reference is for a model in a runtime's own format", "leave it out")
    origin = given if reference is None else _file_asset(reference)
    native = NativeModel(
        uri=given.uri, sha256=given.sha256, license=given.license, precision="as-is"
    )
    generating = form == "gguf" or task == GENERATE
    model = Model(
        uri=origin.uri,
        sha256=origin.sha256,
        license=origin.license,
        shapes=shapes,
        native={} if reference is None else {form: native},
    )
    if shapes and (generating or model_format(model) not in SHAPED_FORMATS):
        raise UsageError(
            f"--shape fixes the inputs of .onnx and .tflite models: {path.name} has its own",
            "leave it out",
        )
    if task is not None:
        task_file(task)  # refuses what is none
    inputs = inputs or OwnInputs()
    if (inputs.ranges or inputs.file) and (generating or task is not None):
        whose = "a decoder has prompts" if generating else "the task makes its inputs itself"
        raise UsageError(
            f"--range and --inputs apply to generated inputs, but {whose}", "leave them out"
        )
    if inputs.ranges and inputs.file:
        raise UsageError(
            "--inputs gives every value, so --range has nothing to draw", "keep one of them"
        )
    _check_names(origin, shapes, inputs)
    own = {} if inputs.file is None else {"inputs": _file_asset(inputs.file)}
    stem = re.sub(r"[^a-z0-9._-]+", "-", Path(given.uri).stem.lower()).strip("._-") or "model"
    # Of the task its name: the folder it lies in is another one on each machine.
    work: list[Any] = [
        given.sha256,
        origin.sha256,
        sorted(shapes.items()),
        task and Path(task).name,
    ]
    if inputs.ranges or own:
        work.append([sorted(inputs.ranges.items()), *(asset.sha256 for asset in own.values())])
    sizes = ("x".join(map(str, shape)) or "scalar" for _, shape in sorted(shapes.items()))
    words = [stem, *sizes]
    return Workload(
        name=f"{'-'.join(words)[:55]}-{hashlib.sha256(msgspec.json.encode(work)).hexdigest()[:8]}",
        version=1,
        title=Path(given.uri).name,
        task=registry.absolute(task) if task else GENERATE if generating else "seeded_inputs",
        model=model,
        data=own,
        options={"ranges": inputs.ranges} if inputs.ranges else {},
        quality=_OWN_DECODER if generating else Quality(metric=PARITY_METRIC, ceiling=1e-3),
        scenarios=["generate"] if generating else ["single_stream"],
        matrix=Matrix(axes={"precision": ["as-is"]}),
    )


def _check_names(model: Asset, shapes: Shapes, inputs: OwnInputs) -> None:
    """Raises UsageError for a name that is no input of the model, and for own inputs that lack one. What a damaged
    file or another format holds is found when it is made ready."""
    entries = _entries(inputs.file) if inputs.file else []
    asked = [("--shape", name) for name in shapes]
    asked += [("--range", name) for name in inputs.ranges]
    asked += [(f"--inputs {inputs.file}", name) for name in entries]
    known = _input_names(Path(model.uri.removeprefix("file:"))) if asked else []
    if not known:
        return
    for told, name in asked:
        if name not in known:
            raise UsageError(
                f"{told}: {Path(model.uri).name} has no input {name!r}{did_you_mean(name, known)}",
                f"name one of its inputs: {', '.join(known)}",
            )
    lacking = [name for name in known if entries and name not in entries]
    if lacking:
        raise UsageError(
            f"--inputs {inputs.file}: no entry for {', '.join(map(repr, lacking))}",
            f"np.savez(file, {lacking[0]}=...), an entry for each input of the model",
        )


def _input_names(path: Path) -> list[str]:
    """Returns the input names of a model file; none if they are unknown."""
    from edgebench.models import onnx_file, tflite_ranges

    if format_of(path) == "tflite":
        return tflite_ranges.input_names(path)
    try:
        return onnx_file.input_names(path) if format_of(path) == "onnx" else []
    except EdgebenchError:
        return []


def _entries(path: Path) -> list[str]:
    """Names of the arrays in an .npz file. Raises UsageError where it is none."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        raise UsageError(
            f"--inputs {path}: no .npz file of inputs by name",
            "write it with numpy: np.savez(file, NAME=array)",
        ) from None


def _file_asset(path: Path) -> Asset:
    from edgebench.assets import file_sha256

    path = (
        path.expanduser().absolute()
    )  # a link's own name tells the format and has the weights beside it
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name a model file") from None
    return Asset(uri=f"file:{path}", sha256=digest, license="not stated")
