"""One pair, but for the order of words with real processes: who is where when, what is blamed for an end, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.ab_test import pair_runner
from edgebench.ab_test.ab_cells import make_ab_cells
from edgebench.ab_test.arm_messages import CHECK, END, OPEN, ArmJob, Checked, Loaded, Ready
from edgebench.ab_test.pair_record import Pair, Side
from edgebench.ab_test.pair_runner import ArmSpec, PairFailed, PairPlan, run_pair
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.variant_spec import parse_side
from edgebench.energy.energy_window import SourceFacts
from edgebench.energy.run_meter import Meter, SampledMeter
from edgebench.energy.source import Sample
from edgebench.measure import cpu_pinning
from edgebench.testing.models import two_by_two
from tests.ab_test.pairs import measured

FAULTS = "edgebench.testing.faults"
CORES = cpu_pinning.available()[:1]
needs_pinning = pytest.mark.skipif(not CORES, reason="cores cannot be pinned here")

#: A backend that writes where its threads may run: the main one, and one that its import started.
PLACES = """
import json, os, threading, time
from edgebench.backend import Backend
from edgebench.testing.faults import FaultyBackend, FaultySession

seen, threads = {}, []

def note(when):
    seen.setdefault(when, sorted(os.sched_getaffinity(0)))
    seen.setdefault(when + ", thread", sorted(os.sched_getaffinity(threads[0])))

class Session(FaultySession):
    def work(self, prepared):
        note("run")
        return super().work(prepared)
    def outputs_of(self, prepared, raw):
        seen.pop("check", None)  # the last of them
        seen.pop("check, thread", None)
        note("check")
        with open(f"@FOLDER@/{os.getpid()}.json", "w") as file:
            json.dump(seen, file)
        return super().outputs_of(prepared, raw)

class Places(FaultyBackend):
    session = Session
    def import_runtime(self):
        def idle():
            threads.append(threading.get_native_id())
            time.sleep(600)
        threading.Thread(target=idle, daemon=True).start()
        while not threads:
            time.sleep(0.01)
        note("import")
        return "1"
    def open(self, model, options):
        note("open")
        return super().open(model, options)
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


def arms_of(folder: Path, base: str = "null", head: str = "null") -> dict[Side, ArmSpec]:
    model = str(two_by_two().write(folder).path)
    request = Request(workloads=[], base=parse_side([model, base]), head=parse_side([head]))
    [ab_cell] = make_ab_cells(request, folder / "cache")
    assert ab_cell.arms is not None, ab_cell.failure
    return {side: spec.in_folder(folder, side) for side, spec in ab_cell.arms.items()}


def measure(
    arms: dict[Side, ArmSpec],
    *,
    available_bytes: Callable[[], int | None] = lambda: None,
    meter: Meter | None = None,
    **changes: Any,
) -> Pair:
    plan = PairPlan(cell="demo", index=0, first="base", cores=CORES, quality=False, rounds=2)
    return run_pair(arms, replace(plan, **changes), available_bytes, meter)


# Places


@needs_pinning
def test_an_arm_and_the_threads_of_its_imports_move_to_the_measured_core_before_the_model_opens(
    tmp_path: Path,
) -> None:
    (tmp_path / "places.py").write_text(PLACES.replace("@FOLDER@", str(tmp_path)))
    backend = f"{tmp_path / 'places.py'}:Places"
    everywhere = cpu_pinning.available()
    measure(arms_of(tmp_path, backend, backend))
    found = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert len(found) == 2
    for seen in found:
        assert len(seen["import"]) == len(CORES)  # a runtime that counts cores finds as many
        for when in ("open", "run"):
            assert seen[when] == seen[f"{when}, thread"] == CORES
        assert seen["check"] == seen["check, thread"] == everywhere
    if len(everywhere) > 1:
        assert found[0]["import"] != found[1]["import"]


def test_a_core_is_borrowed_for_a_moment_and_never_from_another_job(tmp_path: Path) -> None:
    def lent(*held: int) -> tuple[int, ...]:
        with cpu_pinning.borrow(held, among=[0, 1, 2], folder=tmp_path, root=tmp_path) as found:
            return found

    assert lent(1) == (0,)
    assert lent(1) == (0,)  # the first one was given back
    assert lent(1, 2) == (1, 2)  # there are not as many
    assert lent() == ()
    fds = cpu_pinning._take(["0"], 1, tmp_path)
    assert lent(1) == (2,)
    cpu_pinning._release(fds.values())


