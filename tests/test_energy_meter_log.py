"""What a meter's log says, by the names of its columns: nothing is off by a thousand, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgebench.cli.energy_attach import command
from edgebench.errors import UsageError
from edgebench.probes.energy.meter_log import MeterLog, read_log
from edgebench.record import encode
from tests.test_energy_attach import T0_S, run_record


def log_of(tmp_path: Path, text: str, **options: Any) -> MeterLog:
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    return read_log(path, **options)


def refusal(tmp_path: Path, text: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        log_of(tmp_path, text, **options)
    return str(caught.value)


def rows(head: str, *cells: str) -> str:
    """A log of four rows a second apart: `cells` are those after the time."""
    return "\n".join([head, *(",".join([str(number), *cells]) for number in range(1, 5))])


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("power (milliwatts)", 2.0),
        ("Power [nW]", 2e-6),
        ("power_mw_avg", 2.0),
        ("avg power mw", 2.0),
        ("power_kw", 2e6),
        ("Watts", 2000.0),
        ("P-1 [uW] (USB)", 2e-3),
        ("µW power", 2e-3),
    ],
)
def test_the_unit_of_power_wherever_the_name_has_it(
    tmp_path: Path, name: str, watts: float
) -> None:
    log = log_of(tmp_path, rows(f"time_s,{name}", "2000"))
    assert log.values.tolist() == pytest.approx([watts] * 4)
    assert log.resolution == pytest.approx(watts / 2000)
    assert log.assumed == ()


def test_the_unit_of_current_energy_and_time(tmp_path: Path) -> None:
    for name, amperes in {
        "Current (mA) CH1": 2e-3,
        "current_milliamps": 2e-3,
        "i_na": 2e-9,
    }.items():
        log = log_of(tmp_path, rows(f"time_s,{name}", "2"), volts=5.0)
        assert log.values.tolist() == pytest.approx([5 * amperes] * 4)
    for name, joules in {"energy (µWh)": 0.0036, "Energy [nJ]": 1e-9, "energy_kwh": 3.6e6}.items():
        counter = log_of(tmp_path, rows(f"time_s,{name}", "1"))
        assert (counter.quantity, counter.values[0]) == ("energy", pytest.approx(joules))
    for name, seconds in {"Time (h)": 3600.0, "elapsed minutes": 60.0, "t [ms]": 1e-3}.items():
        assert log_of(tmp_path, rows(f"{name},power_w", "1")).period_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "name",
    [
        "power (dBm)",
        "power_dbm",
        "power (mW/h)",
        "power (0.1 mW)",
        "power mw (avg W)",
        "power [mW] [W]",
        "power (mA)",
        "power_w_mw",
        "power (%)",
        "power_\ufffdw",
    ],
)
def test_a_unit_that_is_not_known_is_no_watt(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, rows(f"time_s,{name}", "2"))
    assert f"log.csv:1: the unit of {name!r} is not understood" in said
    assert "rename it" in said
    assert "is not understood" in refusal(tmp_path, rows(f"time (weeks),{name}", "2"))


def test_only_a_name_without_a_unit_is_taken_in_the_base_unit_and_that_is_said(
    tmp_path: Path,
) -> None:
    log = log_of(tmp_path, rows("time,Main Power", "2"))
    assert (log.values[0], log.assumed) == (2.0, ("time in s", "Main Power in W"))
    clock = log_of(tmp_path, f"t,p\n{T0_S * 1e3},1\n{T0_S * 1e3 + 500},1\n{T0_S * 1e3 + 999},1\n")
    assert clock.times_s[0] == pytest.approx(T0_S)
    assert (clock.absolute, clock.assumed[0]) == (True, "t in ms")

    result = tmp_path / "run.jsonl"
    result.write_bytes(encode(run_record(markers=False)))
    text = "\n".join(["time,power", *(f"{T0_S + number / 100},9" for number in range(3200))])
    log_of(tmp_path, text)
    done = CliRunner().invoke(command, [str(result), str(tmp_path / "log.csv")])
    assert "names without a unit were taken so: time in s, power in W" in done.output


def test_a_named_column_has_the_unit_of_its_name(tmp_path: Path) -> None:
    assert "say --power-column" in refusal(tmp_path, rows("time_s,board_mw", "2000"))
    log = log_of(tmp_path, rows("time_s,board_mw", "2000"), named={"power": "board_mw"})
    assert log.values[0] == pytest.approx(2.0)
    said = refusal(tmp_path, rows("time_s,board", "2000"), named={"power": "board_x"})
    assert "no column 'board_x'" in said
    for unknown in ("rack", "VDD [mA]"):
        said = refusal(tmp_path, rows(f"time_s,{unknown}", "2"), named={"power": unknown})
        assert f"the unit of {unknown!r} is not understood as one of power" in said
    twice = rows("time_s,w,w", "1", "2")
    assert "several columns are called 'w'" in refusal(tmp_path, twice, named={"power": "w"})


def test_what_the_user_names_is_what_is_read(tmp_path: Path) -> None:
    text = rows("time_s,power_w,e_j,ch2_current_a,ch2_voltage_v", "70", "3", "2", "5")
    assert log_of(tmp_path, text).values[0] == 70
    channel = log_of(tmp_path, text, named={"current": "ch2_current_a", "voltage": "ch2_voltage_v"})
    assert (channel.values[0], channel.columns) == (10.0, "ch2_current_a x ch2_voltage_v")
    assert log_of(tmp_path, text, named={"voltage": "ch2_voltage_v"}).values[0] == 10
    counter = log_of(tmp_path, text, named={"energy": "e_j"})
    assert (counter.quantity, counter.columns) == ("energy", "e_j")
    assert log_of(tmp_path, text, volts=4.0).values[0] == 8


def test_words_of_the_user_that_contradict_each_other(tmp_path: Path) -> None:
    text = rows("time_s,power_w,current_a,voltage_v", "70", "2", "5")
    assert "power and current are named" in refusal(
        tmp_path, text, named={"power": "power_w"}, volts=5.0
    )
    assert "--volts and --voltage-column" in refusal(
        tmp_path, text, named={"voltage": "voltage_v"}, volts=5.0
    )
    assert "no column of current" in refusal(tmp_path, rows("time_s,power_w", "70"), volts=5.0)


def test_several_columns_of_what_is_not_read_are_no_problem(tmp_path: Path) -> None:
    text = rows("time_s,cpu_power_w,gpu_power_w,energy_j", "1", "2", "3")
    assert "several columns of power" in refusal(tmp_path, text)
    assert log_of(tmp_path, text, named={"energy": "energy_j"}).values[0] == 3


@pytest.mark.parametrize("mark", [";", "\t"])
def test_decimal_commas(tmp_path: Path, mark: str) -> None:
    lines = ["time_s;current_a;voltage_v", *(f"{second},5;0,25;5,0" for second in range(4))]
    log = log_of(tmp_path, "\n".join(lines).replace(";", mark))
    assert log.times_s.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert log.values.tolist() == [1.25] * 4


def test_damaged_logs_are_refused_with_a_reason(tmp_path: Path) -> None:
    assert "empty" in refusal(tmp_path, "# a\n")
    assert "empty" in refusal(tmp_path, "# a\n# b\n")
    for bad in ("nan", "inf"):
        said = refusal(tmp_path, f"time_s,power_w\n1,5\n{bad},5\n3,5\n4,5\n")
        assert f"log.csv:3: time_s: '{bad}' is no number" in said
    said = refusal(tmp_path, "time_s,power_w\n1780000000000,5\n1780000000010,5\n1780000000020,5\n")
    assert "log.csv:2: time_s: 1780000000000 is no time: it would be 1.78e+12 s" in said
    assert "'inf' is no number" in refusal(tmp_path, rows("time_s,power_w", "inf"))
    assert "power_w: 0 rows have a value" in refusal(tmp_path, rows("time_s,power_w", ""))
    empty = rows("time_s,current_a,voltage_v", "", "5")
    assert "current_a x voltage_v: 0 rows have a value" in refusal(tmp_path, empty)
    (tmp_path / "wide.csv").write_text(rows("time_s,power_w", "1"), encoding="utf-16")
    with pytest.raises(UsageError, match="UTF-8"):
        read_log(tmp_path / "wide.csv")
    long = rows("time_s,power_w", '"' + "1" * 200_000 + '"')
    assert "no CSV: field larger" in refusal(tmp_path, long)


def test_a_file_of_an_older_program_keeps_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(rows("time_s,current_µa", "2").encode("latin-1"))
    assert read_log(path, volts=5.0).values[0] == pytest.approx(1e-5)


@pytest.mark.parametrize("fraction", ["", ".5", ".50", ".500", ".5000000", ".500000000", ",5"])
def test_fractions_of_a_second_of_any_length(tmp_path: Path, fraction: str) -> None:
    text = "\n".join(
        ["time;power_w", *(f"2026-05-01T10:00:0{second}{fraction}Z;1" for second in range(4))]
    )
    log = log_of(tmp_path, text)
    assert log.absolute
    assert log.times_s[0] % 60 == (0.5 if fraction else 0)
    assert log.period_s == 1.0
