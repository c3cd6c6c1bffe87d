"""Profiles that nobody measured: networks of convolutions in a row, with the times that a test asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgebench.backend import Effective
from edgebench.explain.graph_facts import NodeFacts
from edgebench.explain.profile_runs import Measured
from edgebench.operator_times import OperatorTime, Profile

TURNS, RUNS = 8, 2
ELEMENTS = 1000


def operator(
    name: str,
    time_ns: int,
    kind: str = "Conv",
    nodes: Sequence[str] | None = None,
    type_: str = "fp32",
    **more: object,
) -> OperatorTime:
    return OperatorTime(
        name=name,
        kind=kind,
        nodes=(name,) if nodes is None else tuple(nodes),
        provider="CPUExecutionProvider",
        type=type_,
        times_ns=[time_ns] * (TURNS * RUNS),
        **more,  # type: ignore[arg-type]
    )


def measured(
    operators: Sequence[OperatorTime],
    nodes: Sequence[NodeFacts],
    run_ns: int | None = None,
    threads: int = 1,
) -> Measured:
    """A deployment whose runs take the sum of its operators, or `run_ns`."""
    run = run_ns or sum(operator.times_ns[0] for operator in operators)
    turns = [[run] * RUNS for _ in range(TURNS)]
    profile = Profile(
        operators=tuple(operators), runs_ns=[run] * (TURNS * RUNS), source="a test's profiler"
    )
    return Measured(
        turns,
        turns,
        profile,
        Effective(device="cpu", precision="fp32", threads=threads),
        list(nodes),
    )


def convolutions(count: int) -> list[NodeFacts]:
    """`conv0` reads x, `conv1` reads t0, ..."""
    return [
        NodeFacts(
            name=f"conv{place}",
            kind="Conv",
            inputs=["x" if place == 0 else f"t{place - 1}"],
            input_elements=[ELEMENTS],
            outputs=[f"t{place}"],
            elements=ELEMENTS,
            flops=100 * ELEMENTS,
            detail="one-dimensional" if place % 2 else "pointwise",
        )
        for place in range(count)
    ]


def quantised(nodes: Sequence[NodeFacts]) -> list[NodeFacts]:
    """The same network in Q/DQ form: every tensor between two nodes has a pair."""
    found = []
    for tensor in ["x", *(node.outputs[0] for node in nodes)]:
        found += [
            _conversion(f"{tensor}_QuantizeLinear", "QuantizeLinear", tensor, f"{tensor}_q"),
            _conversion(
                f"{tensor}_DequantizeLinear", "DequantizeLinear", f"{tensor}_q", f"{tensor}_d"
            ),
        ]
    for node in nodes:
        found.append(
            NodeFacts(
                name=node.name,
                kind=node.kind,
                inputs=[f"{name}_d" for name in node.inputs],
                input_elements=node.input_elements,
                outputs=node.outputs,
                elements=node.elements,
                flops=node.flops,
                detail=node.detail,
            )
        )
    return found


def _conversion(name: str, kind: str, read: str, written: str) -> NodeFacts:
    return NodeFacts(
        name=name,
        kind=kind,
        inputs=[read],
        input_elements=[ELEMENTS],
        outputs=[written],
        elements=ELEMENTS,
    )


def pair(
    float_ns: Sequence[int], int8_ns: Sequence[int], kernels: Mapping[int, str] | None = None
) -> tuple[Measured, Measured]:
    """An fp32 and an int8 profile of as many convolutions in a row, with one Q and one DQ at the ends."""
    nodes = convolutions(len(float_ns))
    ours = [operator(n.name, t) for n, t in zip(nodes, float_ns, strict=True)]
    theirs = [
        operator(
            f"{n.name}_token_1",
            t,
            kind=(kernels or {}).get(place, "QLinearConv"),
            nodes=(f"{n.inputs[0]}_DequantizeLinear", n.name, f"{n.outputs[0]}_QuantizeLinear"),
            type_="int8",
        )
        for place, (n, t) in enumerate(zip(nodes, int8_ns, strict=True))
    ]
    first = operator("x_QuantizeLinear", 500, "QuantizeLinear", type_="fp32")
    last = f"{nodes[-1].outputs[0]}_DequantizeLinear"
    ends = operator(last, 500, "DequantizeLinear", type_="int8")
    return measured(ours, nodes), measured([first, *theirs, ends], quantised(nodes))
