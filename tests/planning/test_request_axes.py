"""Axes of requests: what makes no sense is refused ahead, what a runtime cannot do is a row with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgebench.backend import Scalar
from edgebench.definitions.workload import Workload
from edgebench.errors import UsageError
from edgebench.planning.cells import Cell, plan
from edgebench.testing.fake_decoder import FakeDecoder
from tests.planning.test_cells import workload


class Forgetful(FakeDecoder):
    """Its decoders forget no tokens."""

    name = "forgetful"
    generation = type(FakeDecoder.generation)(  # type: ignore[misc]
        formats=("gguf", "onnx"), precisions=("fp32", "as-is"), options=()
    )


def chat(**options: Scalar) -> Workload:
    return workload("chat", task="generate", scenarios=["generate"], options=options)


def cells(sets: dict[str, list[Scalar]], work: Workload | None = None) -> list[Cell]:
    known: dict[str, Any] = {"fake": FakeDecoder(), "forgetful": Forgetful()}
    return plan([work or chat()], list(known), sets=sets, load_backend=known.__getitem__)


def reason(cell: Cell) -> str:
    return "" if cell.unsupported is None else cell.unsupported.message


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"lokup": [3]}, "did you mean 'lookup'"),
        ({"draft_tokens": [4]}, "draft_tokens has no effect without lookup or draft"),
        ({"lookup": [3], "draft_confidence": [0.5]}, "without draft"),
        ({"reuse": [True]}, "reuse has no effect without turns"),
        ({"lookup": [3], "draft": ["self:w8"]}, "not for one row"),
        ({"lookup": [3], "turns": [5]}, "decoded plainly"),
        ({"turns": [5], "content": ["edit"]}, "content of its own"),
        ({"content": ["edits"]}, "did you mean 'edit'"),
        ({"lookup": [-1]}, "0 or more"),
        ({"lookup": [True]}, "0 or more"),
        ({"turns": [0]}, "1 or more"),
        ({"draft_tokens": [0], "lookup": [3]}, "1 or more"),
        ({"draft": ["no-such-file.gguf"]}, "draft=no-such-file.gguf: there is no such file"),
        ({"draft": ["self:"]}, "draft=self:: there is no such file"),
        ({"draft": [__file__]}, "is no file of a decoder"),
        ({"draft": ["self:w8"], "draft_confidence": [1.0]}, "from 0 to below 1"),
        ({"turns": [5], "reuse": ["maybe"]}, "true or false"),
    ],
)
def test_what_makes_no_sense_is_refused(sets: dict[str, list[Scalar]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cells(sets)


def test_a_runtime_that_forgets_no_token_is_told_by_name() -> None:
    for sets in ({"lookup": [3]}, {"draft": ["self:fp32"]}, {"turns": [5], "reuse": [True]}):
        able, forgetful = cells(sets)  # type: ignore[arg-type]
        assert able.unsupported is None
        assert reason(forgetful).startswith("forgetful: ")
        assert forgetful.unsupported is not None
        assert "ort" in forgetful.unsupported.fix
    for sets in ({"lookup": [0]}, {"draft": ["none"]}, {"turns": [5], "reuse": [False]}):
        assert [cell.unsupported for cell in cells(sets)] == [None, None]  # type: ignore[arg-type]


def test_speculation_is_of_one_greedy_sequence() -> None:
    assert "one sequence, not 2" in reason(cells({"lookup": [3], "batch": [2]})[0])
    assert "one sequence, not 2" in reason(cells({"turns": [3], "batch": [2]})[0])
    assert "temperature 0.7" in reason(cells({"lookup": [3]}, chat(temperature=0.7))[0])
    assert reason(cells({"lookup": [0], "batch": [2]}, chat(temperature=0.7))[0]) == ""


def test_a_draft_of_itself_has_a_precision_of_the_backend() -> None:
    assert reason(cells({"draft": ["self:fp23"]})[0]) == (
        "fake_decoder has no precision 'fp23'; did you mean 'fp32'?"
    )


def test_a_draft_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"")
    assert cells({"draft": [str(tmp_path / "small.gguf")]})[0].unsupported is None
    (tmp_path / "self:w8.gguf").write_bytes(b"")
    assert cells({"draft": [str(tmp_path / "self:w8.gguf")]})[0].unsupported is None


class OwnMeans(FakeDecoder):
    """Its decoders forget no tokens, and its runtime looks drafts up itself."""

    name = "own_means"
    generation = type(FakeDecoder.generation)(  # type: ignore[misc]
        formats=("gguf", "onnx"),
        precisions=("fp32", "as-is"),
        options=(),
        speculates=("lookup", "draft"),
    )


def test_a_runtime_may_speculate_by_its_own_means() -> None:
    def planned(**sets: list[Scalar]) -> Cell:
        known: dict[str, Any] = {"own": OwnMeans()}
        return plan([chat()], ["own"], sets=sets, load_backend=known.__getitem__)[0]

    assert planned(lookup=[3]).unsupported is None
    assert planned(draft=["self:as-is"]).unsupported is None
    assert "has no draft_confidence" in reason(
        planned(draft=["self:as-is"], draft_confidence=[0.4])
    )
    assert "keep what was read" in reason(planned(turns=[3], reuse=[True]))
