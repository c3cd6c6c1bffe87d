"""One function per ONNX operator: what it becomes in a .tflite file.

Each takes the values and its node. What LiteRT cannot do as ONNX defines it is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .tensor_layouts import IMAGE_AXIS, Values, refusal

if TYPE_CHECKING:
    from onnx import NodeProto

Operator = Callable[[Values, "NodeProto"], None]

_SAME, _VALID = 0, 1  # of the schema's Padding


def attributes(node: NodeProto) -> dict[str, Any]:
    import onnx

    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {key: v.decode() if isinstance(v, bytes) else v for key, v in values.items()}


def _operand(values: Values, node: NodeProto, place: int, default: Any = None) -> Any:
    """A constant operand, or the default where the node leaves it out."""
    given = len(node.input) > place and node.input[place]
    return values.array(node.input[place], node) if given else default


def _axes(values: Values, node: NodeProto, place: int) -> list[int] | None:
    """Axes by an operand, or as earlier forms of operators have them, by an attribute; None where none are given."""
    axes = _operand(values, node, place)
    return attributes(node).get("axes") if axes is None else axes.tolist()


# --- element by element -------------------------------------------------------------------------


def _unary(code: str, options: str | None = None) -> Operator:
    def convert(values: Values, node: NodeProto) -> None:
        read = values.as_it_lies(node.input[0])
        write = values.new_like(node.output[0], node.input[0])
        values.graph.operator(code, [read], write, options)

    return convert


def _binary(code: str, options: str, **settings: Any) -> Operator:
    def convert(values: Values, node: NodeProto) -> None:
        _elementwise(values, node, code, list(node.input), options, **settings)

    return convert


def _elementwise(
    values: Values, node: NodeProto, code: str, names: list[str], options: str, **settings: Any
) -> None:
    """In the layout of images where one operand is one and all fit it, else in ONNX's."""
    output = node.output[0]
    as_image = any(values.is_image(name) for name in names) and all(
        name in values.constants or len(values.shape(name)) == 4 for name in names
    )
    if as_image and len(values.shape(output)) == 4:
        read, write = [values.image(n) for n in names], values.new_image(output)
    else:
        read, write = [values.plain(n) for n in names], values.new_plain(output)
    values.graph.operator(code, read, write, options, **settings)


def _variadic(code: str, options: str) -> Operator:
    """Max, Min and Sum of two operands; ONNX allows any number."""

    def convert(values: Values, node: NodeProto) -> None:
        if len(node.input) != 2:
            raise refusal(node, f"{len(node.input)} operands, LiteRT takes two")
        _elementwise(values, node, code, list(node.input), options)

    return convert


def _relu(values: Values, node: NodeProto) -> None:
    if not _fused(values, node, "RELU"):
        _unary("RELU")(values, node)


def _fused(values: Values, node: NodeProto, activation: str) -> bool:
    """Lets the operator before do the clipping, where nobody else reads its result."""
    source, output = node.input[0], node.output[0]
    if source in values.constants or not values.used_once(source):
        return False
    if not values.graph.activate(values.as_it_lies(source), activation):
        return False
    values.alias(output, source)
    return True


def _clip(values: Values, node: NodeProto) -> None:
    import numpy as np

    attrs = attributes(node)
    low = float(_operand(values, node, 1, attrs.get("min", -math.inf)))
    high = float(_operand(values, node, 2, attrs.get("max", math.inf)))
    known = {(0.0, 6.0): "RELU6", (0.0, math.inf): "RELU", (-1.0, 1.0): "RELU_N1_TO_1"}
    name = known.get((low, high))
    if name is not None:
        if not _fused(values, node, name):
            _unary(name)(values, node)
        return
    kind = np.dtype(values.dtype(node.input[0]))
    _bounded(values, node, node.input[0], kind.type(low), kind.type(high))


