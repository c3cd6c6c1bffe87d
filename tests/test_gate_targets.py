"""What the summary of the gate's proof says of itself follows from the pairs."""

from __future__ import annotations

from tests.perf.gate import __main__ as summary
from tests.perf.gate import data, targets
from tests.perf.gate.judge import Suites


def stored(count: int, slower: float, load: float = 1.0, seconds: float = 1.5) -> list[data.Stored]:
    """Pairs of 20 rounds whose head is slower by a share, and by a little more in every second one."""

    def blocks(ns: float) -> list[list[tuple[int, int, int, int]]]:
        return [[(round(ns), round(ns), 0, 0)] * 4 for _ in range(20)]

    return [
        data.Stored(
            cell="demo",
            pair=index,
            load_1m=load,
            seconds=seconds,
            calls=1,
            blocks={"A": blocks(5e6), "B": blocks(5e6 * (1 + slower + 1e-3 * (index % 2)))},
        )
        for index in range(count)
    ]


def lines(**collected: list[data.Stored]) -> dict[str, str]:
    """What becomes of each target."""
    named = {name.replace("plus", "+").replace("pc", " %"): p for name, p in collected.items()}
    rows = [line.split("|") for line in targets.report(named, Suites()) if line.startswith("| +")]
    return {target.strip(): met.strip() for _, target, _, met, _ in rows}


def test_the_head_speaks_of_other_jobs_only_where_the_loads_do() -> None:
    assert "while other jobs ran" in summary.head([3.2, 6.0, 10.0])
    quiet = summary.head([0.4, 1.1, 1.6])
    assert "other jobs" not in quiet
    assert "0.4 to 1.6" in quiet


def test_a_target_is_met_missed_or_not_known() -> None:
    quick = lines(plus5pc=stored(20, 0.05), plus3pc=stored(20, 0.03, load=4.0))
    slow = lines(plus5pc=stored(20, 0.05, seconds=7.0))
    soon = "+5 % detected within 30 s a cell at a load up to 5, gate of one cell: 95 %"
    assert (quick[soon], slow[soon]) == ("met", "missed")
    assert quick["+5 % called PASS, suite of 30 cells: at most 5 %"] == "met"
    assert {met for target, met in quick.items() if target.startswith("+3 %")} == {"not known"}
    unseen = lines(plus5pc=stored(20, 0.0))
    assert unseen["+5 % called PASS, suite of 30 cells: at most 5 %"] == "missed"
