"""ONNX's own backend tests on the MLX importer, as a table.

    python -m edgebench.testing.mlx_conformance [--kind node,real,...] [--match TEXT] [--compiled]

Each case passes with the suite's own tolerances, is refused before running, or is WRONG. Ends with 1
where a case is wrong or crashed. Models of the real topologies come with onnx, as do the answers.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

KINDS = ("node", "real", "simple", "pytorch-converted", "pytorch-operator")


@dataclass(frozen=True)
class Outcome:
    """Holds what became of one case. `status`: "passed", "refused", "WRONG", "crashed" or "unjudged"."""

    name: str
    status: str
    operator: str = ""  # refused: whose
    reason: str = ""  # refused: of which kind
    detail: str = ""


def load(kind: str, match: str = "") -> list[Any]:
    """The cases of a kind, as `onnx.backend.test` gives them."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of what the cases are made of
        return [case for case in load_model_tests(kind=kind) if match in case.name]


def run(case: Any, *, compiled: bool = False) -> Outcome:
    """One case: prepared, run on each of its data sets, compared by the suite's own function."""
    from edgebench.testing.mlx_backend import MlxBackend, UnsupportedOperator

    try:
        model, data_sets = _material(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = MlxBackend.prepare(model, "CPU", compiled=compiled)
            for inputs, expected in data_sets:
                wrong = _compare(case, prepared.run(inputs), expected)
                if wrong is not None:
                    return wrong
    except UnsupportedOperator as error:
        return Outcome(case.name, "refused", error.operator, error.reason, error.message)
    except Exception as error:  # noqa: BLE001 - anything else is a finding of its own kind
        return Outcome(case.name, "crashed", detail=f"{type(error).__name__}: {error}"[:300])
    return Outcome(case.name, "passed")


def _compare(case: Any, outputs: Any, expected: Any) -> Outcome | None:
    from onnx.backend.test.runner import Runner

    try:
        Runner.assert_similar_outputs(expected, list(outputs), case.rtol, case.atol)
    except AssertionError as error:
        return Outcome(case.name, "WRONG", detail=" ".join(str(error).split())[:300])
    except TypeError as error:  # the suite cannot compare scalars within a sequence
        return Outcome(case.name, "unjudged", detail=f"the suite's comparison fails: {error}"[:200])
    return None


def _material(case: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """The model, and its inputs and answers as arrays."""
    import onnx
    from onnx.backend.test.runner import _normalize_tensor

    if case.model is not None:
        pairs = case.data_sets
        return case.model, [
            ([_normalize_tensor(i) for i in ins], [_normalize_tensor(o) for o in outs])
            for ins, outs in pairs
        ]
    if case.model_dir is not None:
        folder = Path(case.model_dir)
        return onnx.load(str(folder / "model.onnx")), list(_stored(folder))
    return _light(case)


def _stored(folder: Path) -> Iterator[tuple[Any, Any]]:
    for data in sorted(folder.glob("test_data_set_*")):
        yield _protos(data, "input"), _protos(data, "output")


def _protos(folder: Path, prefix: str) -> list[Any]:
    import onnx

    paths = sorted(folder.glob(f"{prefix}_*.pb"), key=lambda p: int(p.stem.rpartition("_")[2]))
    return [
        onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths
    ]


def _light(case: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """A real topology with small weights: the input and the answer as the suite makes them."""
    import onnx
    from onnx.backend.test.runner import Runner

    folder = Path(onnx.__file__).parents[1]
    path = folder / case.url
    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    feeds = [
        Runner.generate_dummy_data(value, seed=0, name=case.model_name, random=False)
        for value in inputs
    ]
    answer = path.with_name(f"{path.stem}_output_0.pb")
    stored = onnx.TensorProto.FromString(answer.read_bytes())
    return model, [(feeds, [onnx.numpy_helper.to_array(stored)])]


def table(outcomes: Sequence[Outcome]) -> str:
    """The counts, refusals by reason and operator, and every wrong, crashed or unjudged case."""
    counts = Counter(outcome.status for outcome in outcomes)
    lines = [f"{len(outcomes)} cases"]
    for status in ("passed", "refused", "unjudged", "crashed", "WRONG"):
        lines.append(f"  {status:<9}{counts[status]:>6}")
    refused = Counter((o.reason, _subject(o)) for o in outcomes if o.status == "refused")
    if refused:
        lines.append("refused, by reason:")
    for reason in sorted({reason for reason, _ in refused}):
        of_reason = [(c, s) for (r, s), c in refused.items() if r == reason]
        lines.append(f"  {reason:<10}{sum(count for count, _ in of_reason):>5}")
        for count, subject in sorted(of_reason, key=lambda pair: (-pair[0], pair[1])):
            lines.append(f"    {count:>4}  {subject}")
    for outcome in outcomes:
        if outcome.status in ("WRONG", "crashed", "unjudged"):
            lines.append(f"{outcome.status}: {outcome.name}: {outcome.detail}")
    return "\n".join(lines)


def _subject(outcome: Outcome) -> str:
    why = outcome.detail.rpartition("): ")[2]
    return f"{outcome.operator}: {why}"[:110]


@click.command()
@click.option("--kind", default="node,real", show_default=True, help=f"of {', '.join(KINDS)}")
@click.option("--match", default="", help="only cases with this in their name")
@click.option(
    "--compiled", is_flag=True, help="through mx.compile: slow, and as many answers right"
)
def main(kind: str, match: str, compiled: bool) -> None:
    """Run ONNX's backend tests on the MLX importer and print what became of them."""
    bad = False
    for name in kind.split(","):
        outcomes = [run(case, compiled=compiled) for case in load(name, match)]
        click.echo(f"{name}: {table(outcomes)}")
        bad = bad or any(outcome.status in ("WRONG", "crashed") for outcome in outcomes)
    raise SystemExit(int(bad))


if __name__ == "__main__":
    main()
