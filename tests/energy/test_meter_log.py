"""What a meter's log says, by the names of its columns: nothing is off by a thousand, or refused."""

from __future__ import annotations

import gzip
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgebench.cli.energy_attach import command
from edgebench.energy import meter_log
from edgebench.energy.error_budget import combined
from edgebench.energy.meter_log import MeterLog, read_log
from edgebench.errors import UsageError
from edgebench.record import encode
from tests.energy.test_attach_log import T0_S, run_record


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
    assert f"log.csv:1: the unit of {name!r} is not a known unit" in said
    assert "rename it" in said
    assert "is not a known unit" in refusal(tmp_path, rows(f"time (weeks),{name}", "2"))


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
    assert "assumed, as the log does not say it: time in s, power in W" in done.output


def test_a_named_column_has_the_unit_of_its_name(tmp_path: Path) -> None:
    assert "name it with --power-column" in refusal(tmp_path, rows("time_s,board_mw", "2000"))
    log = log_of(tmp_path, rows("time_s,board_mw", "2000"), named={"power": "board_mw"})
    assert log.values[0] == pytest.approx(2.0)
    said = refusal(tmp_path, rows("time_s,board", "2000"), named={"power": "board_x"})
    assert "no column 'board_x'" in said
    for unknown in ("rack", "VDD [mA]"):
        said = refusal(tmp_path, rows(f"time_s,{unknown}", "2"), named={"power": unknown})
        assert f"the unit of {unknown!r} is not a known unit of power" in said
    twice = rows("time_s,w,w", "1", "2")
    assert "several columns are called 'w'" in refusal(tmp_path, twice, named={"power": "w"})


def test_columns_that_the_user_names_are_read(tmp_path: Path) -> None:
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
def test_logs_with_decimal_commas_are_read(tmp_path: Path, mark: str) -> None:
    lines = ["time_s;current_a;voltage_v", *(f"{second},5;0,25;5,0" for second in range(4))]
    log = log_of(tmp_path, "\n".join(lines).replace(";", mark))
    assert log.times_s.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert log.values.tolist() == [1.25] * 4


def test_damaged_logs_are_refused_with_a_reason(tmp_path: Path) -> None:
    assert "empty" in refusal(tmp_path, "# a\n")
    assert "empty" in refusal(tmp_path, "# a\n# b\n")
    for bad in ("nan", "inf"):
        said = refusal(tmp_path, f"time_s,power_w\n1,5\n{bad},5\n3,5\n4,5\n")
        assert f"log.csv:3: time_s: '{bad}' is not a number" in said
    said = refusal(tmp_path, "time_s,power_w\n1780000000000,5\n1780000000010,5\n1780000000020,5\n")
    assert "log.csv:2: time_s: 1780000000000 is not a time: it would be 1.78e+12 s" in said
    assert "'inf' is not a number" in refusal(tmp_path, rows("time_s,power_w", "inf"))
    assert "power_w: 0 rows have a value" in refusal(tmp_path, rows("time_s,power_w", ""))
    empty = rows("time_s,current_a,voltage_v", "", "5")
    assert "current_a x voltage_v: 0 rows have a value" in refusal(tmp_path, empty)
    long = rows("time_s,power_w", '"' + "1" * 200_000 + '"')
    assert "not a CSV file: field larger" in refusal(tmp_path, long)


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


# --- numbers of other places


def column(texts: list[str], head: str = "time_s,power_mw", delimiter: str = ",") -> str:
    """A log of these cells at 0.25 s, 1.25 s, ..., quoted where the delimiter stands in them."""
    cells = [f'"{text}"' if delimiter in text else text for text in texts]
    lines = (f"{number}.25{delimiter}{cell}" for number, cell in enumerate(cells))
    return "\n".join([head.replace(",", delimiter), *lines])


def test_a_thousands_separator_is_no_decimal_mark(tmp_path: Path) -> None:
    """5,000 mW is 5 W, and never 5 mW."""
    for texts in (["5,000"] * 4, ["4,998", "998", "5,002", "5,000"], ["5,000.5"] * 4):
        watts = log_of(tmp_path, column(texts)).values
        assert watts.tolist() == pytest.approx([float(t.replace(",", "")) / 1e3 for t in texts])
    for text in ("1 234.5", "1'234.5", "1,234.5"):
        assert log_of(tmp_path, column([text] * 4)).values[0] == pytest.approx(1.2345)
    spaced = column(["5,000"] * 4).replace(',"', ', "')
    assert log_of(tmp_path, spaced).values[0] == 5.0


