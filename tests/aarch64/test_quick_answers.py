"""When answers under the emulator count as those of this machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aarch64 import quick_answers

ALL = 400


def row(value: float | None, items: int = ALL, status: str = "ok", **also: float) -> dict[str, Any]:
    quality = {
        "metric": "top1",
        "value": value,
        "items": items,
        "also": [{"metric": name, "value": each} for name, each in also.items()],
    }
    model = {"sha256": "f1"}
    return {"status": status, "reasons": [], "model": model, "quality": quality}


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        (row(0.8725), ""),
        (row(0.875), "a: top1 0.875 there, 0.870 here over 400 items"),
        (row(0.75, items=10), ""),  # of the same ten items, one may come out otherwise
        (row(0.5, items=10), "a: top1 0.500 there, 0.700 here over 10 items"),
        (row(None, items=10, top5=0.9), ""),
        (row(0.7, items=10, top5=0.5), "a: top5 0.500 there, 0.900 here over 10 items"),
        (row(0.87, status="invalid"), "a: invalid: []"),
        ({**row(0.87), "model": {"sha256": "f2"}}, "a: another model file there than here"),
        (row(None, items=0), "a: no quality: [] (a larger QUICK_STRETCH?)"),
    ],
)
def test_answers_are_those_of_the_same_items_but_for_one(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, Any], wrong: str
) -> None:
    of_first = {10: {"top1": 0.7 + 1e-12, "top5": 0.9}}
    monkeypatch.setattr(quick_answers, "of_first", lambda row, items: of_first[items])
    found = quick_answers.differences(here={"a": row(0.87)}, there={"a": there})
    assert found == ([wrong] if wrong else [])


def test_a_cell_that_was_measured_on_one_machine_alone_is_told() -> None:
    assert quick_answers.differences(here={"a": row(0.87)}, there={"b": row(0.87)}) == [
        "a: not measured under the emulator",
        "b: not measured on this machine",
    ]


def test_a_busy_machine_gets_longer_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(quick_answers.STRETCH, "3")
    assert quick_answers.budget_min("file-typing") == 13.5
    assert quick_answers.budget_min("a workload of tomorrow") == 24


def test_every_workload_is_run_once_by_whoever_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run_there(name: str) -> str:
        ran.append(name)
        return ""

    monkeypatch.setattr(quick_answers, "_run_here", lambda: {"a": row(0.87)})
    monkeypatch.setattr(quick_answers, "_run_there", run_there)
    suite = quick_answers.Suite()
    suite.work()
    suite.work()
    assert ran == [*quick_answers.BUDGETS_MIN]
