"""Exploring and verifying a small network for real, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from edgebench.assets import file_sha256
from edgebench.errors import UnsupportedError
from edgebench.models import quantize
from edgebench.models.onnx_file import load_model, precision_census, save_model
from edgebench.models.precision_map import CalibrationSpec, keep_map
from edgebench.operator_times import OperatorTime, Profile
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare
from edgebench.search import explore, group_costs, item_cache, judge, sessions, verify
from edgebench.search.item_cache import remembering
from edgebench.search.search_messages import Demand, ExploreJob, UnitFacts, VerifyJob
from edgebench.search.sessions import times_in_turns
from edgebench.store import result_files
from edgebench.task import TaskContext
from tests import onnx_models as models
from tests.search.agreement_task import Agreement

pytest.importorskip("onnxruntime")
TASK = f"{Path(__file__).parent / 'agreement_task.py'}:Agreement"


@pytest.fixture
def job(tmp_path: Path) -> PrepareJob:
    path = tmp_path / "model.onnx"
    save_model(models.convolution([1, 3, 8, 8]), path)
    return PrepareJob(
        task=TASK,
        options={"items": 60},
        source=str(path),
        source_sha256=file_sha256(path),
        precision="fp32",
        cache=str(tmp_path / "cache"),
    )


@pytest.fixture
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles and timings take as few turns as they can."""
    monkeypatch.setattr(explore, "MAX_PROFILE_S", 0.0)
    monkeypatch.setattr(judge, "TIMING_S_EACH", 0.0)
    monkeypatch.setattr(judge, "NEIGHBOURS_AT_ONCE", 0)


def exploring(job: PrepareJob, floor: float = 0.5, **changes: Any) -> ExploreJob:
    return ExploreJob(
        prepare=job,
        workload="small",
        demands=[Demand(metric="agreement", limit=floor, better="higher", **changes)],
        recipes=["u8s8/1"],
        calibrations=[CalibrationSpec(), CalibrationSpec(method="percentile", percentile=99.9)],
        backend="ort",
        options={"threads": 1},
        threads=1,
        points=6,
        time_s=60.0,
        state=str(Path(job.cache).parent / "state.json"),
    )


@pytest.mark.usefixtures("in_no_time")
def test_a_network_is_explored_and_its_maps_verified(job: PrepareJob) -> None:
    steps: list[str] = []
    found = explore.explored_by_any(exploring(job), steps.append)
    assert [unit.op for unit in found.units] == ["Conv", "Gemm"]
    assert all(unit.timed and unit.fp32_us > 0 and unit.int8_us > 0 for unit in found.units)
    assert all(0 < (unit.damage or 0) < 0.2 for unit in found.units)
    assert found.fp32_evaluation == found.fp32_tuning == {"agreement": 1.0}
    assert found.tuning_items == 60
    assert set(found.calibration_errors) == {"minmax", "percentile 99.9"}
    everything = next(each for each in found.candidates if each.origin == "everything")
    assert everything.int8_groups == 2
    assert everything.quick_ms is not None
    assert everything.spare is not None
    assert everything.predicted_damage == pytest.approx(
        sum((unit.damage or 0) ** 2 for unit in found.units) ** 0.5
    )
    assert any(step.startswith("damage of group") for step in steps)
    assert result_files(Path(job.cache).parent) == [], "what exploring keeps is no file of results"

    for each in found.candidates:
        keep_map(each.map, Path(job.cache))
    made = prepare(PrepareJob(**{**_fields(job), "precision": everything.map.precision}))
    assert precision_census(load_model(Path(made.path)))[1]["int8"] > 200
    told = verify.verify(
        VerifyJob(
            prepare=job,
            demands=[Demand(metric="agreement", limit=0.5, better="higher")],
            precisions=[everything.map.precision],
            confidence=0.95,
            threads=1,
            time_s=30.0,
        ),
        steps.append,
    )
    [verdict] = told.verdicts
    assert verdict.safe
    [limit] = verdict.limits
    assert limit.fp32 == 1.0
    assert limit.low is not None
    assert limit.high is not None
    assert limit.low <= limit.change <= limit.high


