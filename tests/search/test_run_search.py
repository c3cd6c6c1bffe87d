"""A search from options to report, with children and measurements that are made up."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from edgebench.api import progress_output, run_request
from edgebench.api.run_options import Options
from edgebench.backend import Scalar
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import EdgebenchError, UsageError
from edgebench.measure import prepare_targets
from edgebench.models.precision_map import CalibrationSpec, PrecisionMap
from edgebench.planning.run_parameters import DEFAULTS
from edgebench.planning.settings import parse_sets
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.record import Record
from edgebench.search import model_family, run_search
from edgebench.search.choosing import deployable, holds, measured_maps
from edgebench.search.model_family import Prospect, dominated
from edgebench.search.requirements import parse_reward, requirements_of, resolved
from edgebench.search.search_messages import (
    Candidate,
    Demand,
    Exploration,
    LimitVerdict,
    UnitFacts,
    Verdict,
    Verification,
)
from edgebench.search.search_report import SearchReport, read_search
from edgebench.search.search_text import lines_of, render_family
from edgebench.text.plain_text import plain
from tests.records import quality, record
from tests.search.made_search import made_search

WORKLOAD = load_workloads()["file-typing"]
SVG = "{http://www.w3.org/2000/svg}"
GROUPS = ("conv_a", "conv_b", "dense")


def candidate(groups: Sequence[str], spare: float | None, quick_ms: float) -> Candidate:
    return Candidate(
        map=PrecisionMap(
            model_sha256=WORKLOAD.model.sha256,
            recipe="u8s8/1",
            groups={name: "int8" if name in groups else "fp32" for name in GROUPS},
        ),
        origin="cut",
        int8_groups=len(groups),
        predicted_ms=quick_ms,
        predicted_damage=0.1,
        damage=0.1,
        quick_ms=quick_ms,
        spare=spare,
    )


FAST = candidate(GROUPS, 0.01, 3.0)
GOOD = msgspec.structs.replace(candidate(GROUPS[:2], 0.02, 3.5), damage=0.05)
BAD = candidate(GROUPS[1:], -0.2, 2.5)


def exploration(*candidates: Candidate) -> Exploration:
    units = [
        UnitFacts(name=name, op="Conv", joiner=False, fp32_us=1000.0, int8_us=400.0, timed=True, damage=0.05)
        for name in GROUPS
    ]  # fmt: skip
    return Exploration(
        calibration=CalibrationSpec(),
        calibration_errors={"minmax": 0.1},
        units=units,
        fp32_ms=3.0,
        fp32_evaluation={"accuracy": 0.84, "accuracy_whole": 1.0, "nll": 0.63},
        fp32_tuning={"accuracy": 0.82},
        tuned_on="files of other seeds",
        tuning_items=336,
        evaluation_items=336,
        candidates=list(candidates),
        seconds=1.0,
    )


def verdict(precision: str, shown: bool, value: float = 0.84) -> Verdict:
    limit = LimitVerdict(
        metric="accuracy", limit=0.82, better="higher", value=value, fp32=0.84, change=value - 0.84,
        low=-0.01 if shown else -0.05, high=0.01, items=336, shown=shown,
    )  # fmt: skip
    return Verdict(
        precision=precision, limits=[limit], items=336, tested_on="the workload's own items"
    )


class Made:
    """Answers of children and of the measuring."""

    def __init__(self, found: Exploration, verdicts: Sequence[Verdict]) -> None:
        self.found, self.verdicts = found, list(verdicts)
        self.asked: list[str] = []
        self.jobs: list[Any] = []
        self.values: dict[str, float] = {}

    def ask(self, module: str, job: Any, kind: type, asking: Any) -> Any:
        self.asked.append(module.rpartition(".")[2])
        self.jobs.append(job)
        asking.hear("at work")
        if kind is Exploration:
            Path(job.state).write_bytes(msgspec.json.encode(self.found))
            return self.found
        known = {each.precision: each for each in self.verdicts}
        return Verification(
            verdicts=[known[p] for p in job.precisions if p in known], confidence=0.95
        )

    def measure(
        self, options: Options, start: run_request.Start, voice: Any
    ) -> run_request.Outcome:
        assert start.out is not None
        file = start.out / "desk" / "20260701T100000Z-0123abcd.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        precisions = parse_sets(options.sets)["precision"]
        return run_request.Outcome([self.record(str(each)) for each in precisions], file)

    def record(self, precision: str) -> Record:
        times = {"fp32": 6.0, "int8-dynamic": 6.1, "int8-static": 2.8, "fp16": 6.0, "bf16": 6.0}
        times |= {each.map.precision: each.quick_ms or 0.0 for each in self.found.candidates}
        value = self.values.get(precision, 0.84)
        made = quality(value, 0.82, items=336)
        whole, nll = (0.9 if precision == "int8-static" else 1.0), 0.63
        also = [
            msgspec.convert(
                {"metric": name, "value": v, "limit": bound, "better": better, "passed": ok},
                type(made).__annotations__ and _limit_type(),
            )
            for name, v, bound, better, ok in (
                ("accuracy_whole", whole, 0.98, "higher", whole >= 0.98),
                ("nll", nll, 0.7, "lower", True),
            )
        ]
        made = msgspec.structs.replace(
            made, also=also, passed=made.passed and all(each.passed for each in also)
        )
        variant: dict[str, Scalar] = {"precision": precision, "threads": 1, "batch": 1}
        return record(
            variant, workload="file-typing", p50=times[precision] * 1e6, quality=made,
            seed=len(precision), effective=None,
        )  # fmt: skip


def _limit_type() -> type:
    from edgebench.record import Limit

    return Limit


@pytest.fixture
def searching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[SearchReport | None, list[str]]]:
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    fetched = prepare_targets.Fetched({}, {})
    monkeypatch.setattr(run_search, "fetch_assets", lambda cells, progress: fetched)
    paths: Mapping[str, Path] = {
        asset.sha256: tmp_path / "asset" for asset in (WORKLOAD.model, *WORKLOAD.data.values())
    }
    monkeypatch.setattr(prepare_targets.Fetched, "paths", paths, raising=False)

    def prepared(cell: Any, settings: Any, cache: Path, _: Any) -> Any:
        return PrepareJob(task="file_typing", source="m", source_sha256="0" * 64, cache=str(cache))

    monkeypatch.setattr(run_search, "prepare_job", prepared)

    def search(made: Made, **changes: Any) -> tuple[SearchReport | None, list[str]]:
        monkeypatch.setattr(run_search, "ask_child", made.ask)
        monkeypatch.setattr(run_search, "measure", made.measure)
        given = {
            "names": ("file-typing",),
            "budget": "5min",
            "points": 6,
            "resume": False,
            "require": (),
            "maximize": None,
            "via": (),
            "confidence": 0.95,
        }
        params = {**DEFAULTS, **given, "out": str(tmp_path / "out"), **changes}
        said: list[str] = []
        request = run_search.request_of(params, ["edgebench", "search"])
        found = run_search.search(request, progress_output.voice_of(said.append), time.monotonic())
        return found.report, said

    return search


Searching = Callable[..., tuple["SearchReport | None", list[str]]]


def test_the_fastest_safe_map_is_chosen(searching: Searching, tmp_path: Path) -> None:
    made = Made(exploration(FAST, GOOD, BAD), [verdict(FAST.map.precision, shown=True)])
    report, said = searching(made)
    assert report is not None
    assert report.deployment is not None
    assert report.deployment.precision == FAST.map.precision
    standing = {str(row.precision): row.standing for row in report.rows}
    assert standing["fp32"] == "base"
    assert standing["int8-static"] == "missed"  # the fastest of all, and it misses accuracy_whole
    assert standing[BAD.map.precision] == "tuning"
    assert made.asked == ["explore", "verify"]
    told = made.jobs[1]
    assert BAD.map.precision not in told.precisions
    assert told.confidence > 0.95  # shared among those that were looked at
    assert any("left" in line for line in said)
    assert report.deployment.map_file is not None
    assert Path(report.deployment.map_file).read_text().startswith("# mixed:")
    assert read_search(Path(str(report.results)).with_suffix(".search.json")) == report
    drawn = ElementTree.parse(Path(str(report.results)).with_suffix(".search.svg")).getroot()
    assert len(list(drawn.iter(f"{SVG}title"))) == len(report.rows) + len(GROUPS)


def test_a_map_that_too_few_items_show_is_not_offered(searching: Searching) -> None:
    verdicts = [verdict(FAST.map.precision, shown=False), verdict(GOOD.map.precision, shown=True)]
    report, _ = searching(Made(exploration(FAST, GOOD), verdicts))
    assert report is not None
    assert report.deployment is not None
    assert report.deployment.precision == GOOD.map.precision
    assert {row.standing for row in report.rows if row.precision == FAST.map.precision} == {"held"}


def test_a_map_that_misses_on_test_items_is_never_offered(searching: Searching) -> None:
    verdicts = [verdict(each.map.precision, shown=False, value=0.8) for each in (FAST, GOOD)]
    report, _ = searching(Made(exploration(FAST, GOOD), verdicts))
    assert report is not None
    assert report.chosen is None
    text = "\n".join(lines_of(report))
    assert "deploy fp32" in text
    assert "missed" in text


def test_the_text_fits_eighty_columns_and_says_why(searching: Searching) -> None:
    made = Made(exploration(GOOD, BAD), [verdict(GOOD.map.precision, shown=True)])
    report, _ = searching(made)
    assert report is not None
    lines = [plain(line) for line in lines_of(report, 80)]
    paths = [line for line in lines if ".yaml" in line or "/" in line]
    assert all(len(line) <= 80 for line in lines if line not in paths)
    text = "\n".join(lines)
    assert f"deploy ort {GOOD.map.precision}" in text
    assert "1 group stays in fp32" in text
    assert "int8 would gain 600 us, output error 0.050" in text


def test_what_was_explored_is_taken_up_again(searching: Searching) -> None:
    made = Made(exploration(GOOD), [verdict(GOOD.map.precision, shown=True)])
    searching(made)
    again = Made(exploration(GOOD), [verdict(GOOD.map.precision, shown=True)])
    report, said = searching(again, resume=True)
    assert again.asked == ["verify"]
    assert report is not None
    assert "found before" in said[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"names": ()}, "a search is of one workload"),
        ({"names": ("file-typing", "text-recognition")}, "a search is of one workload"),
        ({"sets": ("precision=fp32",)}, "the search chooses the precision"),
        ({"sets": ("batch=1,8",)}, "a search is of one batch"),
        ({"names": ("smollm2-chat",)}, "generates text"),
        ({"require": ("accuracy<=0.5",)}, "of accuracy more is better"),
        ({"require": ("speed>=2",)}, "no metric 'speed'"),
        ({"confidence": 1.5}, "is not between 0.5 and 1"),
        ({"maximize": "reward(80ms)"}, "is no reward"),
        ({"maximize": "reward(80ms,0.1)"}, "the exponent at most 0"),
        ({"backends": "ncnn"}, "ncnn runs no maps"),
    ],
)
def test_bad_input_is_one_clear_line(
    searching: Searching, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises((UsageError, EdgebenchError), match=told) as caught:
        searching(Made(exploration(GOOD), []), **changes)
    assert caught.value.exit_code == 2


def test_requirements_take_the_place_of_the_workloads_limits() -> None:
    found = requirements_of(WORKLOAD, ["quality>=0.98*fp32", "nll<=0.8", "latency.p50<=30ms"])
    limits = {each.metric: each for each in resolved(found.demands, {"accuracy": 0.84})}
    assert limits["accuracy"].limit == pytest.approx(0.98 * 0.84)
    assert limits["nll"] == Demand(metric="nll", limit=0.8, better="lower")
    assert limits["accuracy_whole"].limit == 0.98
    assert [each.metric.name for each in found.costs] == ["latency.p50"]


def test_a_reward_weighs_quality_against_latency(searching: Searching) -> None:
    made = Made(exploration(FAST, GOOD), [verdict(GOOD.map.precision, shown=True)])
    made.values = {FAST.map.precision: 0.821, GOOD.map.precision: 0.84}
    report, _ = searching(
        made, maximize="reward(3ms,-0.07)"
    )  # a seventh slower, but 2.3 % more right
    assert report is not None
    assert report.deployment is not None
    assert report.deployment.precision == GOOD.map.precision
    assert parse_reward("reward(80ms,-0.07)").of(0.76, 80e6) == pytest.approx(0.76)
    assert parse_reward("reward(80ms,-0.07)").of(0.76, 160e6) == pytest.approx(0.724, abs=1e-3)


def test_each_tested_map_has_less_damage_than_the_last(searching: Searching) -> None:
    twin = msgspec.structs.replace(
        candidate(GROUPS[:1], 0.02, 3.2), damage=0.1
    )  # as bad as FAST, slower
    made = Made(exploration(FAST, twin, GOOD), [verdict(GOOD.map.precision, shown=True)])
    report, _ = searching(made)
    assert report is not None
    asked = made.jobs[1].precisions
    assert FAST.map.precision in asked
    assert GOOD.map.precision in asked
    assert twin.map.precision not in asked


def test_a_model_that_is_dominated_for_sure_gets_no_more_time() -> None:
    fast, slow = Prospect("fast", 2.0, 0.9), Prospect("slow", 3.0, 0.88)
    better, near = Prospect("better", 4.0, 0.95), Prospect("near", 2.2, 0.89)
    unknown = Prospect("unknown", 9.0, None)
    found = dominated([fast, slow, better, near, unknown])
    assert list(found) == ["slow"]
    assert found["slow"].startswith("fast takes 2 ms where it takes 3")


def test_a_family_shares_one_budget_and_offers_its_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fake:
        def __init__(self, request: Any) -> None:
            self.request = request
            self.workload = WORKLOAD
            self.required = requirements_of(WORKLOAD, ())

    given: list[float] = []
    slow, quick = made_search(), made_search(chosen=False)  # the second one's maps are not offered
    faster = [msgspec.structs.replace(row, p50_ns=(row.p50_ns or 0.0) / 3) for row in quick.rows]
    reports = {"a.onnx": slow, "b.onnx": msgspec.structs.replace(quick, rows=faster)}

    def finished(it: Any, _: Exploration) -> Any:
        given.append(it.request.budget_s)
        return run_search.Found(reports[it.request.options.model], None)

    monkeypatch.setattr(model_family, "begun", lambda request, voice, budget: Fake(request))
    monkeypatch.setattr(model_family, "explored", lambda it: exploration(GOOD))
    monkeypatch.setattr(model_family, "finished", finished)
    requests = [
        run_search.SearchRequest(SimpleNamespace(model=name), 100.0, 6, tmp_path, False, [])  # type: ignore[arg-type]
        for name in reports
    ]
    family = model_family.search_family(requests, progress_output.voice_of(False), time.monotonic())
    best = family.chosen
    assert best is not None
    assert (best.model, best.row.precision) == ("b.onnx", "fp32"), "fp32 of another model is faster"
    assert sum(given) * (1 - model_family.EXPLORING) == pytest.approx(100.0, rel=0.51)
    front = [(offer.model, offer.row.precision) for offer in family.offers if offer.front]
    assert ("b.onnx", "fp32") in front
    assert all(model == "b.onnx" for model, _ in front), "the other is slower and no better"
    out = io.StringIO()
    render_family(family, out)
    assert "deploy b.onnx, ort fp32" in out.getvalue()
    assert "2 models together" in out.getvalue()


def test_models_are_held_against_each_other_by_the_metric_of_the_first_limit() -> None:
    """Also where a report shows another one, since none of its rows was worth testing."""
    tested, other = made_search(), made_search(chosen=False)
    rows = [msgspec.structs.replace(row, quality={"nll": 9.0, **row.quality}) for row in other.rows]
    other = msgspec.structs.replace(other, rows=rows, verdicts=[])
    assert (tested.metric, other.metric) == ("accuracy", "nll")
    required = requirements_of(WORKLOAD, ["accuracy>=0.8"])
    found = [run_search.Found(each, None) for each in (tested, other)]
    offers = model_family._offers(["a.onnx", "b.onnx"], found, required)
    assert {offer.metric for offer in offers} == {"accuracy"}


def test_fp32_that_misses_a_limit_of_cost_is_not_offered(searching: Searching) -> None:
    made = Made(exploration(FAST), [verdict(FAST.map.precision, shown=False)])
    chosen = {}
    for limit in ("latency.p50<=9ms", "latency.p50<=5ms"):
        report, _ = searching(made, require=("accuracy>=0.8", limit))
        assert report is not None
        found = run_search.Found(report, None)
        required = requirements_of(WORKLOAD, ["accuracy>=0.8", limit])
        offers = model_family._offers(["a.onnx"], [found], required)
        chosen[limit] = [offer.row.precision for offer in offers if offer.offered]
    assert chosen == {"latency.p50<=9ms": ["fp32"], "latency.p50<=5ms": []}
    assert report is not None
    assert lines_of(report, 200)[1].startswith(f"deploy nothing, as fp32 itself misses {limit}: ")
    out = io.StringIO()
    render_family(model_family.Family(["a.onnx"], [found], {}, offers, None), out)
    assert "deploy none: no deployment of any model was shown to hold every limit" in out.getvalue()


def test_a_model_whose_fp32_is_its_fastest_is_judged_by_that(tmp_path: Path) -> None:
    """Not by maps that are slower, and not by sums over kernels."""
    options: Any = SimpleNamespace(model="a.onnx")
    it: Any = SimpleNamespace(
        request=run_search.SearchRequest(options, 9.0, 6, tmp_path, False, []),
        required=requirements_of(WORKLOAD, ()),
    )
    slower = candidate(GROUPS, 0.01, 7.0)
    for found in (exploration(slower), exploration()):
        found = msgspec.structs.replace(found, fp32_quick_ms=5.0)
        assert model_family._prospect(it, found).quick_ms == 5.0


def test_models_without_labels_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = SimpleNamespace(required=SimpleNamespace(demands=[]))
    options: Any = SimpleNamespace(model="a.onnx")
    blind.request = run_search.SearchRequest(options, 9.0, 6, tmp_path, False, [])
    monkeypatch.setattr(model_family, "begun", lambda request, voice, budget: blind)
    with pytest.raises(UsageError, match=r"^nothing tells which model is better"):
        model_family.search_family(
            [blind.request], progress_output.voice_of(False), time.monotonic()
        )


def test_a_reward_that_fp32_has_most_of_leaves_fp32(searching: Searching) -> None:
    made = Made(exploration(FAST), [verdict(FAST.map.precision, shown=True)])
    made.values = {FAST.map.precision: 0.79, "int8-static": 0.79, "int8-dynamic": 0.79}
    report, _ = searching(made, maximize="reward(3ms,-0.07)")  # twice as fast is worth 5 %
    assert report is not None
    assert report.chosen is None
    assert "nothing faster has more of reward(3ms,-0.07) than fp32" in " ".join(lines_of(report))
    assert {row.precision for row in report.rows if row.reward} == {
        row.precision for row in report.rows
    }


def test_a_speed_without_an_interval_says_so(searching: Searching) -> None:
    made = Made(exploration(GOOD), [verdict(GOOD.map.precision, shown=True)])
    report, _ = searching(made)
    assert report is not None
    assert "(?)" not in "\n".join(lines_of(report))
    rows = [
        msgspec.structs.replace(row, speedup_low=None, speedup_high=None) for row in report.rows
    ]
    text = "\n".join(lines_of(msgspec.structs.replace(report, rows=rows)))
    assert "as fast as fp32 (?)" in text
    assert "one process each was measured" in text


def test_without_intervals_maps_stand_by_their_turns_in_one_process() -> None:
    def row(precision: str, speedup: float, low: float | None) -> Any:
        baseline = SimpleNamespace(speedup=speedup, speedup_low=low)
        return SimpleNamespace(variant={"precision": precision}, baseline=baseline, status="ok")

    known: dict[Scalar, Candidate] = {
        each.map.precision: each for each in (FAST, GOOD)
    }  # 3.0, 3.5 ms
    noisy = [row(FAST.map.precision, 1.2, None), row(GOOD.map.precision, 2.5, None)]
    found = deployable(noisy, known, fp32_quick_ms=6.0)
    assert [each.variant["precision"] for each in found] == [*known]
    sure = [row(FAST.map.precision, 1.2, 1.1), row(GOOD.map.precision, 2.5, 2.4)]
    found = deployable(sure, known, fp32_quick_ms=6.0)
    assert [each.variant["precision"] for each in found] == [*known][::-1]
    assert deployable([row("int8-dynamic", 1.05, 0.98)], {}) == []


def test_a_quality_of_some_items_is_no_miss() -> None:
    demand = Demand(metric="accuracy", limit=0.82, better="higher")
    part = SimpleNamespace(metric="accuracy", value=0.7, also=[], items=40, passed=False)
    row: Any = SimpleNamespace(quality=part)
    assert holds(row, [demand], items=336)
    assert not holds(row, [demand], items=40)


def test_measured_are_the_fastest_that_hold_and_maps_far_apart_on_the_front() -> None:
    def made(groups: Sequence[str], quick_ms: float, damage: float, **changes: Any) -> Candidate:
        found = candidate(groups, 0.01, quick_ms)
        own = msgspec.structs.replace(found.map, groups=dict.fromkeys(groups, "int8"))
        return msgspec.structs.replace(found, **{"map": own, "damage": damage, **changes})

    fastest = made("abc", 3.0, 0.30)
    beaten = made("ab", 3.1, 0.31)  # slower and worse, but among the fastest that hold
    worse = made("a", 3.2, 0.32)
    near = made("b", 3.05, 0.29)
    middle = made("c", 4.0, 0.10)
    light = made("bc", 5.9, 0.01)
    small = made("ac", 6.5, 0.35, size_bytes=10)
    missed = made("d", 2.0, 0.5, spare=-0.1)
    every = [worse, near, middle, light, beaten, fastest, missed, small]
    sized = [
        each if each.size_bytes else msgspec.structs.replace(each, size_bytes=20) for each in every
    ]
    found = [each.map.precision for each in measured_maps(exploration(*sized), 6)]
    assert found[:2] == [fastest.map.precision, near.map.precision]
    assert set(found) == {
        each.map.precision for each in (fastest, near, middle, light, small, missed)
    }
    assert len(measured_maps(exploration(*sized), 40)) == len(every)
    assert measured_maps(exploration(), 6) == []
    assert len(measured_maps(exploration(fastest), 6)) == 1


def test_short_floats_are_measured_where_a_backend_computes_in_them(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Scalar]] = []
    made = Made(exploration(GOOD), [verdict(GOOD.map.precision, shown=True)])
    real = made.measure

    def measured(options: Options, start: run_request.Start, voice: Any) -> run_request.Outcome:
        asked.append(list(parse_sets(options.sets)["precision"]))
        return real(options, start, voice)

    monkeypatch.setattr(made, "measure", measured)
    monkeypatch.setattr(made, "record", lambda precision: Made.record(made, "fp32"))
    for backends in ("ort", "ort,openvino"):
        searching(made, backends=backends)
    assert "bf16" not in asked[0]
    assert {"fp32", "bf16", "fp16", GOOD.map.precision} <= set(asked[1])


def test_every_setting_that_is_asked_for_is_measured_and_the_fastest_of_all_is_chosen(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(exploration(FAST, GOOD), [verdict(FAST.map.precision, shown=True)])
    asked: dict[str, Any] = {}

    def measured(options: Options, start: run_request.Start, voice: Any) -> run_request.Outcome:
        asked.update(parse_sets(options.sets))
        outcome = Made.measure(made, options, start, voice)
        return run_request.Outcome([*outcome.records, *map(on_two, outcome.records)], outcome.file)

    def on_two(one: Record) -> Record:
        precision = one.cell.variant["precision"]
        times = {"fp32": 4.0, FAST.map.precision: 1.8, GOOD.map.precision: 2.2}
        variant: dict[str, Scalar] = {**one.cell.variant, "threads": 2}
        return record(
            variant, workload="file-typing", p50=times.get(str(precision), 3.9) * 1e6,
            quality=one.quality, seed=len(str(precision)), effective=None,
        )  # fmt: skip

    monkeypatch.setattr(made, "measure", measured)
    report, _ = searching(made, sets=("threads=1,2",))
    assert asked["threads"] == [1, 2]
    assert report is not None
    assert report.deployment is not None
    assert report.deployment.precision == FAST.map.precision
    assert report.deployment.settings == ["threads=2"]
    told = made.jobs[1].precisions
    assert len(told) == len(set(told))
    text = " ".join(" ".join(lines_of(report, 200)).replace("\\\n", " ").replace("\\", " ").split())
    assert f"deploy ort {FAST.map.precision} threads=2: " in text
    assert "--set threads=2" in text
    assert "--set threads=1" not in text


def test_of_several_backends_the_fastest_row_is_chosen_and_not_the_largest_gain(
    searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(exploration(FAST), [verdict(FAST.map.precision, shown=True)])

    def measured(options: Options, start: run_request.Start, voice: Any) -> run_request.Outcome:
        outcome = Made.measure(made, options, start, voice)
        return run_request.Outcome([*outcome.records, *map(slowly, outcome.records)], outcome.file)

    def slowly(one: Record) -> Record:
        """Every map is 4x as fast as fp32, and slower than the other backend's."""
        precision = str(one.cell.variant["precision"])
        return record(
            one.cell.variant, workload="file-typing", backend="openvino",
            p50=(20.0 if precision == "fp32" else 5.0) * 1e6, quality=one.quality,
            seed=len(precision), effective=None,
        )  # fmt: skip

    monkeypatch.setattr(made, "measure", measured)
    report, _ = searching(made, backends="ort,openvino")
    assert report is not None
    assert report.deployment is not None
    assert (report.deployment.backend, report.deployment.precision) == ("ort", FAST.map.precision)