def test_where_nothing_tells_both_readings_are_named(tmp_path: Path) -> None:
    whole = rows("time_s,power_mw", '"5,000"')
    said = refusal(tmp_path, whole)
    assert "log.csv:2: power_mw: '5,000' may be 5 or 5000" in said
    assert "decimal point" in said
    proven = whole + '\n5,"999,5"'
    assert log_of(tmp_path, proven).values[0] == pytest.approx(0.005)
    # Beside semicolons a comma may well be decimal, whatever wrote the times.
    said = refusal(tmp_path, column(["5,000", "5,001", "4,998", "5,002"], delimiter=";"))
    assert "'5,000' may be 5 or 5000" in said
    german = column(["5,25"] * 4, delimiter=";").replace("\n0.25", "\n1.000").replace(".25", ".000")
    assert "time_s: '1.000' may be 1 or 1000" in refusal(tmp_path, german)


def test_points_between_thousands_alone(tmp_path: Path) -> None:
    """998 beside 1.234 was not written with three decimals."""
    german = column(["998", "1.001", "1.234", "4.998"], "time;power_mw", ";").replace(".25;", ";")
    assert "'1.001' may be 1.001 or 1001" in refusal(tmp_path, german)
    assert log_of(tmp_path, german + "\n4;1.234.567").values[1] == pytest.approx(1.001)
    three = column(["998.000", "1.001", "1.234", "4.998"], "time;power_mw", ";")
    assert log_of(tmp_path, three).values[1] == pytest.approx(1.001e-3)  # 0.25 s proves the point
    whole = three.replace(".25;", ";")
    assert "'998.000' may be 998 or 998000" in refusal(tmp_path, whole)
    assert "--decimal point or --decimal comma" in refusal(tmp_path, whole)
    path = tmp_path / "log.csv"
    assert read_log(path, mark=".").values[1] == pytest.approx(1.001e-3)
    assert read_log(path, mark=",").values[1] == pytest.approx(1.001)
    commas = whole.replace(";", ",")
    assert log_of(tmp_path, commas).values[1] == pytest.approx(1.001e-3)
    # A column that is not read tells as well; beside decimal commas nobody knows what wrote this one.
    lines = whole.replace("power_mw", "power_mw;load").splitlines()
    point, comma = (
        "\n".join([lines[0], *(f"{line};{cell}" for line in lines[1:])]) for cell in ("0.5", "0,5")
    )
    assert log_of(tmp_path, point).values[1] == pytest.approx(1.001e-3)
    assert "'998.000' may be 998 or 998000" in refusal(tmp_path, comma)


def test_two_decimal_marks_in_one_file_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, column(["5,25"] * 4, delimiter=";"))
    assert "'0.25' has a decimal point, '5,25' a decimal comma" in said
    assert "log.csv:2" in said


def test_decimal_commas_with_points_between_thousands(tmp_path: Path) -> None:
    lines = ["time_s;power_mw", *(f"{second},5;1.23{second},5" for second in range(4))]
    log = log_of(tmp_path, "\n".join(lines))
    assert log.values.tolist() == pytest.approx([1.2305, 1.2315, 1.2325, 1.2335])
    assert log.resolution == pytest.approx(1e-4)


def test_more_cells_than_columns_are_refused(tmp_path: Path) -> None:
    """0,1,5,25 under time,power is no power of 1."""
    text = "time_s,power_w\n" + "\n".join(f"0,{n},5,25" for n in range(1, 5))
    assert "log.csv:2: 4 cells under 2 columns" in refusal(tmp_path, text)
    assert log_of(tmp_path, rows("time_s,power_w,", "5", "")).values[0] == 5


# --- cells without a value, and with a unit


@pytest.mark.parametrize("word", ["[N/A]", "N/A", "nan", "NaN", "-", "[Not Supported]", "", "null"])
def test_a_cell_that_says_so_has_no_value(word: str, tmp_path: Path) -> None:
    log = log_of(tmp_path, f"time_s,power_w\n1,5\n2,5\n3,{word}\n4,5\n")
    assert np.isnan(log.values).tolist() == [False, False, True, False]
    assert log.resolution == 1


def test_a_log_without_any_value_says_what_its_cells_say(tmp_path: Path) -> None:
    said = refusal(tmp_path, rows("time_s,power.draw [W]", "[N/A]"))
    assert "power.draw [W]: the meter gave no value: its 4 cells say '[N/A]'" in said