def _fields(job: PrepareJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


@pytest.mark.usefixtures("in_no_time")
def test_a_floor_above_fp32_itself_is_told(job: PrepareJob) -> None:
    with pytest.raises(
        UnsupportedError, match=r"fp32 itself has agreement 1, beyond the limit 1\.1"
    ):
        explore.explored_by_any(exploring(job, floor=1.1), lambda step: None)


@pytest.mark.usefixtures("in_no_time")
def test_too_few_labelled_items_are_told(job: PrepareJob) -> None:
    few = msgspec.structs.replace(job, options={"items": 4})
    with pytest.raises(UnsupportedError, match="4 independent labelled items"):
        explore.explored_by_any(exploring(few), lambda step: None)
    some = msgspec.structs.replace(job, options={"items": 10})
    found = explore.explored_by_any(exploring(some, floor=0.99), lambda step: None)
    [note] = [note for note in found.notes if "test items are few" in note]
    assert note == (
        "90 test items are few for agreement: even where no answer changes, a change of 0.0333 is plausible at a "
        "confidence of 0.95, and fp32 leaves 0.01"
    )
    enough = explore.explored_by_any(exploring(some, floor=0.9), lambda step: None)
    assert not any("are few" in note for note in enough.notes)


@pytest.mark.usefixtures("in_no_time")
def test_the_choice_of_nncf_is_one_map_more(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def scope(model: Any, calibration: Any, quality: Any, max_drop: float) -> set[str]:
        asked.extend([quality(model), max_drop])
        return {"Conv_0"}

    monkeypatch.setattr("edgebench.models.nncf_scope.nncf_scope", scope)
    wanted = msgspec.structs.replace(exploring(job), via=["nncf"])
    found = explore.explored_by_any(wanted, lambda step: None)
    assert asked == [1.0, 0.5], "the metric of the model, and what fp32 leaves above the limit"
    [mine] = [each for each in found.candidates if each.origin == "NNCF"]
    assert mine.map.quantized == {"Conv_0"}

    monkeypatch.setattr(explore, "TUNED", 0.0)  # the time is over at once
    late = msgspec.structs.replace(wanted, state=wanted.state.replace("state", "late"))
    notes = explore.explored_by_any(late, lambda step: None).notes
    assert "NNCF's accuracy control did not end in the time for exploring" in notes


@pytest.mark.usefixtures("in_no_time")
def test_a_failure_of_nncf_leaves_the_other_maps_and_the_recipe(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scope(*given: Any) -> set[str]:
        raise RuntimeError("an operator that it does not know")

    monkeypatch.setattr("edgebench.models.nncf_scope.nncf_scope", scope)
    asked = msgspec.structs.replace(exploring(job), recipes=["u8s8-wide/1", "u8s8/1"], via=["nncf"])
    found = explore.explored_by_any(asked, lambda step: None)
    assert {each.map.recipe for each in found.candidates} == {"u8s8-wide/1"}
    assert "NNCF's accuracy control failed: RuntimeError" in found.notes


def test_a_limit_near_fp32_takes_further_draws_and_may_stay_unshown(job: PrepareJob) -> None:
    found = verify.verify(
        VerifyJob(
            prepare=job,
            demands=[Demand(metric="agreement", limit=0.999, better="higher")],
            precisions=["int8-static"],
            confidence=0.95,
            threads=1,
            time_s=2.0,
        ),
        lambda step: None,
    )
    [verdict] = found.verdicts
    assert not verdict.safe
    assert verdict.limits[0].value <= 1.0


def test_other_backends_answer_for_themselves(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def infer_by(runtime: Any, path: Path, precision: str) -> Any:
        asked.append((runtime.backend, precision))
        session = sessions.open_session(load_model(path), 1)
        return sessions.infer_with(session)

    monkeypatch.setattr(sessions, "infer_by", infer_by)
    wanted = VerifyJob(
        prepare=job,
        demands=[Demand(metric="agreement", limit=0.5, better="higher")],
        precisions=["bf16"],
        backend="openvino",
        confidence=0.95,
        threads=1,
        time_s=5.0,
    )
    assert verify.verify(wanted, lambda step: None).verdicts[0].held
    assert sorted(asked) == [("openvino", "bf16"), ("openvino", "fp32")]


def test_a_backend_computes_in_the_precision_that_is_asked_for(job: PrepareJob) -> None:
    pytest.importorskip("openvino")
    runtime = sessions.RuntimeChoice("openvino", {"threads": 1})
    [item] = [{"image": np.ones((1, 3, 8, 8), np.float32)}]
    [exact] = sessions.infer_by(runtime, Path(job.source), "fp32")([item])
    [known] = sessions.infer_with(sessions.open_session(load_model(Path(job.source)), 1))([item])
    assert sessions.output_error([exact], [known]) < 1e-4


def test_answers_are_what_a_task_scores_and_the_task_stays_as_it_was(job: PrepareJob) -> None:
    task = Agreement(TaskContext(model=Path(job.source), options={"items": 10}))

    def infer(items: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"logits": np.array([-1e9])} for _ in items]

    answers, metrics = verify.task_answers(task, infer)
    assert answers == [False] * 10
    assert metrics == task.score(answers)
    assert "score" not in vars(task)


def test_items_are_made_once(job: PrepareJob) -> None:
    made = []

    class Counting(Agreement):
        def preprocess(self, raw: Any) -> dict[str, Any]:
            made.append(1)
            return super().preprocess(raw)

    task = remembering(Counting(TaskContext(model=Path(job.source), options={"items": 10})))

    def infer(items: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"logits": item["image"].reshape(-1)[:5]} for item in items]

    first = task.evaluate(infer)
    assert task.evaluate(infer) == first
    assert len(made) == 10


def test_all_draws_share_the_room_for_their_items(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_cache, "MAX_KEPT_BYTES", 8 * 4 * 192)  # raw and input of four items
    made = []

    class Counting(Agreement):
        def preprocess(self, raw: Any) -> dict[str, Any]:
            made.append(1)
            return super().preprocess(raw)

    room = item_cache.Kept()
    context = TaskContext(model=Path(job.source), options={"items": 3})
    first, second = (remembering(Counting(context), room) for _ in range(2))

    def infer(items: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"logits": item["image"].reshape(-1)[:5]} for item in items]

    counts = []
    for task in (first, second, first, second):
        before = len(made)
        task.evaluate(infer)
        counts.append(len(made) - before)
    assert counts[:3] == [3, 3, 0]
    assert counts[3] > 0  # there was no room for all of them
    assert room.bytes <= item_cache.MAX_KEPT_BYTES + 2 * 4 * 192


def test_times_are_of_the_caller_alone_and_in_turns() -> None:
    calls: list[str] = []

    class Fake:
        def __init__(self, name: str, work: int) -> None:
            self.name, self.work = name, work

        def run(self, _names: None, _feeds: Any) -> None:
            calls.append(self.name)
            sum(range(self.work))

    turns = iter([False] * 8 + [True] * 100)
    sessions = {"a": Fake("a", 200_000), "b": Fake("b", 800_000)}
    times = times_in_turns(sessions, [{}], lambda: next(turns))
    assert times["a"] < times["b"]
    assert calls[-1] != calls[-2] or len(set(calls[-4:])) == 2


def test_a_fast_network_is_profiled_no_longer_than_it_tells_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[int] = []

    class Backend:
        def import_runtime(self) -> None: ...
        def open(self, *_: Any) -> Any:
            return self

        def profiler(self) -> Any:
            return self

        def close(self) -> None: ...
        def run(self, _feeds: Any) -> None:
            runs.append(1)

        def finish(self) -> Any:
            return "a profile"

    monkeypatch.setattr("edgebench.registry.load", lambda name: Backend())
    found = sessions.profiles_in_turns(
        [models.convolution([1, 3, 8, 8])] * 2,
        [{}],
        sessions.RuntimeChoice("ort", {}),
        lambda: False,
    )
    assert [str(profile) for profile in found] == ["a profile"] * 2
    assert len(runs) == 2 * sessions.MAX_PROFILED_TURNS


def operator(kind: str, nodes: tuple[str, ...], times_ns: list[int]) -> OperatorTime:
    return OperatorTime(name=f"{kind}_{nodes}", kind=kind, nodes=nodes, times_ns=times_ns)


def test_units_take_the_operators_that_stand_for_their_nodes(job: PrepareJob) -> None:
    it = explore.begun(exploring(job), lambda step: None, "u8s8/1")
    conv, gemm = it.source.units.units
    profile = Profile(
        operators=(
            operator("Conv", conv.nodes[:2], [5_000, 3_000, 3_000]),
            operator("GlobalAveragePool", conv.nodes[2:], [1_000] * 3),
            operator("QuantizeLinear", conv.nodes[:1], [9_000] * 3),  # a boundary
            operator("ReorderOutput", (), [7_000] * 3),
        ),
        runs_ns=[],
        source="a test",
    )
    times = group_costs.unit_times(it.source.units, profile)
    assert times[conv.name] == pytest.approx(4.0, abs=0.01)
    assert times[gemm.name] is None


@pytest.mark.usefixtures("in_no_time")
def test_the_next_recipe_is_taken_where_the_quantizer_fails(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = quantize.quantize_units

    def failing(source: Any, *given: Any) -> Any:
        if source.recipe.name == "u8s8-wide/1":
            raise KeyError("a tensor without a range")
        return real(source, *given)

    monkeypatch.setattr(quantize, "quantize_units", failing)
    asked = msgspec.structs.replace(exploring(job), recipes=["u8s8-wide/1", "u8s8/1"])
    found = explore.explored_by_any(asked, lambda step: None)
    assert {each.map.recipe for each in found.candidates} == {"u8s8/1"}


@pytest.mark.usefixtures("in_no_time")
def test_a_stopped_exploration_goes_on_where_it_was(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(step: str) -> None:
        if step.startswith("damage of group 2"):
            raise KeyboardInterrupt

    measured: list[int] = []
    real = judge.Explorer._damage_of

    def counting(it: Any, ranges: Any, names: Any) -> float:
        measured.append(len(names))
        return real(it, ranges, names)

    monkeypatch.setattr(judge.Explorer, "_damage_of", counting)
    with pytest.raises(KeyboardInterrupt):
        explore.explored_by_any(exploring(job), stopping)
    assert measured == [2, 2, 1]  # two ways to calibrate, then the first group
    journal = Path(exploring(job).journal)
    with journal.open("ab") as file:
        file.write(b'[["damage", "cut o')  # a line that the stop cut off

    again = msgspec.structs.replace(exploring(job), resume=True)
    found = explore.explored_by_any(again, lambda step: None)
    assert measured == [2, 2, 1, 1]  # the second group alone
    assert all(unit.damage is not None for unit in found.units)
    lines = journal.read_bytes().splitlines()
    assert all(msgspec.json.decode(line) for line in lines)

    whole = explore.explored_by_any(again, lambda step: None)
    assert len(measured) == 4
    assert [each.map for each in whole.candidates] == [each.map for each in found.candidates]
    assert {each.damage for each in whole.candidates} == {each.damage for each in found.candidates}

    explore.explored_by_any(exploring(job), lambda step: None)
    assert len(measured) == 8  # without --resume everything is measured anew


class Photos(Agreement):
    """Whose further draws show the same pictures again."""

    draws: ClassVar = ""
    test_draws: ClassVar = "the same pictures again"


@pytest.mark.usefixtures("in_no_time")
def test_draws_of_the_same_sources_are_tested_on_and_never_tuned_on(job: PrepareJob) -> None:
    photos = msgspec.structs.replace(job, task=f"{__file__}:Photos")
    found = explore.explored_by_any(
        msgspec.structs.replace(exploring(photos, floor=0.9)), lambda step: None
    )
    assert found.tuning_items == 0
    assert found.fp32_tuning == {}
    told = verify.verify(
        VerifyJob(
            prepare=photos,
            demands=[Demand(metric="agreement", limit=0.97, better="higher")],
            precisions=["int8-static"],
            confidence=0.95,
            threads=1,
            time_s=30.0,
        ),
        lambda step: None,
    )
    [verdict] = told.verdicts
    assert verdict.items > 60 or not verdict.held
    assert "the same pictures again" in verdict.tested_on or not verdict.held


@pytest.mark.usefixtures("in_no_time")
def test_where_products_take_most_of_the_time_they_are_quantised_at_run_time_first(
    job: PrepareJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = explore.explored_by_any(exploring(job), lambda step: None)
    assert [each.map.dynamic for each in found.candidates if each.map.dynamic]

    def timed(it: Any, ranges: Any) -> list[UnitFacts]:
        return [
            UnitFacts(name=unit.name, op=unit.op, joiner=False, fp32_us=us, int8_us=1.0, timed=True)
            for unit, us in zip(it.source.units.units, (10.0, 90.0), strict=True)
        ]

    monkeypatch.setattr(explore, "_timed", timed)
    monkeypatch.setattr(explore, "DAMAGED_OF_PRODUCTS", -1.0)  # there is no time for more than one
    steps: list[str] = []
    found = explore.explored_by_any(exploring(job), steps.append)
    assert [unit.damage is not None for unit in found.units] == [False, True]
    parts = [step for step in steps if step.startswith("quality of a map")]
    assert parts[:2] == [
        "quality of a map with 2 parts in int8",
        "quality of a map with 0 parts in int8",
    ]