def _bounded(values: Values, node: NodeProto, source: str, low: Any, high: Any) -> None:
    """min(max(x, low), high); an infinite bound is no bound."""
    tensor = values.as_it_lies(source)
    steps = [("MAXIMUM", low), ("MINIMUM", high)]
    steps = [(code, bound) for code, bound in steps if math.isfinite(float(bound))]
    for index, (code, bound) in enumerate(steps):
        last = index == len(steps) - 1
        write = (
            values.new_like(node.output[0], source)
            if last
            else values.temporary(node.output[0], values.graph.shape(tensor))
        )
        limit = values.graph.constant(bound)
        values.graph.operator(code, [tensor, limit], write, "MaximumMinimumOptions")
        tensor = write
    if not steps:
        values.alias(node.output[0], source)


def _hard_sigmoid(values: Values, node: NodeProto) -> None:
    """max(0, min(1, alpha * x + beta))."""
    import numpy as np

    attrs = attributes(node)
    source, output = node.input[0], node.output[0]
    tensor = values.as_it_lies(source)
    for code, factor in (("MUL", attrs.get("alpha", 0.2)), ("ADD", attrs.get("beta", 0.5))):
        step = values.temporary(output, values.graph.shape(tensor))
        constant = values.graph.constant(np.float32(factor))
        values.graph.operator(code, [tensor, constant], step, f"{code.title()}Options")
        tensor = step
    write = values.new_like(output, source)
    lower = values.temporary(output, values.graph.shape(tensor))
    zero, one = values.graph.constant(np.float32(0)), values.graph.constant(np.float32(1))
    values.graph.operator("MAXIMUM", [tensor, zero], lower, "MaximumMinimumOptions")
    values.graph.operator("MINIMUM", [lower, one], write, "MaximumMinimumOptions")


def _reciprocal(values: Values, node: NodeProto) -> None:
    import numpy as np

    one = values.graph.constant(np.ones((), values.dtype(node.input[0])))
    write = values.new_plain(node.output[0])
    values.graph.operator("DIV", [one, values.plain(node.input[0])], write, "DivOptions")


def _pow(values: Values, node: NodeProto) -> None:
    exponent = values.constants.get(node.input[1])
    if exponent is not None and exponent.size == 1 and float(exponent.reshape(())) == 2:
        _unary("SQUARE", "SquareOptions")(values, node)
    else:
        _binary("POW", "PowOptions")(values, node)


def _batch_normalization(values: Values, node: NodeProto) -> None:
    """A product and a sum per channel."""
    import numpy as np

    scale, bias, mean, variance = (values.array(name, node) for name in node.input[1:5])
    factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
    rank = len(values.shape(node.input[0]))
    image = values.is_image(node.input[0])
    form = (1, -1, *(1,) * (rank - 2)) if not image else (1, 1, 1, -1)
    read = values.as_it_lies(node.input[0])
    step = values.temporary(node.output[0], values.graph.shape(read))
    multiplier = values.graph.constant(factor.astype(np.float32).reshape(form))
    offset = values.graph.constant((bias - mean * factor).astype(np.float32).reshape(form))
    values.graph.operator("MUL", [read, multiplier], step, "MulOptions")
    write = values.new_like(node.output[0], node.input[0])
    values.graph.operator("ADD", [step, offset], write, "AddOptions")


def _cast(values: Values, node: NodeProto) -> None:
    read = values.plain(node.input[0])
    write = values.new_plain(node.output[0])
    if values.graph.dtype(read) == values.graph.dtype(write):
        values.alias(node.output[0], node.input[0])
        return
    schema = values.graph.types
    values.graph.operator(
        "CAST",
        [read],
        write,
        "CastOptions",
        inDataType=schema[values.graph.dtype(read)],
        outDataType=schema[values.graph.dtype(write)],
    )


def _identity(values: Values, node: NodeProto) -> None:
    if node.input[0] in values.constants:
        values.constants[node.output[0]] = values.constants[node.input[0]]
    else:
        values.alias(node.output[0], node.input[0])


# --- products -----------------------------------------------------------------------------------


