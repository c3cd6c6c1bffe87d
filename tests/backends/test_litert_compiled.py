"""LiteRT's compiled models: the same answers as the interpreter's, and nothing on the CPU that was not asked for there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Scalar, Session
from edgebench.errors import UnsupportedError
from edgebench.testing.models import convolution, two_by_two

pytest.importorskip("ai_edge_litert")
COMPILED: dict[str, Scalar] = {"api": "compiled", "threads": 1}


def converted(folder: Path, case: Any) -> ModelFile:
    backend = registry.load("litert")
    backend.import_runtime()
    return backend.convert(case.write(folder), {}, folder / "converted")


def opened(model: ModelFile, options: dict[str, Scalar]) -> Session:
    return registry.load("litert").open(model, options)


@pytest.mark.parametrize(
    "case", [convolution(1), convolution(4), two_by_two()], ids=lambda c: f"{c.name}-{c.batch}"
)
def test_answers_are_the_interpreters(tmp_path: Path, case: Any) -> None:
    model = converted(tmp_path, case)
    session = opened(model, COMPILED)
    for seed in range(3):
        prepared = session.prepare(case.feeds(seed))
        found = session.outputs_of(prepared, session.run(prepared))
        for name, expected in case.reference(case.feeds(seed)).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)


def test_facts_say_which_interface_ran_and_whether_it_took_all(tmp_path: Path) -> None:
    facts = opened(converted(tmp_path, convolution(1)), COMPILED).effective()
    assert facts.device == "cpu"
    assert facts.precision == "fp32"
    assert facts.options["api"] == "compiled"
    assert facts.options["fully_delegated"] is True
    assert facts.notes == ()


def test_part_that_is_not_delegated_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_edge_litert.compiled_model import CompiledModel

    monkeypatch.setattr(CompiledModel, "is_fully_accelerated", lambda self: False)
    model = converted(tmp_path, convolution(1))
    assert "does not take" in opened(model, COMPILED).effective().notes[0]
    with pytest.raises(UnsupportedError, match="does not take the whole of"):
        opened(model, {**COMPILED, "require_full_delegation": True})


def test_part_that_xnnpack_leaves_is_refused_where_the_whole_is_asked_for(tmp_path: Path) -> None:
    model = converted(tmp_path, convolution(1))
    assert opened(model, {"require_full_delegation": True}).effective().options["xnnpack"] is True
    with pytest.raises(UnsupportedError, match="XNNPACK takes 0 of"):
        opened(model, {"require_full_delegation": True, "xnnpack": False})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accelerator": "cpu"}, "an option of compiled models"),
        ({"api": "compiled", "xnnpack": True}, "an option of the interpreter"),
        (
            {"api": "compiled", "accelerator": "gpu", "threads": 1},
            "threads is an option of the CPU",
        ),
    ],
)
def test_options_of_the_other_interface_are_refused(
    tmp_path: Path, options: dict[str, Scalar], words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words):
        opened(converted(tmp_path, convolution(1)), options)
