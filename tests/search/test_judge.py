"""Refining by measuring: neighbours of the fastest map that holds, where the model of costs is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from edgebench.models.precision_map import CalibrationSpec, PrecisionMap
from edgebench.search.candidates import Draft
from edgebench.search.judge import Judge
from edgebench.search.search_messages import Candidate
from edgebench.search.tradeoff import Tradeoff

#: What each group saves in truth; the model of costs sees nothing of the last two.
SAVED = {"a": 3.0, "b": 1.0, "c": -1.0}
SPARE = {"a": 0.02, "b": 0.02, "c": 0.02}


class Known(Judge):
    """Whose maps have times and qualities that are known."""

    tried: list[frozenset[str]]

    def candidate(self, draft: Draft) -> Candidate:
        wanted = self._map(draft)
        return Candidate(
            map=wanted, origin=draft.origin, int8_groups=len(draft.choice), predicted_ms=10.0,
            predicted_damage=0.1, damage=0.1 * len(draft.choice), spare=self.spare_of(draft.choice),
        )  # fmt: skip

    def spare_of(self, choice: frozenset[str]) -> float | None:
        return min((SPARE[name] for name in choice), default=0.1)

    def _session(self, draft: Draft) -> Any:
        if draft.choice == frozenset("c"):
            raise RuntimeError("no kernel")
        self.tried.append(draft.choice)
        return draft.choice

    def _times(self, sessions: Mapping[str, Any], share: float) -> dict[str, float]:
        return {n: 10.0 - sum(SAVED[g] for g in choice) for n, choice in sessions.items()}

    def _map(self, draft: Draft) -> PrecisionMap:
        return PrecisionMap(
            model_sha256="0" * 64,
            recipe="u8s8/1",
            groups=dict.fromkeys(sorted(draft.choice), "int8"),
        )


class Unlabelled(Known):
    def spare_of(self, choice: frozenset[str]) -> float | None:
        return None


def judge(kind: type[Known] = Known) -> Known:
    units = SimpleNamespace(dynamic=(), in_blocks=(), groups=(), units=())
    it: Any = SimpleNamespace(
        past=lambda share: False,
        say=lambda step: None,
        source=SimpleNamespace(units=units),
        notes=[],
    )
    same = dict.fromkeys(SAVED, 1.0)
    tradeoff = Tradeoff(same, same, same, dict.fromkeys(SAVED, 0.0))
    made = kind(it, CalibrationSpec(), {}, tradeoff, ({}, {}))
    made.tried = []
    return made


def started(made: Known) -> Candidate:
    draft = Draft(frozenset("a"), "cut")
    made.sessions[made._map(draft).precision] = draft.choice
    return msgspec.structs.replace(made.candidate(draft), quick_ms=7.0)


def test_a_group_that_the_model_of_costs_cannot_tell_is_found_by_measuring() -> None:
    made = judge()
    found = made.refined([started(made)])
    assert found[0].map.quantized == frozenset("ab")
    assert found[0].quick_ms == pytest.approx(6.0)
    assert found[0].origin == "next to the fastest"
    assert len(made.tried) == len(set(made.tried))  # none twice
    assert len(made.sessions) == 2  # those that are slower are let go


def test_neighbours_that_the_runtime_refuses_are_told() -> None:
    made = judge()
    made.refined([msgspec.structs.replace(started(made), spare=0.02)])
    assert made.it.notes == []  # the map of `c` alone is next to none that was tried
    made.refined(
        [msgspec.structs.replace(made.candidate(Draft(frozenset("bc"), "cut")), quick_ms=7.0)]
    )
    assert made.it.notes == [
        "1 map next to the fastest could not be timed, as the runtime refuses them: RuntimeError: no kernel"
    ]


def test_a_faster_neighbour_that_misses_its_limit_is_kept_and_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SPARE, "b", -0.1)
    made = judge()
    found = made.refined([started(made)])
    assert [each.map.quantized for each in found] == [frozenset("ab"), frozenset("a")]
    assert frozenset("abc") not in made.tried


def test_without_labels_a_neighbour_may_not_have_much_more_damage() -> None:
    made = judge(Unlabelled)
    found = made.refined([started(made)])
    assert {each.map.quantized for each in found} == {frozenset("a"), frozenset("ab")}
    assert frozenset("abc") not in made.tried  # nobody went on from a map of twice the damage


def test_large_sessions_are_timed_and_let_go_before_the_next() -> None:
    held: list[int] = []

    class Large(Known):
        def candidate(self, draft: Draft) -> Candidate:
            name = self._map(draft).precision
            self.sizes[name] = 200 * 2**20
            self._make_room(name)
            self.sessions[name] = draft.choice
            held.append(len(self.sessions))
            return super().candidate(draft)

        def _times(self, sessions: Mapping[str, Any], share: float) -> dict[str, float]:
            slower = 1.0 + len(self.shares)  # the machine gets busier
            return {n: slower * t for n, t in super()._times(sessions, share).items()}

    made = judge(Large)
    made.it.fp32, made.it.fp32_quick_ms = frozenset(), None
    found = [made.candidate(Draft(frozenset(name), "cut")) for name in "abc"]
    told = made.timed(found)
    assert held == [1, 1, 1]
    assert [each.quick_ms for each in told] == pytest.approx([7.0, 9.0, 11.0])
    assert not made.sessions