def _matmul(values: Values, node: NodeProto) -> None:
    left, right = node.input
    if min(len(values.shape(left)), len(values.shape(right))) < 2:
        raise refusal(node, "an operand has a single axis")
    if right in values.constants and values.constants[right].ndim == 2:
        _fully_connected(values, node, left, values.constants[right].T, None)
        return
    read = [values.plain(left), values.plain(right)]
    write = values.new_plain(node.output[0])
    values.graph.operator("BATCH_MATMUL", read, write, "BatchMatMulOptions")


def _gemm(values: Values, node: NodeProto) -> None:
    import numpy as np

    attrs = attributes(node)
    if attrs.get("transA"):
        raise refusal(node, "transA")
    weight = values.array(node.input[1], node)
    weight = weight if attrs.get("transB") else weight.T
    bias = _operand(values, node, 2)
    if bias is not None:
        bias = bias * np.float32(attrs.get("beta", 1.0))
        if bias.size != bias.shape[-1] or bias.size not in (1, weight.shape[0]):
            raise refusal(node, f"a bias of shape {bias.shape}")
        bias = np.broadcast_to(bias.reshape(-1), (weight.shape[0],))
    weight = weight * np.float32(attrs.get("alpha", 1.0))
    _fully_connected(values, node, node.input[0], weight, bias)


def _fully_connected(
    values: Values, node: NodeProto, source: str, weight: Any, bias: Any | None
) -> None:
    """x @ weight.T + bias over the last axis; `weight` is (out, in)."""
    import numpy as np

    if str(weight.dtype) != "float32":
        raise refusal(node, f"weights of {weight.dtype}")
    inputs = [values.plain(source), values.graph.constant(weight, f"{node.output[0]}.weight")]
    offset = np.zeros(weight.shape[0], np.float32) if bias is None else bias.astype(np.float32)
    inputs.append(values.graph.constant(offset, f"{node.output[0]}.bias"))
    write = values.new_plain(node.output[0])
    values.graph.operator(
        "FULLY_CONNECTED", inputs, write, "FullyConnectedOptions", keepNumDims=True
    )


# --- convolution and pooling --------------------------------------------------------------------


def _conv(values: Values, node: NodeProto) -> None:
    """Convolution over one or two axes; one axis runs as an image of height one."""
    import numpy as np

    attrs = attributes(node)
    weight = values.array(node.input[1], node)
    spatial = weight.ndim - 2
    if spatial not in (1, 2):
        raise refusal(node, f"{spatial} spatial axes")
    bias = _operand(values, node, 2, np.zeros(weight.shape[0], np.float32))
    stride, dilation = attrs.get("strides", [1] * spatial), attrs.get("dilations", [1] * spatial)
    shape, out_shape = values.shape(node.input[0])[2:], values.shape(node.output[0])[2:]
    kernel = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pads = _pads(node, attrs, shape, kernel, stride)
    if spatial == 1:
        weight, stride, dilation = weight[:, :, None, :], [1, *stride], [1, *dilation]
        shape, out_shape, kernel = (1, *shape), (1, *out_shape), [1, *kernel]
        pads = [(0, 0), *pads]
    read = values.image(node.input[0]) if spatial == 2 else _as_image(values, node.input[0])
    read, padding = _padded(values, read, pads, shape, kernel, stride)
    batch, filters = values.shape(node.output[0])[0], weight.shape[0]
    write = (
        values.new_image(node.output[0])
        if spatial == 2
        else values.temporary(node.output[0], (batch, *out_shape, filters))
    )
    settings = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
    }
    channels, offset = values.shape(node.input[0])[1], bias.astype(np.float32)
    if attrs.get("group", 1) == channels > 1:
        code, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        settings["depthMultiplier"] = filters // channels
        weight = weight.transpose(1, 2, 3, 0)
    else:
        code, options = "CONV_2D", "Conv2DOptions"
        weight = weight.transpose(0, 2, 3, 1)
    inputs = [
        read,
        values.graph.constant(weight, node.input[1]),
        values.graph.constant(offset, f"{node.output[0]}.bias"),
    ]
    values.graph.operator(code, inputs, write, options, **settings)
    if spatial == 1:
        _from_image(values, node.output[0], write)


