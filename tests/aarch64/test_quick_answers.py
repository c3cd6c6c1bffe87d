"""When answers under the emulator count as those of this machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aarch64 import quick_answers


def row(value: float | None, items: int = 400, status: str = "ok") -> dict[str, Any]:
    return {"status": status, "reasons": [], "quality": {"value": value, "items": items}}


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        (row(0.88), ""),
        (row(0.80), "a: 0.800 there, 0.870 here"),
        (row(0.80, items=100), ""),  # a pass that was cut: one in ten by chance
        (row(0.70, items=100), "a: 0.700 there, 0.870 here"),
        (row(0.88, status="invalid"), "a: invalid: []"),
        (row(None, items=0), "a: no quality: [] (a longer QUICK_BUDGET?)"),
    ],
)
def test_answers_are_alike_but_for_what_chance_adds(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, Any], wrong: str
) -> None:
    found = {"quick-x86": {"a": row(0.87)}, "quick-aarch64": {"a": there}}
    monkeypatch.setattr(quick_answers, "_rows", lambda name: found[name])
    assert quick_answers.differences() == ([wrong] if wrong else [])


def test_a_cell_that_was_measured_on_one_machine_alone_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"quick-x86": {"a": row(0.87)}, "quick-aarch64": {"b": row(0.87)}}
    monkeypatch.setattr(quick_answers, "_rows", lambda name: found[name])
    assert quick_answers.differences() == [
        "a: not measured under the emulator",
        "b: not measured on this machine",
    ]