def test_a_core_is_borrowed_of_the_same_memory_node_alone(tmp_path: Path) -> None:
    for core, node in enumerate((0, 1, 0)):
        (tmp_path / f"sys/devices/system/cpu/cpu{core}/node{node}").mkdir(parents=True)
    for held, expected in ((0, 2), (1, 1), (2, 0)):
        with cpu_pinning.borrow([held], among=[0, 1, 2], folder=tmp_path, root=tmp_path) as found:
            assert found == (expected,)


# The order of words


class Told:
    """Takes the place of an arm; writes down what it is told and answers as one would."""

    log: list[tuple[str, str]]

    def __init__(self, side: Side, job: ArmJob, *_: Any) -> None:
        self._side = side
        self.log.append((side, "start"))

    def send(self, line: bytes) -> None:
        known = {OPEN: "open", CHECK: "check", END: "end"}
        self.log.append((self._side, known.get(line, "begin")))

    def block(self) -> None:
        self.log.append((self._side, "block"))

    def expect(self, kind: Any) -> Any:
        self.log.append((self._side, kind.__name__))
        if kind is Loaded:
            return Loaded(typical_ns=10**7, resident_bytes=100, device=False)
        return {Ready: Ready(), Checked: Checked()}.get(kind) or measured()

    def disturbed(self) -> None:
        self.log.append((self._side, "stopped?"))

    def clock(self) -> pair_runner._Clock:
        return pair_runner._Clock(0, [])

    def end(self) -> None:
        self.log.append((self._side, "gone"))


def test_models_open_one_after_the_other_once_both_arms_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Told.log = []
    monkeypatch.setattr(pair_runner, "_Arm", Told)

    def room() -> int:
        Told.log.append(("-", "room"))
        return 10**9

    arms = arms_of(tmp_path)
    measure(arms, first="head", rounds=1, available_bytes=room)
    h, b = "head", "base"
    assert Told.log == [
        (h, "start"), (b, "start"), (h, "Ready"), (b, "Ready"),
        (h, "open"), (h, "Loaded"), ("-", "room"), (b, "open"), (b, "Loaded"),
        (h, "begin"), (b, "begin"), (h, "block"), (b, "block"), (h, "end"), (b, "end"),
        (h, "end"), (b, "end"),  # no window of energy
        (h, "stopped?"), (b, "stopped?"),
        (h, "check"), (h, "Checked"), (b, "check"), (b, "Checked"), (h, "end"), (b, "end"),
        (h, "Measured"), (b, "Measured"), (h, "gone"), (b, "gone"),
    ]  # fmt: skip


# Ends before their time


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize(
    ("fault", "phase"),
    [("HangAtImport", "import of the runtime"), ("HangAtOpen", "load of the model")],
)
def test_a_hang_is_of_the_arm_and_the_phase_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: Side, fault: str, phase: str
) -> None:
    """Patience ends soon there alone: a slow machine takes its time for everything else."""

    class Arm(pair_runner._Arm):
        def _waits_s(self, limit_s: float) -> float:
            return 1.0 if (self._side, self._child.phase) == (side, phase) else limit_s

    monkeypatch.setattr(pair_runner, "_Arm", Arm)
    arms = arms_of(tmp_path, **{side: f"{FAULTS}:{fault}"})
    with pytest.raises(PairFailed) as failed:
        measure(arms)
    assert failed.value.side == side
    assert failed.value.reason.code == "timed_out"
    assert phase in failed.value.reason.message


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize("first", ["base", "head"])
def test_a_death_while_importing_is_of_the_arm_that_died(
    tmp_path: Path, side: Side, first: Side
) -> None:
    backend = tmp_path / "dies.py"
    backend.write_text(
        "import os\nfrom edgebench.testing.faults import FaultyBackend\n"
        "class Dies(FaultyBackend):\n    def import_runtime(self):\n        os._exit(7)\n"
    )
    arms = arms_of(tmp_path, **{side: f"{backend}:Dies"})
    with pytest.raises(PairFailed) as failed:
        measure(arms, first=first)
    assert failed.value.side == side
    assert "exited with code 7 during import of the runtime" in failed.value.reason.message


def test_an_arm_that_gets_no_memory_is_no_unsupported_one(tmp_path: Path) -> None:
    backend = tmp_path / "large.py"
    backend.write_text(
        "from edgebench.errors import UnsupportedError\n"
        "from edgebench.testing.faults import FaultyBackend\n"
        "class Large(FaultyBackend):\n    def open(self, model, options):\n"
        "        raise UnsupportedError('load failed: std::bad_alloc')\n"
    )
    with pytest.raises(PairFailed, match="bad_alloc") as failed:
        measure(arms_of(tmp_path, head=f"{backend}:Large"))
    assert (failed.value.status, failed.value.reason.code) == ("failed", "out_of_memory")


