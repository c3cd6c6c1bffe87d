"""Words for how outputs are judged: what they may be off, and why parity proves nothing.

What has a name in small letters takes data, by the names in its braces.
"""

from __future__ import annotations

from edgebench.record import Limit

ONE_DEPLOYMENT = "one deployment, twice"
REDUCED_PRECISION = "reduced precision"
ASKED = "the user's own: --parity"
NO_REFERENCE = "there is no reference"
NO_TIME_FOR_REFERENCE = "the budget left no time for the fp32 reference"
NO_FP32_MODEL = (
    "a file in a runtime's own format has no fp32 reference: give the ONNX model it was made from (--reference), or a "
    "task with labels"
)
CONSTANT_OUTPUTS = "the outputs are the same whatever the input: parity would prove nothing"

rounding = "rounding in {arithmetic}".format
random_model = "{why}: export it without, or give it a task with labels (--task)".format
outputs_differ = "outputs differ from {against} by {error:.2g} (limit {limit:.2g}, {basis})".format
other_outputs = (
    "the outputs of head are not those of base: base gives {base}, head gives {head}".format
)
other_shapes = "the outputs of head have other shapes than those of base: base gives {base}, head gives {head}".format
evaluator_answers = (
    "outputs are compared with those of ONNX's own evaluator: ONNX Runtime cannot run the model "
    "({refusal})".format
)
nobody_answers = (
    "no reference: ONNX Runtime cannot run the model ({runtime}), nor can ONNX's own evaluator "
    "({evaluator})".format
)


def broken_limit(limit: Limit) -> str:
    if limit.value is None:
        return f"{limit.metric} is not a number"
    sign = "<" if limit.better == "higher" else ">"
    return f"{limit.metric} {limit.value:.4g} {sign} {limit.limit:g}"


def roundings(times: float, arithmetic: str) -> str:
    return f"{times:g} times what rounding in {arithmetic or 'fp32'} moves the outputs"


def drowned_parity(arithmetic: str, output: str, moved: float) -> str:
    return (
        f"rounding in {arithmetic or 'fp32'} alone moves {output!r} by {moved:.2g} on these inputs: parity would prove "
        "nothing, so give inputs that the model is made for (--inputs FILE.npz, --range NAME=LOW,HIGH), or a task with "
        "labels (--task)"
    )


def renamed_outputs(pairs: list[tuple[str, str]]) -> str:
    """Pairs of base's name and head's."""
    names = ", ".join(f"{base!r} is head's {head!r}" for base, head in pairs)
    return f"outputs have other names, and are compared by place: base's {names}"
