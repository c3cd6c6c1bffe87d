"""ONNX files: written so that the oldest supported runtime loads them, frozen, described, counted."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from edgebench.backend import TensorInfo, named_by_place
from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.models import open_axes
from edgebench.models.file_kind import check_arrived
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorShapeProto, ValueInfoProto

#: What ONNX Runtime 1.23 (the last for Python 3.10) loads; `onnx` itself writes later ones.
MIN_IR, MAX_IR = 8, 10
MIN_OPSET, MAX_OPSET = 13, 17

#: A protobuf message ends at 2 GiB; above this, weights go into a file beside the model.
_INLINE_BYTES = 1_900_000_000

_ONNX_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def load_model(path: Path, *, weights: bool = True) -> ModelProto:
    """Reads an ONNX file. Raises EdgebenchError where it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    check_arrived(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        raise _not_a_model(path, "it is not in ONNX format") from None
    except (OSError, ValueError) as error:
        raise _not_a_model(path, str(error)) from None
    if not model.graph.node or not model.opset_import:
        raise _not_a_model(path, "it holds no graph")
    if weights:
        _load_weights(model, path)
    return model


def damage_kinds() -> tuple[type[Exception], ...]:
    """The exceptions that `onnx`, protobuf and ONNX Runtime raise for models that are damaged, or too large for the
    memory, beside what is caught where it arises."""
    import onnx
    from google.protobuf.message import Error

    checked = onnx.checker.ValidationError, onnx.shape_inference.InferenceError
    own = RuntimeError, LookupError, ValueError, TypeError, OverflowError, MemoryError
    return (*checked, Error, *own)


def _not_a_model(path: Path, why: str) -> EdgebenchError:
    return EdgebenchError(
        f"{path} cannot be read as an ONNX model: {why}",
        fix="export the model again, or check that the file arrived whole",
    )


def save_model(model: ModelProto, path: Path, *, keep_opset: bool = False) -> None:
    """Checks the model and writes it with a pinned IR version (8..10).

    With `keep_opset` a model that came with a later opset than 17 keeps it; our own may not have one.
    Weights of a model above 1.9 GB go to `<path>.data`. Raises EdgebenchError for a model that the
    ONNX checker refuses.
    """
    import onnx

    opset = opset_of(model)
    if opset > MAX_OPSET and not keep_opset:
        raise EdgebenchError(f"{path}: opset {opset} is later than {MAX_OPSET}")
    _pin_ir_version(model)
    inline = fits_inline(model)
    try:
        if inline:
            _check(model)
        onnx.save(
            model,
            str(path),
            save_as_external_data=not inline,
            location=None if inline else f"{path.name}.data",
        )
        if not inline:
            onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        # The whole path: by it, a file of a moment is known and the user's named in its place.
        raise EdgebenchError(
            f"{path} is not a valid ONNX model: {' '.join(str(error).split())}",
            "export the model again: onnx.checker.check_model(FILE) says the same of a file that is at fault",
        ) from None


def fits_inline(model: ModelProto) -> bool:
    """Whether one protobuf message can hold the model. Asked tensor by tensor: protobuf raises an error
    for a whole that is too large to be written."""
    return sum(int(tensor.ByteSize()) for tensor in _tensors(model.graph)) < _INLINE_BYTES


def _check(model: ModelProto) -> None:
    """Raises ValidationError. The checker demands a shape of every output, which runtimes do not: one of
    unknown rank is checked as a scalar."""
    import onnx

    shapeless = [
        value.type.tensor_type
        for value in model.graph.output
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    finally:
        for tensor in shapeless:
            tensor.ClearField("shape")


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators that the model uses."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def external_files(path: Path) -> list[Path]:
    """Weight files beside an ONNX file (external data), sorted; most models have none.

    They have the names that the model says, which may be links: a cache of downloads keeps the content
    elsewhere.
    """
    tensors = _all_tensors(load_model(path, weights=False))
    places = (_external_place(tensor, path) for tensor in tensors if tensor.external_data)
    return sorted({place.file for place in places})


@dataclass(frozen=True)
class _ExternalPlace:
    """Locates the values of a tensor."""

    file: Path
    offset: int
    length: int


def _external_place(tensor: Any, path: Path) -> _ExternalPlace:
    """Raises EdgebenchError where the file is not there, or ends before the tensor does."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    name = PurePosixPath(facts.get("location", ""))
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise _not_a_model(path, f"it points outside its folder, to {name}")
    file = path.parent / name
    try:
        there = file.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise _not_a_model(path, f"it names no file for its weights: {error}") from None
    if not there:
        raise EdgebenchError(
            f"{path} cannot be read as an ONNX model: its weights are missing: {name}",
            fix=f"put {name} into the folder of {path.name}: the two belong together",
        )
    check_arrived(file)
    size = file.stat().st_size
    try:
        offset = int(facts.get("offset", "0"))
        length = int(facts.get("length", str(size - offset)))
    except ValueError:
        raise _not_a_model(path, f"the place of tensor {tensor.name!r} is not a number") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise EdgebenchError(
            f"{file} ends before tensor {tensor.name!r} of {path.name} does: it has {size} bytes, "
            f"{offset + length} are needed",
            fix="check that the file arrived whole: download or export it again",
        )
    return _ExternalPlace(file, offset, length)


def _load_weights(model: ModelProto, path: Path) -> None:
    """Reads external data into the model, through links too, which `onnx` refuses to follow."""
    from onnx import TensorProto

    for tensor in _all_tensors(model):
        if not tensor.external_data:
            continue
        place = _external_place(tensor, path)
        with place.file.open("rb") as file:
            file.seek(place.offset)
            tensor.raw_data = file.read(place.length)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _all_tensors(model: ModelProto) -> Iterator[Any]:
    """Every tensor of a model that may lie in a file of its own, as an attribute too."""
    yield from _tensors(model.graph)
    functions = (node for function in model.functions for node in function.node)
    for node in (*graph_nodes(model.graph), *functions):
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t") and (node.op_type != "Constant" or node.domain):
                yield attribute.t


def describe(model: ModelProto) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs of a model, each under a name of its own; open axes are None."""
    inputs = [_tensor_info(value) for value in graph_inputs(model)]
    outputs = [_tensor_info(value) for value in model.graph.output]
    return named_by_place(inputs, kind="input"), named_by_place(outputs)


def graph_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Inputs a caller must feed: old files list their weights among the inputs as well."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _tensor_info(value: ValueInfoProto) -> TensorInfo:
    import onnx

    if not value.type.HasField("tensor_type"):
        raise UnsupportedError(
            f"{value.name!r} is not a tensor; only tensors are supported",
            fix="export the model with tensors only (from scikit-learn: with zipmap off)",
        )
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorInfo(value.name, dtype, declared_shape(value))


def declared_shape(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    """The sizes that the file tells; None: it does not even tell how many axes there are."""
    tensor = value.type.tensor_type
    return tuple(map(_declared, tensor.shape.dim)) if tensor.HasField("shape") else None


def _declared(dim: TensorShapeProto.Dimension) -> int | None:
    """The size of an axis; None where it is open, which some exporters write as 0 or -1."""
    return dim.dim_value if dim.dim_value > 0 else None


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of an ONNX file, read without loading its weights or importing onnx.

    A task reads it in the process that is measured, whose memory must not show it. Field numbers:
    `ModelProto.metadata_props` and `StringStringEntryProto` in onnx.proto. Raises EdgebenchError
    for a file that is no protobuf message.
    """
    pairs = {}
    with path.open("rb") as file:
        try:
            for entry in _fields(file, path.stat().st_size, field=14):
                pairs[_text(entry, 1)] = _text(entry, 2)
        except EOFError:
            raise _not_a_model(path, "it ends too early") from None
    return pairs


def input_names(path: Path) -> list[str]:
    """Names of the inputs a caller must feed, read as `read_metadata` reads. Field numbers: `ModelProto.graph`;
    `GraphProto.input`, `.initializer` and `.sparse_initializer` (its values are a tensor); names of values and of
    tensors. Raises EdgebenchError for a file that is no protobuf message."""
    inputs, weights = [], set()
    with path.open("rb") as file:
        try:
            for number, end in _inside(file, path.stat().st_size, field=7):
                if number == 11:
                    inputs.append(_name(file, end, 1))
                elif number == 5:
                    weights.add(_name(file, end, 8))
                elif number == 15:
                    weights.update(
                        file.read(stop - file.tell()).decode()
                        for number, stop in _inside(file, end, field=1)
                        if number == 8
                    )
        except EOFError:
            raise _not_a_model(path, "it ends too early") from None
        except UnicodeDecodeError:
            raise _not_a_model(path, "a name in it is not UTF-8") from None
    return [name for name in inputs if name not in weights]


def _inside(file: IO[bytes], end: int, field: int) -> Iterator[tuple[int, int]]:
    """Yields what `_spans` tells of the messages in the fields of one number."""
    for number, stop in _spans(file, end):
        if number == field:
            yield from _spans(file, stop)


def _name(file: IO[bytes], end: int, number: int) -> str:
    return next(_fields(file, end, field=number), b"").decode()


def _text(message: bytes, number: int) -> str:
    return _name(io.BytesIO(message), len(message), number)


def _fields(file: IO[bytes], end: int, field: int) -> Iterator[bytes]:
    """Contents of the length-delimited fields of one number; all others are skipped unread."""
    for number, stop in _spans(file, end):
        if number == field:
            yield file.read(stop - file.tell())


def _spans(file: IO[bytes], end: int) -> Iterator[tuple[int, int]]:
    """Number and end of each length-delimited field, at whose begin the file stands."""
    while file.tell() < end:
        tag = _varint(file)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _varint(file)
        elif wire_type in (1, 5):
            file.seek(8 if wire_type == 1 else 4, os.SEEK_CUR)
        elif wire_type == 2:
            stop = _varint(file) + file.tell()
            if stop > end:
                raise EOFError
            yield number, stop
            file.seek(stop)
        else:
            raise EOFError


def _varint(file: IO[bytes]) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7


# --- fixed shapes -------------------------------------------------------------------------------


def resolve_shapes(
    model: ModelProto, wanted: Mapping[str, Sequence[int | str]], batch: int
) -> dict[str, list[int]]:
    """The fixed shape of every input, from what was asked for and what the file says.

    The word "batch" stands for `batch`. An axis that nobody gave is taken from a like-named axis of
    another input, or, if it leads, is the batch. Raises UsageError for a shape that does not fit
    and for an axis that stays open, UnsupportedError for a batch the model has no axis for.
    """
    inputs = {value.name: value for value in graph_inputs(model)}
    for name in wanted:
        if name not in inputs:
            raise UsageError(f"the model has no input {name!r}{did_you_mean(name, inputs)}")
    named = _named_axes(inputs, wanted, batch)
    _check_open(inputs, wanted, named)
    shapes = {
        name: _fixed_shape(value, wanted.get(name), named, batch) for name, value in inputs.items()
    }
    if batch > 1:
        _check_batch(inputs, wanted, shapes, batch)
    return shapes


class OpenAxesError(UsageError):
    """Axes whose sizes nobody gave: `values` are the inputs whose shapes must be given for all to be known."""

    def __init__(self, message: str, values: Sequence[ValueInfoProto], named: Mapping[str, int]):
        super().__init__(message)
        self.values = values
        self.named = named
        self.fix = open_axes.unknown(self.proposed(224, 1))

    def proposed(self, size: int, unnamed: int) -> dict[str, list[int | str]]:
        """Shapes to give: what is known, 1 for a leading open axis, `size` for others; `unnamed` for those
        without a name beside the first input's, which may be the batch."""
        return {
            value.name: [
                _declared(dim)
                or self.named.get(dim.dim_param)
                or (size if axis and not (place and _is_anonymous(dim)) else unnamed if axis else 1)
                for axis, dim in enumerate(value.type.tensor_type.shape.dim)
            ]
            for place, value in enumerate(self.values)
        }


def _check_open(
    inputs: Mapping[str, ValueInfoProto],
    wanted: Mapping[str, Sequence[int | str]],
    named: Mapping[str, int],
) -> None:
    """Raises OpenAxesError with every axis whose size nobody gave."""
    known, told = set(named), {}
    for name, value in inputs.items():
        axes = [] if name in wanted else list(_open_axes(value, known))
        if axes:
            told[name] = f"input {name!r}: {' and '.join(axes)}"
            known |= {dim.dim_param for dim in value.type.tensor_type.shape.dim}
    if told:
        words = ", ".join(told.values())
        single = " and " not in words and len(told) == 1
        are = "is open, so its size" if single else "are open, so their sizes"
        values = [inputs[name] for name in told]
        raise OpenAxesError(f"{words} {are} must be given", values, named)


def _open_axes(value: ValueInfoProto, known: Collection[str]) -> Iterator[str]:
    """The axes that neither the file nor a like-named axis gives a size, and that are not the batch."""
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        if axis and _declared(dim) is None and (_is_anonymous(dim) or dim.dim_param not in known):
            yield f"axis {axis}" + (f" ({dim.dim_param})" if dim.dim_param else "")


def _is_anonymous(dim: Any) -> bool:
    return dim.dim_param in ("", "?")


def _check_batch(
    inputs: Mapping[str, ValueInfoProto],
    wanted: Mapping[str, Sequence[int | str]],
    shapes: Mapping[str, Sequence[int]],
    batch: int,
) -> None:
    """A query is made of single items, joined along their leading axes: these must be the batch."""
    if any("batch" in shape[1:] for shape in wanted.values()):
        raise UnsupportedError(
            "items are joined along the leading axis: no other can be the batch",
            fix="use batch 1, or export the model with the batch as leading axis",
        )
    leading = (shapes[name][:1] for name, value in inputs.items() if _leads_open(value))
    if not any(size == [batch] for size in leading):
        raise UnsupportedError(
            f"no axis of the model takes a batch of {batch}: its leading axis is fixed",
            fix="use batch 1, or export the model with an open leading axis",
        )


def _leads_open(value: ValueInfoProto) -> bool:
    shape = declared_shape(value)
    return shape is None or shape[:1] == (None,)


def _named_axes(
    inputs: Mapping[str, ValueInfoProto], wanted: Mapping[str, Sequence[int | str]], batch: int
) -> dict[str, int]:
    """Sizes of symbolic axes ("sequence", "batch_size", ...) that the wanted shapes fix."""
    named: dict[str, int] = {}
    for name, shape in wanted.items():
        if declared_shape(inputs[name]) is None:
            continue  # whatever was asked for fits
        dims = inputs[name].type.tensor_type.shape.dim
        if len(dims) != len(shape):
            raise UsageError(
                f"input {name!r} has {len(dims)} axes, the shape given has {len(shape)}",
                fix=f"give {len(dims)} sizes: --shape {name}={_example(inputs[name])}"
                if len(dims)
                else f"leave --shape {name}=... out: it is a scalar",
            )
        for dim, size in zip(dims, shape, strict=True):
            if not _is_anonymous(dim):
                named.setdefault(dim.dim_param, _size(name, size, batch))
    return named


def _fixed_shape(
    value: ValueInfoProto,
    requested: Sequence[int | str] | None,
    named: Mapping[str, int],
    batch: int,
) -> list[int]:
    if declared_shape(value) is None:
        if requested is None:
            raise UsageError(
                f"input {value.name!r} has no shape in the model, not even its number of axes",
                fix=f"--shape {value.name}=1,3,224,224 with every size of yours, "
                f"or --shape {value.name}=scalar",
            )
        return [_size(value.name, size, batch) for size in requested]
    shape = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        declared = _declared(dim)
        if requested is not None:
            size = _size(value.name, requested[axis], batch)
            if declared is not None and declared != size:
                if requested[axis] == "batch":
                    raise UnsupportedError(
                        f"input {value.name!r}: the model fixes its batch axis to {declared}, not {size}"
                    )
                raise UsageError(
                    f"input {value.name!r}: axis {axis} is {declared} in the model, not {size}"
                )
        else:  # the batch is a leading axis: `_check_open` saw to the others
            size = declared or named.get(dim.dim_param) or batch
        shape.append(size)
    return shape


def _size(name: str, size: int | str, batch: int) -> int:
    if size == "batch":
        return batch
    if isinstance(size, int) and size > 0:
        return size
    raise UsageError(
        f"input {name!r}: {size!r} is not a size", fix='sizes are positive, or the word "batch"'
    )


def _example(value: ValueInfoProto) -> str:
    """A shape to copy: what is known, 1 for a leading open axis, 224 for another."""
    dims = value.type.tensor_type.shape.dim
    return ",".join(
        str(_declared(dim) or (1 if axis == 0 else 224)) for axis, dim in enumerate(dims)
    )


def set_input_shapes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Writes fixed input shapes into the model and infers all others anew, in place."""
    import onnx

    for value in graph_inputs(model):
        shape = value.type.tensor_type.shape
        shape.SetInParent()  # a scalar has a shape, without axes
        del shape.dim[:]
        for size in shapes[value.name]:
            shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.Clear()  # the rank stays: the checker demands a shape
    if fits_inline(model):
        model.CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True))


def inferred_graph(model: ModelProto) -> GraphProto:
    """The graph with what can be inferred of types and shapes; as it is where the file contradicts itself."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return model.graph


def raise_opset(model: ModelProto) -> ModelProto:
    """The model with at least opset 13, which per-channel quantisation needs.

    Raises UnsupportedError where onnx cannot convert it.
    """
    import onnx

    if opset_of(model) >= MIN_OPSET:
        return model
    if not fits_inline(model):
        raise UnsupportedError(
            f"the model is too large for its opset {opset_of(model)} to be raised to {MIN_OPSET}",
            fix=f"export the model with opset {MIN_OPSET} or later",
        )
    try:
        raised = onnx.version_converter.convert_version(model, MIN_OPSET)
        _keep_metadata(model, raised)
        return raised
    except RuntimeError as error:
        raise UnsupportedError(
            f"the model's opset {opset_of(model)} cannot be raised to {MIN_OPSET}: {error}",
            fix=f"export the model with opset {MIN_OPSET} or later",
        ) from None


class RefusedError(UnsupportedError):
    """ONNX Runtime refuses the model with fixed shapes written into it."""


def freeze(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """The model with fixed input shapes and its shape arithmetic folded away.

    ONNX Runtime's basic optimisation does the folding; only operators of ONNX itself, or ones that
    the model had before, remain. Raises RefusedError where ONNX Runtime refuses the model so.
    """
    import onnx

    set_input_shapes(model, shapes)
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        fixed, folded = Path(folder, "fixed.onnx"), Path(folder, "folded.onnx")
        save_model(model, fixed, keep_opset=True)
        try:
            _optimise(fixed, folded)
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
            raise RefusedError(
                f"ONNX Runtime cannot load the model: {_first_line(error)}"
            ) from None
        result = onnx.load(str(folded))
        _drop_unused_domains(result)
        _pin_ir_version(result)
        if not _is_portable(result, model):
            result = onnx.load(str(fixed))
            _drop_unused_domains(result)
    _keep_metadata(model, result)
    if any(info.sizes is None for info in describe(result)[1]):
        set_input_shapes(result, shapes)
    return result


def _is_portable(folded: ModelProto, source: ModelProto) -> bool:
    """Whether what ONNX Runtime wrote is an ONNX model that other runtimes can open: without operators
    of its own, and valid (it writes sparse weights in a form that ONNX refuses)."""
    import onnx

    if _domains(folded.graph) - _domains(source.graph) - set(_ONNX_DOMAINS):
        return False
    try:
        if fits_inline(folded):
            _check(folded)
    except onnx.checker.ValidationError:
        return False
    return True


def _pin_ir_version(model: ModelProto) -> None:
    model.ir_version = min(max(model.ir_version, MIN_IR), MAX_IR)


def is_loaded_by_onnxruntime(path: Path) -> bool:
    """Whether ONNX Runtime opens the file as it is."""
    try:
        _session(path, _quiet_options())
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return False
    return True


def _optimise(source: Path, target: Path) -> None:
    options = _quiet_options()
    options.optimized_model_filepath = str(target)
    # Weights stay inside the file up to protobuf's limit; the option below is for those above it.
    files = [source, *external_files(source)]
    if sum(file.stat().st_size for file in files) > _INLINE_BYTES:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "folded.data"
        )
    _session(source, options)


def _quiet_options() -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return options


def _session(path: Path, options: Any) -> Any:
    import onnxruntime as ort

    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


#: In what ONNX Runtime says of a file that nothing could run.
_DAMAGED = "INVALID_GRAPH", "INVALID_PROTOBUF", "Invalid model"


#: What OpenVINO writes before its message, line by line.
_THROWN = "Exception from "


def refusal(error: Exception, what: str) -> EdgebenchError:
    """Classifies ONNX Runtime's refusal of a file: that it is damaged, or asks for more than there is."""
    message = f"{what}: {_first_line(error)}"
    damaged = any(sign in message for sign in _DAMAGED)
    if damaged and "No Op registered" not in message:
        return EdgebenchError(
            message, "export the model again, or check that the file arrived whole"
        )
    return UnsupportedError(message)


def _first_line(error: Exception) -> str:
    """The first line, and of OpenVINO's messages the first after the places where they were thrown."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first, sign, _ = lines[0].partition(_THROWN)
    said = [line for line in lines[1:] if not line.startswith(_THROWN)]
    return f"{first}{said[0]}" if sign and said else lines[0]


def _domains(graph: GraphProto) -> set[str]:
    return {node.domain for node in graph_nodes(graph)}


def _keep_metadata(source: ModelProto, target: ModelProto) -> None:
    """Converters drop it; it may hold what post-processing needs, such as an alphabet."""
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)


def _drop_unused_domains(model: ModelProto) -> None:
    """ONNX Runtime declares every domain it knows; other runtimes refuse ones they do not."""
    used = _domains(model.graph) | {""}
    kept = [o for o in model.opset_import if o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


# --- what a graph computes in -------------------------------------------------------------------

_FLOAT_OPS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN", "Attention", "Einsum"),
    *("FusedConv", "NhwcFusedConv", "FusedMatMul", "TransposeMatMul", "FusedGemm"),
    *("MultiHeadAttention", "GroupQueryAttention"),
)
_INT8_OPS = (
    *("QLinearConv", "NhwcQLinearConv", "QLinearConvTranspose", "ConvInteger", "QLinearMatMul"),
    *("QGemm", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    *("DynamicQuantizeLSTM", "QAttention"),
)
_NBITS_OPS = ("MatMulNBits",)
_PRECISION = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "DOUBLE": "fp64"}


def precision_census(model: ModelProto) -> tuple[dict[str, int], dict[str, int]]:
    """Compute-heavy nodes by the precision they compute in, and bytes of constants by element type.

    Counts what the graph says: a Conv between DequantizeLinear and QuantizeLinear computes in fp32
    unless the runtime fuses them, so give it the graph the runtime optimised. Nodes whose input
    types the file does not tell count as "unknown". Element types have numpy's names.
    """
    types = element_types(model.graph)
    nodes: Counter[str] = Counter()
    for node in graph_nodes(model.graph):
        precision = _node_precision(node, types)
        if precision is not None:
            nodes[precision] += 1
    weights: Counter[str] = Counter()
    for tensor in _tensors(model.graph):
        name, size = _tensor_bytes(tensor)
        weights[name] += size
    return dict(nodes), dict(weights)


def _node_precision(node: NodeProto, types: Mapping[str, str]) -> str | None:
    if node.op_type in _INT8_OPS:
        return "int8"
    if node.op_type in _NBITS_OPS:
        return f"int{attribute(node, 'bits', 4)}"
    if node.op_type not in _FLOAT_OPS:
        return None
    known = (types.get(name) for name in node.input)
    return _PRECISION.get(next((t for t in known if t), ""), "unknown")


def element_types(graph: GraphProto) -> dict[str, str]:
    """Value name -> name of its ONNX element type, over the graph and its subgraphs."""
    from onnx import TensorProto

    types: dict[str, str] = {}
    for part in graphs(graph):
        for value in (*part.input, *part.value_info, *part.output):
            types[value.name] = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for tensor in part.initializer:
            types[tensor.name] = TensorProto.DataType.Name(tensor.data_type)
    return types


def _tensor_bytes(tensor: Any) -> tuple[str, int]:
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    name = str(dtype.name)
    bits = 4 if name.endswith("int4") else 8 * dtype.itemsize
    return name, (prod(tensor.dims) * bits + 7) // 8


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the bodies of its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
            for body in attribute.graphs:
                yield from graphs(body)


def graph_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of subgraphs included."""
    for part in graphs(graph):
        yield from part.node


def constant_tensors(graph: GraphProto) -> Iterator[tuple[str, Any]]:
    """Constants by the name that nodes read them by."""
    for part in graphs(graph):
        yield from ((tensor.name, tensor) for tensor in part.initializer)
        for node in part.node:
            if node.op_type == "Constant":
                yield from ((node.output[0], a.t) for a in node.attribute if a.HasField("t"))


def _tensors(graph: GraphProto) -> Iterator[Any]:
    """Constants: initializers and the values of Constant nodes."""
    yield from (tensor for _, tensor in constant_tensors(graph))
    for part in graphs(graph):
        for sparse in part.sparse_initializer:
            yield from (sparse.values, sparse.indices)