def _as_image(values: Values, name: str) -> int:
    """N, C, L as N, 1, L, C."""
    batch, channels, length = values.shape(name)
    turned = values.temporary(name, (batch, length, channels))
    inputs = [values.plain(name), values.graph.integers((0, 2, 1))]
    values.graph.operator("TRANSPOSE", inputs, turned, "TransposeOptions")
    image = values.temporary(name, (batch, 1, length, channels))
    _reshape_to(values, turned, image)
    return image


def _from_image(values: Values, name: str, image: int) -> None:
    """N, 1, L, C as N, C, L."""
    batch, _, length, channels = values.graph.shape(image)
    flat = values.temporary(name, (batch, length, channels))
    _reshape_to(values, image, flat)
    inputs = [flat, values.graph.integers((0, 2, 1))]
    values.graph.operator("TRANSPOSE", inputs, values.new_plain(name), "TransposeOptions")


def _pads(
    node: NodeProto,
    given: Mapping[str, Any],
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
) -> list[tuple[int, int]]:
    """Padding before and after, by spatial axis."""
    auto = given.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        halves = _same_pads(shape, kernel, stride)
        return halves if auto == "SAME_UPPER" else [(b, a) for a, b in halves]
    pads = given.get("pads", [0] * 2 * len(kernel))
    return list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))


