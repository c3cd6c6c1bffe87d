"""The log of any meter, attached to finished runs."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgebench.analysis.table import build_table
from edgebench.cli.energy_attach import command
from edgebench.energy.attach_log import Meter, attach, offset_of
from edgebench.energy.meter_log import read_log
from edgebench.errors import EdgebenchError, StoreError, UsageError
from edgebench.record import Marker, Record, encode
from edgebench.store import read_records
from edgebench.testing.power.curves import Line, Steps, energy_between
from tests.records import record, replicate

T0_S = 1_780_000_000.0  # Unix time at which the log begins
WINDOWS_S = (5.0, 15.0, 25.0)  # of three replicates, after T0
LENGTH_S = 3.0
QUERIES = 300
PULSES = ((0.0, 0.25), (0.4, 0.5), (0.8, 0.9), (1.0, 1.3), (1.5, 1.65))
IDLE_W, LOAD_W = 2.0, 9.0


def pulses_around(window_s: float) -> list[tuple[float, float]]:
    """A group before the window and one after it, in seconds after T0."""
    starts = (window_s - 2.5, window_s + LENGTH_S + 0.5)
    return [(start + a, start + b) for start in starts for a, b in PULSES]


def run_record(*, markers: bool = True) -> Record:
    """Three replicates whose windows are known by two clocks."""
    replicates = []
    for index, window_s in enumerate(WINDOWS_S):
        start_ns = 50_000_000_000 + round(window_s * 1e9)  # a monotonic clock of its own
        pulses = [
            Marker(
                start_unix_ns=round((T0_S + a) * 1e9),
                end_unix_ns=round((T0_S + b) * 1e9),
            )
            for a, b in pulses_around(window_s)
        ]
        replicates.append(
            replicate(
                index,
                [10_000_000] * QUERIES,
                window_ns=round(LENGTH_S * 1e9),
                window_start_ns=start_ns,
                window_end_ns=start_ns + round(LENGTH_S * 1e9),
                window_start_unix_ns=round((T0_S + window_s) * 1e9),
                queries=QUERIES,
                markers=pulses if markers else [],
            )
        )
    return record(replicates=replicates)


def machine() -> Steps:
    """True power after T0: idle, pulses, and windows at work."""
    spans = [(w, w + LENGTH_S) for w in WINDOWS_S]
    spans += [pulse for w in WINDOWS_S for pulse in pulses_around(w)]
    times, levels = [0.0], [IDLE_W]
    for start, end in sorted(spans):
        times += [start, end]
        levels += [LOAD_W, IDLE_W]
    return Steps(np.array(times), np.array(levels))


def rows(step_s: float = 0.01, until_s: float = 32.0) -> tuple[np.ndarray, np.ndarray]:
    """Times after T0 and mean watts of each row."""
    times = np.arange(1, int(until_s / step_s)) * step_s
    joules = machine().joules(np.concatenate(([0.0], times)))
    return times, np.diff(joules) / step_s


def write(path: Path, head: str, lines: list[str]) -> Path:
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


TRUE_J = LOAD_W * LENGTH_S / QUERIES


def invoke(tmp_path: Path, found: Record, log: Path, *arguments: str) -> tuple[Record, str]:
    result = tmp_path / "run.jsonl"
    result.write_bytes(encode(found))
    kept = result.read_bytes()
    out = tmp_path / "with.jsonl"
    done = CliRunner().invoke(
        command, [str(result), str(log), "-o", str(out), *arguments], catch_exceptions=False
    )
    assert result.read_bytes() == kept
    [attached] = read_records(out)
    return attached, done.output


def holds(attached: Record) -> None:
    energy = attached.energy
    assert (energy.status, energy.kind) == ("ok", "measured_external")
    assert energy.j_per_inference is not None
    assert energy.uncertainty_j is not None
    assert abs(energy.j_per_inference - TRUE_J) <= energy.uncertainty_j < 0.1 * TRUE_J


def iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(T0_S + seconds, timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("time_s,power_w", lambda t, w: f"{T0_S + t:.3f},{w:.4f}"),
        ("timestamp,power (mW)", lambda t, w: f"{(T0_S + t) * 1e3:.0f},{w * 1e3:.1f}"),
        ("Date;Power [W]", lambda t, w: f"{iso(t)};{w:.4f}".replace(".", ".")),
        ("Timestamp [s],Main current [mA],Main voltage [V]",
         lambda t, w: f"{T0_S + t:.3f},{w / 5 * 1e3:.3f},5.000"),
        ("Time(ms),USB(mA),USB Voltage(V)",
         lambda t, w: f"{(T0_S + t) * 1e3:.1f},{w / 5 * 1e3:.3f},5.000"),
        ("#time,current,voltage,power", lambda t, w: f"{T0_S + t:.3f},{w / 5:.5f},5,{w:.5f}"),
    ],
)  # fmt: skip
def test_every_form_by_the_clock(tmp_path: Path, head: str, line: Any) -> None:
    times, watts = rows()
    log = write(tmp_path / "log.csv", head, [line(t, w) for t, w in zip(times, watts, strict=True)])
    attached, said = invoke(tmp_path, run_record(markers=False), log, "--averages")
    holds(attached)
    assert "1 of 1 cells now have an energy" in said
    assert attached.energy.uncertainty is not None
    assert attached.energy.uncertainty.spread_j is not None
    assert attached.energy.caveats == ("accuracy not stated, and not included",)


def test_a_log_of_an_energy_counter_gives_the_energy(tmp_path: Path) -> None:
    times = np.arange(1, 3200, dtype=np.float64) * 0.01
    joules = machine().joules(times)
    lines = [f"{T0_S + t:.3f},{j / 3.6:.6f}" for t, j in zip(times, joules, strict=True)]
    log = write(tmp_path / "log.csv", "time,energy [mWh]", lines)
    attached, _ = invoke(tmp_path, run_record(markers=False), log)
    holds(attached)


def test_markers_find_the_offset_of_a_clock_that_counts_from_its_own_start(tmp_path: Path) -> None:
    times, watts = rows()
    rng = np.random.default_rng(0)
    noisy = watts + rng.normal(0, 0.3, len(watts))
    lines = [f"{t + 1234.5:.3f},{w:.4f}" for t, w in zip(times, noisy, strict=True)]
    log = write(tmp_path / "log.csv", "time,power", lines)
    alignment = offset_of(read_log(log), [run_record()], None)
    assert alignment.offset_s == pytest.approx(T0_S - 1234.5, abs=alignment.error_s)
    attached, said = invoke(tmp_path, run_record(), log, "--accuracy", "0.5%")
    holds(attached)
    assert attached.energy.caveats == ()
    assert "correlation 0.9" in said


@pytest.mark.parametrize("start_s", [1234.5, T0_S - 0.7])
def test_markers_find_the_offset_of_a_counter(tmp_path: Path, start_s: float) -> None:
    """Whether its clock counts from its own start, or is that of a computer which is 0.7 s behind."""
    times = np.arange(1, 3200, dtype=np.float64) * 0.01
    joules = machine().joules(times)
    cells = [f"{j:.4f}" if number % 50 else "" for number, j in enumerate(joules)]
    lines = [f"{t + start_s:.3f},{cell}" for t, cell in zip(times, cells, strict=True)]
    log = write(tmp_path / "log.csv", "time_s,energy_j", lines)
    alignment = offset_of(read_log(log), [run_record()], None)
    assert alignment.offset_s == pytest.approx(T0_S - start_s, abs=alignment.error_s)
    attached, _ = invoke(tmp_path, run_record(), log)
    holds(attached)


def test_an_offset_of_the_user_aligns_the_log(tmp_path: Path) -> None:
    times, watts = rows()
    lines = [f"{t:.3f},{w:.4f}" for t, w in zip(times, watts, strict=True)]
    log = write(tmp_path / "log.csv", "t,P", lines)
    attached, _ = invoke(tmp_path, run_record(markers=False), log, "--offset-s", str(T0_S))
    holds(attached)


@pytest.mark.parametrize("offset", ["nan", "inf", "x", "1e300"])
def test_an_offset_that_is_no_number(tmp_path: Path, offset: str) -> None:
    log = write(tmp_path / "log.csv", "t,P", ["1,2", "2,2", "3,2"])
    with pytest.raises(
        UsageError, match=f"--offset-s {offset}: this is neither `auto` nor a number"
    ):
        invoke(tmp_path, run_record(), log, "--offset-s", offset)


def problem(tmp_path: Path, text: str, found: Record | None = None, **options: Any) -> str:
    """What is said of a log with this text."""
    log = tmp_path / "bad.csv"
    log.write_text(text)
    records = [found or run_record(markers=False)]
    try:
        read = read_log(log, **options)
        attach(records, read, offset_of(read, records, None), Meter())
    except EdgebenchError as error:
        return str(error)
    raise AssertionError("it was taken")


def test_errors_in_a_log_name_its_line(tmp_path: Path) -> None:
    good = "time_s,power_w\n1,5\n2,5\n3,5\n"
    assert "bad.csv:3: power_w: 'x' is not a number" in problem(
        tmp_path, good.replace("2,5", "2,x")
    )
    assert "bad.csv:3: time does not advance" in problem(tmp_path, good.replace("2,5", "0.5,5"))
    assert "bad.csv:3: time_s: 'y' is not a number" in problem(tmp_path, good.replace("2,5", "y,5"))
    assert "no header row" in problem(tmp_path, "1,2\n2,2\n3,2\n")
    assert "too few for a log" in problem(tmp_path, "time_s,power_w\n1,5\n2,5\n")
    assert "no column of power, energy or current" in problem(
        tmp_path, "time_s,temperature\n1,5\n2,5\n3,5\n"
    )
    assert "current but no voltage" in problem(tmp_path, "time_s,current_a\n1,5\n2,5\n3,5\n")
    assert "several columns of power: CPU [W], GPU [W]" in problem(
        tmp_path, "time_s,CPU [W],GPU [W]\n1,5,4\n2,5,4\n3,5,4\n"
    )
    assert "no column 'total'" in problem(tmp_path, good, named={"power": "total"})
    assert "no markers to find" in problem(tmp_path, good)
    assert "empty" in problem(tmp_path, "")


def test_markers_that_are_not_there_are_not_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [f"{t:.2f},{w:.3f}" for t, w in zip(rows()[0], 5 + rng.normal(0, 1, 3199), strict=True)]
    text = "\n".join(["time_s,power_w", *lines])
    assert "do not stand out" in problem(tmp_path, text, run_record())


def test_a_log_of_another_day_covers_no_window(tmp_path: Path) -> None:
    lines = [f"{T0_S + 90_000 + t},{5.0}" for t in range(100)]
    said = problem(tmp_path, "\n".join(["time_s,power_w", *lines]))
    assert "no measured window has an energy" in said


@pytest.mark.parametrize("hours", [2, -7, 5.75])
def test_a_log_of_another_time_zone_says_so_and_how_to_fix_it(tmp_path: Path, hours: float) -> None:
    times, watts = rows()
    moved = T0_S - hours * 3600
    lines = [f"{moved + t:.3f},{w:.4f}" for t, w in zip(times, watts, strict=True)]
    text = "\n".join(["time_s,power_w", *lines])
    said = problem(tmp_path, text)
    assert f"it is {abs(hours):g} h {'behind' if hours > 0 else 'ahead of'} the run" in said
    assert f"--offset-s {hours * 3600:g}" in said
    log = write(tmp_path / "log.csv", "time_s,power_w", lines)
    attached, _ = invoke(
        tmp_path, run_record(markers=False), log, "--offset-s", f"{hours * 3600:g}"
    )
    holds(attached)


def test_times_that_an_offset_sends_beyond_all_clocks(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "time_s,power_w", ["8e9,2", "8000000001,2", "8000000002,2"])
    with pytest.raises(UsageError, match="not a possible time"):
        invoke(tmp_path, run_record(markers=False), log, "--offset-s", "8e9")


def test_a_log_of_years_is_not_searched_for_markers(tmp_path: Path) -> None:
    lines = [f"{number / 1000},2" for number in range(100)]
    said = problem(tmp_path, "\n".join(["time_s,power_w", *lines, "8e9,2"]), run_record())
    assert "too long to look for markers" in said


@pytest.mark.parametrize(("sign", "words"), [(0, "stayed at 0 W"), (-1, "-8.99 W; is the meter")])
def test_impossible_powers_are_refused(tmp_path: Path, sign: int, words: str) -> None:
    lines = [f"{T0_S + t:.2f},{sign * w:.3f}" for t, w in zip(*rows(), strict=True)]
    assert words in problem(tmp_path, "\n".join(["time_s,power_w", *lines]))


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "time_s,power_w", ["1,2", "2,2", "3,2"])
    out = tmp_path / "with.jsonl"
    out.write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        invoke(tmp_path, run_record(), log)
    assert out.read_text() == "precious"


def test_two_kinds_are_never_ranked_against_each_other(tmp_path: Path) -> None:
    from edgebench.energy.cell_energy import incomparable
    from edgebench.record import Energy

    rail = Energy(
        status="ok", j_per_inference=1.0, uncertainty_j=0.1, kind="measured_rail", scope="x"
    )
    external = Energy(
        status="ok", j_per_inference=1.0, uncertainty_j=0.1, kind="measured_external", scope="x"
    )
    assert not incomparable((rail, rail))
    assert incomparable((rail, external))
    assert incomparable((rail, Energy(status="unavailable", reason="no_sensor")))


def test_an_attached_row_takes_the_place_of_its_runs_own(tmp_path: Path) -> None:
    times, watts = rows()
    lines = [f"{T0_S + t:.3f},{w:.4f}" for t, w in zip(times, watts, strict=True)]
    log = write(tmp_path / "log.csv", "time_s,power_w", lines)
    own = run_record(markers=False)
    attached, _ = invoke(tmp_path, own, log)
    other = record({"precision": "int8"})
    for records in ([own, other, attached], [attached, other, own]):
        table = build_table(records)
        assert [row.id for row in table.rows] == [own.cell.id, other.cell.id]
        assert table.rows[0].energy.j_per_inference == attached.energy.j_per_inference
    # Without an attached one, nothing is taken for the same.
    assert len(build_table([own, own]).rows) == 2


def test_the_true_energy_of_the_example() -> None:
    assert energy_between(machine(), 5.0, 8.0) == pytest.approx(27.0)
    assert energy_between(Line(2.0), 0.0, 3.0) == pytest.approx(6.0)
    with pytest.raises(UsageError):
        read_log(Path("nowhere.csv"))