def test_text_on_the_pipe_of_results_is_the_failure_of_the_arm_that_wrote_it(
    tmp_path: Path,
) -> None:
    backend = tmp_path / "talks.py"
    backend.write_text(
        "import os, sys\nfrom edgebench.testing.faults import FaultyBackend\n"
        "class Talks(FaultyBackend):\n    def import_runtime(self):\n"
        "        os.write(int(sys.argv[2]), b'hello\\n')\n        return '1'\n"
    )
    with pytest.raises(PairFailed, match="during import of the runtime: hello") as failed:
        measure(arms_of(tmp_path, head=f"{backend}:Talks"))
    assert (failed.value.side, failed.value.reason.code) == ("head", "garbled")


def test_where_there_is_no_room_the_second_model_is_not_opened(tmp_path: Path) -> None:
    """It would hang, and does not come to that."""
    arms = arms_of(tmp_path, head=f"{FAULTS}:HangAtOpen")
    with pytest.raises(PairFailed, match="both arms do not fit in memory together") as failed:
        measure(arms, available_bytes=lambda: 1000)
    assert failed.value.side == "head"


def test_where_nothing_can_be_pinned_a_pair_runs_all_the_same(tmp_path: Path) -> None:
    assert measure(arms_of(tmp_path), cores=()).cores == []


# Energy


class Readings:
    """Takes the place of the process that reads a meter: 10 W every 10 ms, however busy this machine is."""

    alive = True
    facts = SourceFacts(
        name="ina3221", kind="measured_rail", quantity="power", scope="module",
        total_rail="VDD_IN", period_s=0.01, resolution=0.001,
    )  # fmt: skip

    def __init__(self) -> None:
        self.windows: list[tuple[int, int]] = []

    def between(self, start_ns: int, end_ns: int, margin_s: float) -> list[Sample]:
        self.windows.append((start_ns, end_ns))
        margin_ns = round(margin_s * 1e9)
        moments = range(start_ns - margin_ns, end_ns + margin_ns, 10**7)
        return [Sample(at, at + 1000, 10.0) for at in moments]


def test_a_pair_has_the_energy_of_either_arm_running_alone(tmp_path: Path) -> None:
    readings: Any = Readings()
    meter = SampledMeter(readings)
    found = measure(arms_of(tmp_path), meter=meter)
    first, second = readings.windows
    assert first[1] <= second[0]
    assert all(end - start >= meter.needed_s * 1e9 for start, end in readings.windows)
    for arm, (start, end) in ((found.base, first), (found.head, second)):
        energy = arm.energy
        assert energy is not None
        assert (energy.status, energy.total_rail, energy.trace) == ("ok", "VDD_IN", None)
        assert energy.energy_j is not None
        assert energy.energy_j == pytest.approx(10 * (end - start) / 1e9, rel=0.01)
        assert energy.inferences is not None
        assert energy.inferences > 0
        assert energy.j_per_inference == pytest.approx(energy.energy_j / energy.inferences)


# Inputs


def test_inputs_are_made_in_the_first_pair_and_read_in_the_others(tmp_path: Path) -> None:
    """The second pair has no task that could make them."""
    task = tmp_path / "mine.py"
    task.write_text("from edgebench.tasks.seeded_inputs import TASK\nclass Mine(TASK):\n    pass\n")
    arms = {
        side: ArmSpec(msgspec.structs.replace(spec.job, task=f"{task}:Mine"), spec.interpreter)
        for side, spec in arms_of(tmp_path).items()
    }
    arms = {side: spec.in_folder(tmp_path, side) for side, spec in arms.items()}
    measure(arms)
    task.unlink()
    again = measure(arms, index=1)
    assert again.base.output_check.passed
    assert again.head.output_check.passed
    Path(arms["base"].items).unlink()
    with pytest.raises(PairFailed, match=r"mine\.py"):
        measure(arms, index=2)


def test_cells_share_inputs_only_where_they_are_the_same(tmp_path: Path) -> None:
    spec = arms_of(tmp_path)["base"]
    replace = msgspec.structs.replace

    def file(**changes: Any) -> str:
        return (
            ArmSpec(replace(spec.job, **changes), spec.interpreter).in_folder(tmp_path, "x").items
        )

    assert file(backend="ort", precision="fp16", model_path="other") == spec.items
    assert len({spec.items, file(seed=5), file(batch=2), file(task_options={"a": 1})}) == 4
    native: dict[str, Any] = {"fp32_inputs": []}  # described by its own model
    assert file(**native) != file(**native, model_path="other")