def _same_pads(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> list[tuple[int, int]]:
    """LiteRT's padding SAME, which has the odd one behind, as ONNX's SAME_UPPER."""
    totals = [
        max((-(-s // t) - 1) * t + k - s, 0) for s, k, t in zip(shape, kernel, stride, strict=True)
    ]
    return [(total // 2, total - total // 2) for total in totals]


def _padded(
    values: Values,
    image: int,
    pads: Sequence[tuple[int, int]],
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
) -> tuple[int, int]:
    """The image, padded where LiteRT's own two kinds of padding do not say the same, and the kind."""
    if all(pad == (0, 0) for pad in pads):
        return image, _VALID
    if list(pads) == _same_pads(shape, kernel, stride):
        return image, _SAME
    return _zero_padded(values, image, [(0, 0), *pads, (0, 0)]), _VALID


def _zero_padded(values: Values, tensor: int, pads: Sequence[tuple[int, int]]) -> int:
    import numpy as np

    graph = values.graph
    sizes = [
        s + before + after for s, (before, after) in zip(graph.shape(tensor), pads, strict=True)
    ]
    padded = graph.tensor("padded", sizes, graph.dtype(tensor))
    amounts = graph.constant(np.array(pads, np.int32))
    graph.operator("PAD", [tensor, amounts], padded, "PadOptions")
    return padded


def _conv_transpose(values: Values, node: NodeProto) -> None:
    import numpy as np

    attrs = attributes(node)
    weight = values.array(node.input[1], node)  # I, O / group, H, W
    plain = weight.ndim == 4 and attrs.get("group", 1) == 1
    plain = plain and not any(attrs.get("pads", [0])) and not any(attrs.get("output_padding", [0]))
    plain = plain and attrs.get("auto_pad", "NOTSET") == "NOTSET"
    if not plain or any(d != 1 for d in attrs.get("dilations", [1])):
        raise refusal(node, "padding, groups or dilation")
    stride = attrs.get("strides", [1, 1])
    read, write = values.image(node.input[0]), values.new_image(node.output[0])
    bias = _operand(values, node, 2, np.zeros(weight.shape[1], np.float32))
    inputs = [
        values.graph.integers(values.graph.shape(write)),
        values.graph.constant(weight.transpose(1, 2, 3, 0), node.input[1]),
        read,
        values.graph.constant(bias),
    ]
    values.graph.operator(
        "TRANSPOSE_CONV",
        inputs,
        write,
        "TransposeConvOptions",
        padding=_VALID,
        strideH=stride[0],
        strideW=stride[1],
    )


def _pool(code: str) -> Operator:
    def convert(values: Values, node: NodeProto) -> None:
        attrs = attributes(node)
        kernel = attrs["kernel_shape"]
        ceil = attrs.get("ceil_mode", 0)
        if len(kernel) != 2 or ceil or any(d != 1 for d in attrs.get("dilations", [1])):
            raise refusal(node, "ceil_mode, dilation or another number of spatial axes than two")
        stride = attrs.get("strides", [1, 1])
        shape = values.shape(node.input[0])[2:]
        pads = _pads(node, attrs, shape, kernel, stride)
        # A pool must not see padding as numbers, so only LiteRT's own kinds will do.
        read, padding = values.image(node.input[0]), _VALID
        if any(pad != (0, 0) for pad in pads):
            if pads != _same_pads(shape, kernel, stride):
                raise refusal(node, f"padding {pads}")
            if code == "AVERAGE_POOL_2D" and attrs.get("count_include_pad"):
                raise refusal(node, "count_include_pad")
            padding = _SAME
        values.graph.operator(
            code,
            [read],
            values.new_image(node.output[0]),
            "Pool2DOptions",
            padding=padding,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
        )

    return convert


def _global_pool(code: str) -> Operator:
    def convert(values: Values, node: NodeProto) -> None:
        rank = len(values.shape(node.input[0]))
        axes = list(range(2, rank))
        _reduce_over(values, node, code, axes, keep=True)

    return convert


def _resize(values: Values, node: NodeProto) -> None:
    attrs = attributes(node)
    shape, target = values.shape(node.input[0]), values.shape(node.output[0])
    if len(shape) != 4 or shape[:2] != target[:2]:
        raise refusal(node, "only the two last axes of images can be resized")
    mode = attrs.get("mode", "nearest")
    position = attrs.get("coordinate_transformation_mode", "half_pixel")
    settings: dict[str, Any]
    if mode == "nearest":
        rounding = attrs.get("nearest_mode", "round_prefer_floor")
        whole = all(t % s == 0 for s, t in zip(shape, target, strict=True))
        known = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")}
        known.add(("pytorch_half_pixel", "round_prefer_floor"))
        if not whole or (position, rounding) not in known:
            raise refusal(node, f"nearest neighbours by {position} and {rounding}")
        # Enlarging by whole numbers, these all repeat each pixel.
        code, options, settings = "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", {}
    elif mode == "linear" and position in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        code, options = "RESIZE_BILINEAR", "ResizeBilinearOptions"
        corners = position == "align_corners"
        settings = {"alignCorners": corners, "halfPixelCenters": not corners}
    else:
        raise refusal(node, f"mode {mode} by {position}")
    read, write = values.image(node.input[0]), values.new_image(node.output[0])
    sizes = values.graph.integers(target[2:])
    values.graph.operator(code, [read, sizes], write, options, **settings)


# --- reductions, normalisation ------------------------------------------------------------------


def _reduce(code: str) -> Operator:
    def convert(values: Values, node: NodeProto) -> None:
        attrs = attributes(node)
        axes = _axes(values, node, 1)
        rank = len(values.shape(node.input[0]))
        if not axes:
            if attrs.get("noop_with_empty_axes"):
                raise refusal(node, "no axes")
            axes = list(range(rank))
        axes = sorted(axis % rank for axis in axes)
        _reduce_over(values, node, code, axes, keep=bool(attrs.get("keepdims", 1)))

    return convert


def _reduce_over(
    values: Values, node: NodeProto, code: str, axes: Sequence[int], *, keep: bool
) -> None:
    source, output = node.input[0], node.output[0]
    image, read = values.is_image(source), values.as_it_lies(source)
    if image and keep:
        write = values.new_image(output)
    elif image and list(axes) == [2, 3]:
        write = values.new_plain(output)  # N, C: nothing is left to be in another order
    else:
        image, read, write = False, values.plain(source), values.new_plain(output)
    chosen = [IMAGE_AXIS[axis] for axis in axes] if image else list(axes)
    values.graph.operator(
        code, [read, values.graph.integers(chosen)], write, "ReducerOptions", keepDims=keep
    )


def _reduce_l2(values: Values, node: NodeProto) -> None:
    """The root of a sum of squares."""
    axes = _axes(values, node, 1)
    if not axes:
        raise refusal(node, "no axes")
    read = values.plain(node.input[0])
    shape, output = values.graph.shape(read), node.output[0]
    squares = values.temporary(output, shape)
    values.graph.operator("SQUARE", [read], squares, "SquareOptions")
    sums = values.temporary(output, values.shape(output))
    chosen = values.graph.integers([axis % len(shape) for axis in axes])
    keep = bool(attributes(node).get("keepdims", 1))
    values.graph.operator("SUM", [squares, chosen], sums, "ReducerOptions", keepDims=keep)
    values.graph.operator("SQRT", [sums], values.new_plain(output))


def _layer_normalization(values: Values, node: NodeProto) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the last axis."""
    import numpy as np

    attrs = attributes(node)
    shape = values.shape(node.input[0])
    if attrs.get("axis", -1) % len(shape) != len(shape) - 1 or len(node.output) > 1:
        raise refusal(node, "other axes than the last, or further outputs")
    graph, output = values.graph, node.output[0]
    read, axis = values.plain(node.input[0]), values.graph.integers([len(shape) - 1])
    narrow = (*shape[:-1], 1)

    def step(
        code: str, inputs: list[int], form: Sequence[int], options: str | None, **kw: Any
    ) -> int:
        normalised = values.temporary(output, form)
        graph.operator(code, inputs, normalised, options, **kw)
        return normalised

    mean = step("MEAN", [read, axis], narrow, "ReducerOptions", keepDims=True)
    centred = step("SUB", [read, mean], shape, "SubOptions")
    squares = step("SQUARE", [centred], shape, "SquareOptions")
    variance = step("MEAN", [squares, axis], narrow, "ReducerOptions", keepDims=True)
    epsilon = graph.constant(np.float32(attrs.get("epsilon", 1e-5)))
    safe = step("ADD", [variance, epsilon], narrow, "AddOptions")
    inverse = step("RSQRT", [safe], narrow, None)
    result = step("MUL", [centred, inverse], shape, "MulOptions")
    scale = values.plain(node.input[1])
    if len(node.input) > 2 and node.input[2]:
        scaled = step("MUL", [result, scale], shape, "MulOptions")
        inputs = [scaled, values.plain(node.input[2])]
        graph.operator("ADD", inputs, values.new_plain(output), "AddOptions")
    else:
        graph.operator("MUL", [result, scale], values.new_plain(output), "MulOptions")


def _softmax(values: Values, node: NodeProto) -> None:
    rank = len(values.shape(node.input[0]))
    if attributes(node).get("axis", -1) % rank != rank - 1:
        raise refusal(node, "another axis than the last")
    read, write = values.plain(node.input[0]), values.new_plain(node.output[0])
    values.graph.operator("SOFTMAX", [read], write, "SoftmaxOptions", beta=1.0)


# --- shapes -------------------------------------------------------------------------------------


def _dropout(values: Values, node: NodeProto) -> None:
    """Of inference: its input as it came, and a mask that drops nothing."""
    import numpy as np

    if _operand(values, node, 2, False):
        raise refusal(node, "it is in training mode, and drops at random")
    _identity(values, node)
    for mask in node.output[1:]:
        values.constants[mask] = np.ones(values.shape(node.input[0]), bool)


def _reshape_to(values: Values, read: int, write: int) -> None:
    shape = values.graph.shape(write)
    inputs = [read, values.graph.integers(shape)]
    values.graph.operator("RESHAPE", inputs, write, "ReshapeOptions", newShape=list(shape))


def _reshape(values: Values, node: NodeProto) -> None:
    """Reshape, Flatten, Squeeze and Unsqueeze: the shape of the result says all."""
    source, output = node.input[0], node.output[0]
    shape = values.shape(source)
    if values.is_image(source) and shape[2:] == (1, 1):
        # N, C, 1, 1 holds its numbers in the same order either way.
        _reshape_to(values, values.image(source), values.new_plain(output))
        return
    _reshape_to(values, values.plain(source), values.new_plain(output))


def _transpose(values: Values, node: NodeProto) -> None:
    rank = len(values.shape(node.input[0]))
    order = attributes(node).get("perm", list(reversed(range(rank))))
    if rank == 4 and values.is_image(node.input[0]):
        # From N, H, W, C: one transposition instead of two.
        read, order = values.image(node.input[0]), [IMAGE_AXIS[axis] for axis in order]
    else:
        read = values.plain(node.input[0])
    if order == list(range(rank)):
        _reshape_to(values, read, values.new_plain(node.output[0]))
        return
    inputs = [read, values.graph.integers(order)]
    write = values.new_plain(node.output[0])
    values.graph.operator("TRANSPOSE", inputs, write, "TransposeOptions")


def _concat(values: Values, node: NodeProto) -> None:
    output = node.output[0]
    rank = len(values.shape(output))
    axis = attributes(node)["axis"] % rank
    names = list(node.input)
    if rank == 4 and any(values.is_image(name) for name in names):
        read, write = [values.image(name) for name in names], values.new_image(output)
        axis = IMAGE_AXIS[axis]
    else:
        read, write = [values.plain(name) for name in names], values.new_plain(output)
    values.graph.operator("CONCATENATION", read, write, "ConcatenationOptions", axis=axis)


def _split(values: Values, node: NodeProto) -> None:
    """One slice per part."""
    rank = len(values.shape(node.input[0]))
    axis = attributes(node).get("axis", 0) % rank
    start = 0
    for output in node.output:
        size = values.shape(output)[axis]
        begin = [start if index == axis else 0 for index in range(rank)]
        _slice_to(values, node.input[0], output, begin, [1] * rank)
        start += size


def _slice(values: Values, node: NodeProto) -> None:
    attrs = attributes(node)
    shape = values.shape(node.input[0])
    if len(node.input) > 1:
        operands = [values.array(n, node).tolist() if n else None for n in node.input[1:]]
        starts, axes, steps = operands[0] or [], *(*operands[2:], None, None)[:2]
    else:
        starts, axes, steps = attrs["starts"], attrs.get("axes"), None
    axes = list(range(len(starts))) if axes is None else axes
    begin, stride = [0] * len(shape), [1] * len(shape)
    for start, axis, step in zip(starts, axes, steps or [1] * len(starts), strict=True):
        if step < 1:
            raise refusal(node, "a negative step")
        size = shape[axis]
        begin[axis] = min(max(start + size if start < 0 else start, 0), size)
        stride[axis] = step
    _slice_to(values, node.input[0], node.output[0], begin, stride)


def _slice_to(
    values: Values, source: str, output: str, begin: Sequence[int], stride: Sequence[int]
) -> None:
    """The part of `source` that starts at `begin` and has the shape of `output`."""
    shape = values.shape(output)
    end = [b + (size - 1) * s + 1 for b, size, s in zip(begin, shape, stride, strict=True)]
    bounds = [list(begin), end, list(stride)]
    if values.is_image(source):
        read, write = values.image(source), values.new_image(output)
        bounds = [[row[0], row[2], row[3], row[1]] for row in bounds]
    else:
        read, write = values.plain(source), values.new_plain(output)
    inputs = [read, *(values.graph.integers(row) for row in bounds)]
    values.graph.operator("STRIDED_SLICE", inputs, write, "StridedSliceOptions")


def _gather(values: Values, node: NodeProto) -> None:
    import numpy as np

    axis = attributes(node).get("axis", 0) % len(values.shape(node.input[0]))
    indices = values.constants.get(node.input[1])
    if indices is not None:
        size = values.shape(node.input[0])[axis]
        whole = np.where(indices < 0, indices + size, indices).astype(np.int32)
        chosen = values.graph.constant(whole)
    else:
        chosen = values.plain(node.input[1])  # negative ones are refused by LiteRT as it runs
    inputs = [values.plain(node.input[0]), chosen]
    write = values.new_plain(node.output[0])
    values.graph.operator("GATHER", inputs, write, "GatherOptions", axis=axis)


def _pad(values: Values, node: NodeProto) -> None:
    import numpy as np

    attrs = attributes(node)
    mode = attrs.get("mode", "constant")
    rank = len(values.shape(node.input[0]))
    amounts = attrs.get("pads", [])
    if len(node.input) > 1:
        amounts = values.array(node.input[1], node).tolist()
    axes = _axes(values, node, 3)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    fill = float(_operand(values, node, 2, attrs.get("value", 0.0)))
    pads = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        pads[axis] = (amounts[index], amounts[index + len(axes)])
    if min(min(pair) for pair in pads) < 0 or mode not in ("constant", "reflect"):
        raise refusal(node, f"mode {mode}, pads {amounts}")
    read = values.plain(node.input[0])
    write = values.new_plain(node.output[0])
    inputs = [read, values.graph.constant(np.array(pads, np.int32))]
    if mode == "reflect":
        values.graph.operator("MIRROR_PAD", inputs, write, "MirrorPadOptions", mode=0)
    elif fill:
        filler = values.graph.constant(np.asarray(fill, values.dtype(node.input[0])))
        values.graph.operator("PADV2", [*inputs, filler], write, "PadV2Options")
    else:
        values.graph.operator("PAD", inputs, write, "PadOptions")


def _where(values: Values, node: NodeProto) -> None:
    read = [values.plain(name) for name in node.input]
    write = values.new_plain(node.output[0])
    values.graph.operator("SELECT_V2", read, write, "SelectV2Options")


def gelu(values: Values, source: str, output: str) -> None:
    """x * (1 + erf(x / sqrt(2))) / 2 as one operator."""
    write = values.new_plain(output)
    values.graph.operator("GELU", [values.plain(source)], write, "GeluOptions", approximate=False)


OPERATORS: dict[str, Operator] = {
    "Abs": _unary("ABS", "AbsOptions"),
    "Add": _binary("ADD", "AddOptions"),
    "AveragePool": _pool("AVERAGE_POOL_2D"),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Cos": _unary("COS", "CosOptions"),
    "Div": _binary("DIV", "DivOptions"),
    "Dropout": _dropout,
    "Equal": _binary("EQUAL", "EqualOptions"),
    "Exp": _unary("EXP", "ExpOptions"),
    "Flatten": _reshape,
    "Floor": _unary("FLOOR"),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool("MEAN"),
    "GlobalMaxPool": _global_pool("REDUCE_MAX"),
    "Greater": _binary("GREATER", "GreaterOptions"),
    "GreaterOrEqual": _binary("GREATER_EQUAL", "GreaterEqualOptions"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary("HARD_SWISH", "HardSwishOptions"),
    "Identity": _identity,
    "LayerNormalization": _layer_normalization,
    "Less": _binary("LESS", "LessOptions"),
    "LessOrEqual": _binary("LESS_EQUAL", "LessEqualOptions"),
    "Log": _unary("LOG"),
    "MatMul": _matmul,
    "Max": _variadic("MAXIMUM", "MaximumMinimumOptions"),
    "MaxPool": _pool("MAX_POOL_2D"),
    "Min": _variadic("MINIMUM", "MaximumMinimumOptions"),
    "Mul": _binary("MUL", "MulOptions"),
    "Neg": _unary("NEG", "NegOptions"),
    "Pad": _pad,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "ReduceL2": _reduce_l2,
    "ReduceMax": _reduce("REDUCE_MAX"),
    "ReduceMean": _reduce("MEAN"),
    "ReduceMin": _reduce("REDUCE_MIN"),
    "ReduceSum": _reduce("SUM"),
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _unary("LOGISTIC"),
    "Sin": _unary("SIN"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": _unary("SQRT"),
    "Squeeze": _reshape,
    "Sub": _binary("SUB", "SubOptions"),
    "Tanh": _unary("TANH"),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
    "Where": _where,
}
