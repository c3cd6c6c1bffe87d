"""ONNX's own backend tests on the MLX importer: nothing wrong, and as many as are promised."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("mlx.core")

from edgebench.testing import mlx_backend, mlx_conformance

NODE_PASSED = 1620  # of 1,884 in onnx 1.23


def test_every_node_case_passes_or_is_refused_before_it_runs() -> None:
    outcomes = [mlx_conformance.run(case) for case in mlx_conformance.load("node")]

    counts = Counter(outcome.status for outcome in outcomes)
    told = mlx_conformance.table(outcomes)
    assert not counts["WRONG"], told
    assert not counts["crashed"], told
    assert counts["unjudged"] <= 1, told
    assert counts["passed"] >= NODE_PASSED * len(outcomes) // 1884, told


def test_real_topologies_pass() -> None:
    """The three that are quick without a fast BLAS; the command runs all nine."""
    quick = ("squeezenet", "shufflenet", "inception_v1")
    outcomes = [
        mlx_conformance.run(case)
        for case in mlx_conformance.load("real")
        if case.name.removeprefix("test_") in quick
    ]

    assert [outcome.status for outcome in outcomes] == ["passed"] * 3, outcomes


def test_compiled_answers_are_right_as_well() -> None:
    cases = [case for case in mlx_conformance.load("node") if "attention" not in case.name]
    chosen = random.Random(0).sample(cases, 12)

    outcomes = [mlx_conformance.run(case, compiled=True) for case in chosen]

    assert {outcome.status for outcome in outcomes} <= {"passed", "refused"}, outcomes


def test_a_refused_case_names_node_and_operator() -> None:
    (case,) = mlx_conformance.load("node", "test_bernoulli_seed_expanded") or [None]
    assert case is not None

    outcome = mlx_conformance.run(case)

    assert outcome.status == "refused"
    assert outcome.operator == "RandomUniformLike"
    assert outcome.operator in outcome.detail


def test_the_table_counts_what_is_wrong() -> None:
    outcomes = [
        mlx_conformance.Outcome("a", "passed"),
        mlx_conformance.Outcome("b", "WRONG", detail="off by one"),
        mlx_conformance.Outcome("c", "refused", "Foo", "operator", "node 'n' (Foo): not there"),
    ]

    told = mlx_conformance.table(outcomes)

    assert "WRONG: b: off by one" in told
    assert "Foo: not there" in told


def test_a_wrong_answer_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [c for c in mlx_conformance.load("node", "test_add") if c.name == "test_add"]
    right = mlx_backend.MlxModel.run
    monkeypatch.setattr(
        mlx_backend.MlxModel, "run", lambda self, inputs: [right(self, inputs)[0] + 1]
    )

    assert mlx_conformance.run(case).status == "WRONG"


def test_mlx_backend_has_the_interface_of_onnx_backends() -> None:
    (case,) = [c for c in mlx_conformance.load("node", "test_add") if c.name == "test_add"]
    (a, b), (want,) = case.data_sets[0]

    (got,) = mlx_backend.run_model(case.model, [a, b])

    np.testing.assert_allclose(got, want)
    assert mlx_backend.supports_device("CPU")
    assert not mlx_backend.supports_device("CUDA")
    assert mlx_backend.MlxBackend.is_compatible(case.model)