@pytest.mark.parametrize(
    ("head", "cell", "watts"),
    [
        ("power.draw [W]", "35.12 W", 35.12), ("power", "3512 mW", 3.512), ("power", "35.12W", 35.12),
        ("P", "12 µW", 12e-6), ("power_mw", "3512 mW", 3.512),
    ],
)  # fmt: skip
def test_units_behind_the_numbers(head: str, cell: str, watts: float, tmp_path: Path) -> None:
    log = log_of(tmp_path, rows(f"time_s,{head}", cell))
    assert log.values[0] == pytest.approx(watts)
    assert log.assumed == ()


@pytest.mark.parametrize(
    ("head", "cells"), [("power_w", ["5 mW"] * 4), ("power", ["5 W", "5 mW", "5 W", "5 W"]),
                        ("power", ["5 dBm"] * 4), ("power", ["5 V"] * 4)],
)  # fmt: skip
def test_units_that_contradict_are_refused(head: str, cells: list[str], tmp_path: Path) -> None:
    assert "in" in refusal(tmp_path, column(cells, f"time_s,{head}"))


@pytest.mark.parametrize("units", ["s,mW", "[s],[mW]", "(s),(mW)", ",mW", "Seconds,Milliwatts"])
def test_a_row_of_units_under_the_names(units: str, tmp_path: Path) -> None:
    text = rows("Time,Power", "5000").replace("\n", f"\n{units}\n", 1)
    log = log_of(tmp_path, text)
    assert log.values[0] == pytest.approx(5.0)
    assert log_of(tmp_path, text, named={"power": "Power"}).values[0] == pytest.approx(5.0)


def test_a_row_of_units_that_are_not_known_is_no_watt(tmp_path: Path) -> None:
    text = rows("Time,Power", "5000").replace("\n", "\ns,dBm\n", 1)
    assert "the unit of 'Power [dBm]' is not a known unit" in refusal(tmp_path, text)


def test_a_row_of_units_above_the_names_and_heads_that_come_again(tmp_path: Path) -> None:
    text = "ms,mW\n" + rows("Time,Power", "5000")
    log = log_of(tmp_path, text)
    assert log.values[0] == pytest.approx(5.0)
    assert log.period_s == pytest.approx(1e-3)
    units = rows("Time,Power", "5000").replace("\n", "\ns,mW\n", 1)
    again = units.replace("\n1,", "\n5,").replace("\n2,", "\n6,").replace("\n3,", "\n7,")
    both = f"{units}\n{again.replace('4,5000', '8,5000')}"
    assert len(log_of(tmp_path, both).values) == 8


def test_names_of_single_letters_are_no_row_of_units(tmp_path: Path) -> None:
    log = log_of(tmp_path, "Meter,7\n" + rows("t,P", "5"))
    assert (log.columns, log.values[0]) == ("P", 5.0)


# --- stamps


@pytest.mark.parametrize(
    ("stamp", "zoned"),
    [
        ("2026/05/01 10:00:0{}.500", False), ("2026-05-01 10:00:0{}.5", False), ("01.05.2026 10:00:0{},5", False),
        ("2026.05.01 10:00:0{}:500", False), ("2026/05/01 10:00:0{}.5 AM", False), ("2026-05-01T10:00:0{}.5Z", True),
        ("2026-05-01 12:00:0{}.5+02:00", True), ("2026-05-01 10:00:0{}.5 UTC", True),
        ("2026-05-01 05:00:0{}.500-0500", True),
    ],
)  # fmt: skip
def test_stamps_as_programs_write_them(stamp: str, zoned: bool, tmp_path: Path) -> None:
    text = "\n".join(["time;power_w", *(f"{stamp.format(second)};1" for second in range(4))])
    log = log_of(tmp_path, text)
    assert (log.absolute, log.times_s[0], log.period_s) == (True, 1_777_629_600.5, 1.0)
    assert log.assumed == (() if zoned else ("time in UTC",))


def test_day_and_month_are_told_by_the_file(tmp_path: Path) -> None:
    def log(*days: str) -> str:
        return "\n".join(["time,power_w", *(f"{day} 10:00:00,1" for day in days)])

    assert log_of(tmp_path, log("12/05/2026", "13/05/2026", "14/05/2026")).period_s == 86_400
    assert log_of(tmp_path, log("05/12/2026", "05/13/2026", "05/14/2026")).period_s == 86_400
    said = refusal(tmp_path, log("05/01/2026", "06/01/2026", "07/01/2026"))
    assert "may be of the 5. day or the 5. month" in said


def test_date_and_time_in_two_columns(tmp_path: Path) -> None:
    text = "\n".join(["Date,Time,Power [W]", *(f"2026-05-01,10:00:0{n}.5,{n}" for n in range(4))])
    log = log_of(tmp_path, text)
    assert (log.times_s[0], log.period_s, log.absolute) == (1_777_629_600.5, 1.0, True)


