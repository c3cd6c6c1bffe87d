"""Holds what goes to and comes from `python -m edgebench.preparation.prepare`: a JSON document each way, and steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError, UnsupportedError, tells_of_no_memory
from edgebench.record import Work
from edgebench.task import InputRange
from edgebench.words.reason_words import reason

#: Task items whose fp32 outputs are kept as the reference of parity.
REFERENCE_ITEMS = 8


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what the reference of parity is, and what is known of how far a right answer may lie from it."""

    #: What rounds between the operators of the file that made it ("int8", "fp16+int8"); "": nothing does,
    #: it computes in fp32 or above.
    arithmetic: str = ""
    #: Output -> how far rounding alone moves it, as `quantization_noise` measured it; empty: not known.
    moved: dict[str, float] = {}
    evaluated: bool = False  # by ONNX's own evaluator, where ONNX Runtime cannot run the file
    random: str = ""  # why the model gives other outputs for the same input; "": it does not

    @property
    def named(self) -> str:
        """Returns what the reference is called."""
        if self.evaluated:
            return f"the {self.arithmetic or 'fp32'} file itself in ONNX's own evaluator"
        if self.arithmetic:
            return f"the {self.arithmetic} file itself, unoptimised, on ONNX Runtime's CPU provider"
        return "the fp32 reference"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Outputs of the fp32 model at batch 1 on the task's first REFERENCE_ITEMS items, one thread, graph optimisations
    off, and what they can tell."""

    path: str = ""  # .npz whose arrays are named "<item>/<output name>"; "": there is none, and the note says why
    constant: bool = False  # no two items gave different outputs: parity would prove nothing
    note: str = ""  # who answered where that is not ONNX Runtime, or why there is none
    parity: Parity = Parity()
    rounding: float | None = (
        None  # what rounding in fp32 alone moves them by, relative; None: unknown
    )


#: Files of a moment: in a temporary folder of ours, or in an entry of the cache that is not finished.
_PASSING = re.compile(r"[^\s'\":]*/(?:edgebench-\w{8}|\.partial-[0-9a-f-]+)/[\w.-]*\w")


def as_users_file(text: str, source: str, made: str = "") -> str:
    """An error about a file that was made of `source` as one about `source`, which the user knows.

    `made`: a file in the cache. One that has another format than its source stays named.
    """
    text = _PASSING.sub(lambda _: source, text)
    if not made or Path(made).suffix != Path(source).suffix:
        return text
    return text.replace(made, source).replace(Path(made).name, Path(source).name)


class PrepareJob(msgspec.Struct, frozen=True, kw_only=True):
    """One model file to make: which weights, which shapes, which precision, which batch."""

    task: str
    options: dict[str, Any] = {}  # of the task
    metrics: list[str] = []  # by which the task is judged
    data: dict[str, str] = {}  # the task's data assets: name -> local path
    source: str  # local path of the model file or of the weights a builder reads
    source_sha256: str
    format: str = "onnx"  # of the source; a builder writes ONNX
    builder: str | None = None  # module in edgebench.models
    shapes: dict[str, list[int | str]] = {}  # input -> shape; "batch" marks the axis of `batch`
    precision: str = "as-is"
    batch: int = 1
    seed: int = 0
    cache: str  # the cache's root folder
    generates: bool = False  # a decoder for a task that generates text
    keeps_open: bool = False  # the model with its axes open is wanted as well
    without_reference: bool = False  # there is no time for it: parity stays unknown


class PreparedModel(msgspec.Struct, frozen=True, kw_only=True, tag="prepared"):
    path: str
    format: str = "onnx"
    sha256: str
    size_bytes: int  # weights beside the file (ONNX external data) included
    precision: str
    recipe: str = ""  # of static quantisation, with its version
    batch: int
    build_s: (
        float | None
    )  # as first built, also where it came from the cache; None: used as it came
    fp32_path: str  # the unquantised file at batch 1, which made the reference
    inputs: list[TensorInfo]  # of that file; none: it is in a runtime's own format
    outputs: list[TensorInfo] = []
    input_ranges: dict[str, InputRange] = {}  # what of whole numbers its graph allows
    reference: Reference = Reference()
    open_path: str = (
        ""  # the unquantised file with axes left open; "": it has none, or was not asked for
    )
    items: str = ""  # .npz of the items that workers time with; "": they make them themselves
    work: Work | None = None  # of the file at `path`, one run; None: not an ONNX graph


class PrepareFailure(msgspec.Struct, frozen=True, tag="failure"):
    """Why there is no model: `unsupported` if it cannot be made or converted in this way, else `failed`."""

    kind: Literal["unsupported", "failed"]
    error: str
    fix: str = ""


def why_failed(error: Exception) -> PrepareFailure:
    """What an error says of a model that is made: that it cannot be, or that it was not this time."""
    if isinstance(error, EdgebenchError):
        cannot = isinstance(error, UnsupportedError) and not tells_of_no_memory(error)
        return PrepareFailure("unsupported" if cannot else "failed", error.message, error.fix)
    if isinstance(error, MemoryError):
        return PrepareFailure("failed", reason("out_of_memory.preparation").message)
    return PrepareFailure("failed", f"{type(error).__name__}: {error}")


decode_answer = msgspec.json.Decoder(PreparedModel | PrepareFailure).decode
