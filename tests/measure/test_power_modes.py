"""Power modes as variants, on a board that is a tree and a tool of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from edgebench.analysis.table import build_table
from edgebench.api import run_request
from edgebench.backend import Backend
from edgebench.cli import cli
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import DeviceStateError, ExitCode, UnsupportedError, UsageError
from edgebench.measure.power_modes import PowerModes
from edgebench.measure.runner import SLICE_FACTOR, Means, Runner, Settings, Surroundings
from edgebench.measure.worker_messages import Done, Job
from edgebench.planning.cells import plan
from edgebench.planning.settings import parse_sets
from edgebench.probes.machine import Machine
from edgebench.store import JournalEntry
from edgebench.testing.models import two_by_two
from edgebench.testing.trees import write_tree
from tests.measure.test_runner import (
    A_RECORD,
    NOW_S,
    Keeper,
    Watcher,
    now,
    spread_launch,
    steady_launch,
    target,
)

TREE = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3",
    "etc/nvpmodel.conf": "# modes\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n\n"
    "< POWER_MODEL ID=1 NAME=10W >\n< POWER_MODEL ID=2 NAME=15W >\n< PM_CONFIG DEFAULT=2 >",
}
NAMES = {0: "MAXN", 1: "MODE_10W", 2: "MODE_15W"}


class Board:
    """A Jetson: nvpmodel -q and -m. `stuck`: modes that it does not take."""

    def __init__(self, root: Path, number: int = 2, stuck: Sequence[int] = ()) -> None:
        self.number = number
        self.stuck = set(stuck)
        self.set_to: list[int] = []
        self.machine = Machine.at(write_tree(root, TREE), run=self.ask, platform="linux")

    def ask(self, command: Sequence[str]) -> str | None:
        assert list(command) == ["nvpmodel", "-q"]
        return (
            f"NVPM WARN: fan mode is not set!\nNV Power Mode: {NAMES[self.number]}\n{self.number}\n"
        )

    def execute(self, command: Sequence[str]) -> str:
        assert list(command[:2]) == ["nvpmodel", "-m"]
        wanted = int(command[2])
        self.set_to.append(wanted)
        if wanted in self.stuck:
            return "reboot required"
        self.number = wanted
        return ""

    def modes(self) -> PowerModes:
        return PowerModes(self.machine, self.execute)


@pytest.mark.parametrize("wanted", ["1", "10W", "MODE_10W", "10w"])
def test_a_mode_is_set_by_number_or_name_read_back_and_put_back(
    tmp_path: Path, wanted: str
) -> None:
    board = Board(tmp_path)
    with board.modes() as modes:
        assert modes.enter(wanted) == "MODE_10W"
        assert board.number == 1
    assert board.number == 2
    assert board.set_to == [1, 2]


def test_the_mode_that_is_set_already_is_left_alone(tmp_path: Path) -> None:
    board = Board(tmp_path)
    with board.modes() as modes:
        assert modes.enter("2") == "MODE_15W"
    assert board.set_to == []


def enter(board: Board, wanted: str, then: Callable[[], object]) -> None:
    """Sets a mode, does something in it, and leaves."""
    with board.modes() as modes:
        modes.enter(wanted)
        then()


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("crash")])
def test_the_former_mode_comes_back_whatever_happens(tmp_path: Path, error: BaseException) -> None:
    board = Board(tmp_path)
    with pytest.raises(type(error)):
        enter(board, "0", lambda: fail(error))
    assert board.set_to == [0, 2]
    assert board.number == 2


def test_the_former_mode_comes_back_after_a_termination(tmp_path: Path) -> None:
    board = Board(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        enter(board, "0", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert board.number == 2
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_stop_what_puts_the_mode_back(
    tmp_path: Path, second: signal.Signals
) -> None:
    class Interrupted(Board):
        def execute(self, command: Sequence[str]) -> str:
            if int(command[2]) == 2:
                os.kill(os.getpid(), second)
            return super().execute(command)

    board = Interrupted(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        enter(board, "0", lambda: os.kill(os.getpid(), signal.SIGHUP))
    assert board.set_to == [0, 2]


@pytest.mark.parametrize(
    ("wanted", "words"), [("3", "0 (MAXN), 1 (10W), 2 (15W)"), ("50W", "no power mode '50W'")]
)
def test_an_unknown_power_mode_is_refused(tmp_path: Path, wanted: str, words: str) -> None:
    board = Board(tmp_path)
    with board.modes() as modes, pytest.raises(UnsupportedError) as caught:
        modes.enter(wanted)
    assert words in caught.value.message
    assert board.set_to == []


def test_a_mode_that_is_not_accepted_makes_the_variant_unsupported(tmp_path: Path) -> None:
    board = Board(tmp_path, stuck=[0])
    with board.modes() as modes, pytest.raises(UnsupportedError, match="reboot required") as caught:
        modes.enter("0")
    assert "the mode is MODE_15W" in caught.value.message
    assert caught.value.fix


def test_a_machine_without_nvpmodel(tmp_path: Path) -> None:
    modes = PowerModes(Machine.at(tmp_path), lambda _: pytest.fail("changed something"))
    with modes, pytest.raises(UnsupportedError, match="no power modes"):
        modes.enter("0")


def test_a_mode_that_could_not_be_put_back_is_not_set(tmp_path: Path) -> None:
    silent = Machine.at(write_tree(tmp_path, TREE), run=lambda _: None)
    modes = PowerModes(silent, lambda _: pytest.fail("changed something"))
    with modes, pytest.raises(UnsupportedError, match="cannot be read"):
        modes.enter("0")


def test_a_former_mode_that_does_not_come_back_is_an_error_with_its_fix(tmp_path: Path) -> None:
    board = Board(tmp_path)
    with pytest.raises(DeviceStateError, match="could not be restored: it is MAXN") as caught:
        enter(board, "0", lambda: board.stuck.add(2))
    assert caught.value.fix == "sudo nvpmodel -m 2"


# In a campaign


def asking(name: str, mode: str | int | None) -> Any:
    made = target(name)
    variant = {"precision": "fp32"} if mode is None else {"precision": "fp32", "power_mode": mode}
    made.cell = msgspec.structs.replace(made.cell, id=name, variant=variant)
    return made


def campaign(targets: list[Any], board: Board, launch: Any, keeper: Keeper) -> Runner:
    return Runner(
        targets,
        Settings(),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        0.0,
        Means(launch, power_modes=board.modes()),
    )


def test_cells_of_one_mode_take_turns_and_each_was_measured_in_its_mode(tmp_path: Path) -> None:
    board, keeper = Board(tmp_path), Keeper()
    measured_in: list[int] = []

    def launch(job: Job, **_: Any) -> Done:
        measured_in.append(board.number)
        return steady_launch(job)

    targets = [asking("a", 0), asking("b", 1), asking("c", 0), asking("d", None)]
    campaign(targets, board, launch, keeper).measure()
    cells = [entry.cell for entry in keeper.entries]
    assert [set(cells[start : start + 2]) for start in (0, 2, 4)] == [{"a", "c"}] * 3
    assert cells[6:] == ["b"] * 3 + ["d"] * 3
    assert measured_in == [0] * 6 + [1] * 3 + [2] * 3
    records = {record.cell.id: record for record in keeper.records}
    assert {name: record.power_mode for name, record in records.items()} == {
        "a": "MAXN",
        "b": "MODE_10W",
        "c": "MAXN",
        "d": None,
    }
    assert [r.power_mode for r in records["b"].replicates] == ["MODE_10W"] * 3
    row = build_table([records["b"]]).rows[0]
    assert row.power_mode == "MODE_10W"


def test_the_first_mode_leaves_the_others_what_they_need_of_the_budget(tmp_path: Path) -> None:
    board, keeper = Board(tmp_path), Keeper()
    windows: list[tuple[str, float]] = []

    def launch(job: Job, **_: Any) -> Done:
        made._started_s -= SLICE_FACTOR * job.slice_s
        windows.append((job.backend, job.slice_s))
        return spread_launch(job)

    targets = [asking("a", 0), asking("b", 1)]
    for target_ in targets:
        target_.job = msgspec.structs.replace(target_.job, backend=target_.cell.id)
    made = Runner(
        targets,
        Settings(budget_s=100.0, slice_s=8.0),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        keeper,
        Watcher(),
        NOW_S,
        Means(launch, power_modes=board.modes(), clock=now),
    )
    made.measure()
    assert [name for name, _ in windows[:6]] == ["a"] * 3 + ["b"] * 3
    assert all(slice_s == 8.0 for _, slice_s in windows[:6])
    assert len(windows) > 6  # and then what is left goes into precision


def test_a_mode_that_cannot_be_had_makes_its_cells_unsupported_and_no_others(
    tmp_path: Path,
) -> None:
    board, keeper = Board(tmp_path, stuck=[0]), Keeper()
    campaign([asking("a", 0), asking("b", 1)], board, steady_launch, keeper).measure()
    records = {record.cell.id: record for record in keeper.records}
    assert records["a"].status == "unsupported"
    assert records["a"].reasons[0].code == "power_mode_unavailable"
    assert records["a"].replicates == []
    assert records["b"].status == "ok"


def test_measured_replicates_are_kept_when_their_power_mode_becomes_unavailable(
    tmp_path: Path,
) -> None:
    board, keeper = Board(tmp_path, stuck=[0]), Keeper()
    resumed = asking("a", 0)
    resumed.entries.append(JournalEntry(cell="a", replicate=steady_launch(resumed.job).replicate))
    campaign([resumed], board, steady_launch, keeper).measure()
    (record,) = keeper.records
    assert (record.status, len(record.replicates)) == ("ok", 1)
    assert [reason.code for reason in record.reasons] == ["power_mode_unavailable"]


def test_ctrl_c_in_a_replicate_puts_the_former_mode_back(tmp_path: Path) -> None:
    board = Board(tmp_path)

    def launch(job: Job, **_: Any) -> Done:
        assert board.number == 0
        raise KeyboardInterrupt

    modes = board.modes()
    made = Runner(
        [asking("a", 0)],
        Settings(),
        Surroundings(A_RECORD.run, A_RECORD.device, []),
        Keeper(),
        Watcher(),
        0.0,
        Means(launch, power_modes=modes),
    )
    stopped = run_request.measure_all(made, modes)
    assert isinstance(stopped, KeyboardInterrupt)
    assert board.number == 2


# On the command line


def planned(*sets: str, allowed: bool) -> list[Any]:
    from edgebench import registry

    def load(name: str) -> Backend:
        return registry.load(name)

    workload = load_workloads()["voice-activity"]
    return plan(
        [workload], ["null"], sets=parse_sets(sets), set_power_mode=allowed, load_backend=load
    )


def test_a_power_mode_without_the_switch_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError) as caught:
        planned("power_mode=0,1", allowed=False)
    assert "--set-power-mode" in caught.value.fix


def test_the_switch_without_a_power_mode_is_an_error() -> None:
    with pytest.raises(UsageError, match="needs the axis power_mode"):
        planned("batch=1", allowed=True)


def test_power_modes_are_an_axis_of_cells_and_no_option_of_a_backend() -> None:
    cells = planned("power_mode=0,15W", "precision=fp32", allowed=True)
    modes = [cell.variant["power_mode"] for cell in cells]
    assert set(modes) == {0, "15W"}
    assert all("power_mode" not in cell.options for cell in cells)
    assert all("power_mode=" in cell.id for cell in cells)
    assert all(cell.unsupported is None for cell in cells)


def test_a_run_in_two_modes_ends_in_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path / "board")
    monkeypatch.setattr(run_request, "PowerModes", board.modes)
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        cli,
        ["run", "--model", str(two_by_two().write(tmp_path).path), "--set", "power_mode=0,10W",
         "--set-power-mode", "--replicates", "1", "--slice", "0.1s", "--format", "json"],
        standalone_mode=False,
    )  # fmt: skip
    assert done.exception is None, done.exception
    rows = json.loads(done.stdout)["rows"]
    assert [(row["status"], row["power_mode"]) for row in rows] == [
        ("ok", "MAXN"),
        ("ok", "MODE_10W"),
    ]
    assert board.set_to == [0, 1, 2]


def test_a_former_mode_that_does_not_come_back_is_told_and_the_table_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path / "board", stuck=[2])
    monkeypatch.setattr(run_request, "PowerModes", board.modes)
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        cli,
        ["run", "--model", str(two_by_two().write(tmp_path).path), "--set", "power_mode=0",
         "--set-power-mode", "--replicates", "1", "--slice", "0.1s", "--format", "json"],
        standalone_mode=False,
    )  # fmt: skip
    assert done.return_value == ExitCode.DEVICE_STATE
    assert json.loads(done.stdout)["rows"][0]["power_mode"] == "MAXN"
    assert "could not be restored" in done.stderr
    assert "sudo nvpmodel -m 2" in done.stderr