def test_a_time_of_day_alone_is_no_time_of_the_clock(tmp_path: Path) -> None:
    log = log_of(tmp_path, "\n".join(["Time,Power [W]", *(f"10:00:0{n}.5,{n}" for n in range(4))]))
    assert (log.times_s[0], log.absolute) == (36_000.5, False)


@pytest.mark.parametrize("text", ["2026-13-01 10:00:00", "2026-05-01 25:00:00", "99:99:99"])
def test_a_cell_that_is_not_a_time_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, f"time,power_w\n{text},1\n{text},2\n{text},3\n")
    assert f"log.csv:2: time: '{text}' is not a time" in said


def test_rows_of_one_stamp_are_one_moment(tmp_path: Path) -> None:
    lines = [
        f"{n // 4},{power}" for n, power in enumerate([1, 2, 3, 6, "nan", 8, 8, 8, 4, 4, 4, 4])
    ]
    log = log_of(tmp_path, "\n".join(["time_s,power_w", *lines]))
    assert (log.times_s.tolist(), log.values.tolist()) == ([0, 1, 2], [3, 8, 4])
    assert (log.repeated, log.period_s) == (9, 1.0)
    counter = log_of(tmp_path, "\n".join(["time_s,energy_j", *lines[:4], *lines[8:], "3,9"]))
    assert counter.values.tolist() == [6, 4, 9]
    assert "time does not advance" in refusal(tmp_path, "time_s,power_w\n1,5\n2,5\n1.5,5\n4,5\n")
    said = refusal(tmp_path, "time_s,power_w\n1,5\n1,5\n1,5\n2,5\n")
    assert "2 stamps in 4 rows" in said


# --- files


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_logs_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(rows("time_s,power_µw", "5").replace("\n", "\r\n").encode(encoding))
    assert read_log(path).values[0] == pytest.approx(5e-6)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_log(path).values[0] == pytest.approx(5e-6)


def test_the_separator_line_of_a_spreadsheet_is_understood(tmp_path: Path) -> None:
    log = log_of(tmp_path, "sep=;\n" + rows("time_s,power_w", "5").replace(",", ";"))
    assert log.values[0] == 5
    twice = rows("time_s,power_w", "5")
    again = twice + "\n" + twice.replace("\n1", "\n5").replace("\n2", "\n6").replace("\n3", "\n7")
    assert len(log_of(tmp_path, again.replace("\n4,5", "\n4,5", 1).rpartition("\n")[0]).values) == 7


def test_a_log_beyond_the_limit_and_a_pipe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_log, "MAX_LOG_BYTES", 1 << 20)
    path = tmp_path / "log.csv"
    for content in (b"1" * (2 << 20), gzip.compress(b"1" * (64 << 20))):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="at most 1 MiB are read"):
            read_log(path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="it is a pipe and not a file"):
        read_log(tmp_path / "pipe.csv")


def test_numbers_beyond_any_machine_are_refused(tmp_path: Path) -> None:
    for head, cell in (("power_w", "1e300"), ("energy_j", "1e300"), ("power_kw", "5e8")):
        assert "is beyond any machine" in refusal(tmp_path, rows(f"time_s,{head}", cell))
    huge = rows("time_s,current_a,voltage_v", "1e8", "1e8")
    assert "current_a x voltage_v: 1e+16 is beyond any machine" in refusal(tmp_path, huge)
    for volts in (math.nan, math.inf, 0.0, 1e300):
        said = refusal(tmp_path, rows("time_s,current_a", "1"), volts=volts)
        assert "not a possible voltage of a device" in said
    assert log_of(tmp_path, rows("time_s,power_w", "0e99999")).values[0] == 0
    assert "not a number" in refusal(tmp_path, rows("time_s,power_w", "5e99999"))
    assert combined([1e300], [1e300]) == pytest.approx(1e300 * math.hypot(2 / math.sqrt(3), 1))
    assert combined([math.inf], [1.0]) == math.inf


@pytest.mark.parametrize("unit", ["(", "[", "([", "a ", "1,", ",", "1:11:11", "'", "1'"], ids=repr)
def test_time_grows_with_the_length_of_a_log_and_no_faster(unit: str, tmp_path: Path) -> None:
    def cpu_s(length: int) -> float:
        text = unit * (length // len(unit))
        started = time.process_time()
        for whole in (text, f"time_s,{text}\n1,1\n2,2\n3,3", f"time_s,power_w\n{text}\n1,1"):
            refusal(tmp_path, whole)
        return time.process_time() - started

    assert cpu_s(120_000) < 9 * cpu_s(30_000) + 1
