"""pytest plugin: the fixtures `edgebench` and `edgebench_benchmark`.

An installed plugin is loaded into every pytest session of its environment: this module imports pytest
alone, and edgebench only when a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport
    from edgebench.ab_test.timed_functions import Timing

    Undecided = Literal["fail", "skip", "pass"]


class EdgebenchFixture:
    """Holds what a test that asks for `edgebench` gets."""

    def ab(
        self,
        *workloads: str,
        base: str | Sequence[str],
        head: str | Sequence[str],
        suite: str | None = None,
        folders: Sequence[str | Path] = (),
        budget: str = "60s",
        tau: float | None = None,
        delta: float | None = None,
        quality: float | None = None,
        parity: float | None = None,
        build: str | None = None,
        artifact: str | None = None,
    ) -> GateReport:
        """The report of `edgebench ab`; nothing is asserted. `tau` and `delta` are shares."""
        from edgebench.ab_test.ab_report_types import latency_tolerances
        from edgebench.ab_test.ab_runner import Settings
        from edgebench.ab_test.pairing import Request
        from edgebench.ab_test.run_ab import compare
        from edgebench.ab_test.variant_spec import parse_side
        from edgebench.definitions.workload_loader import choose, load_workloads
        from edgebench.units import parse_duration_s

        known = load_workloads([Path(folder) for folder in folders]) if workloads or suite else {}
        request = Request(
            workloads=choose(known, workloads, suite) if known else [],
            suite=suite,
            base=parse_side([base] if isinstance(base, str) else base),
            head=parse_side([head] if isinstance(head, str) else head),
            tolerances=latency_tolerances(tau, delta),
            quality=quality,
            parity=parity,
            build=build,
            artifact=artifact,
        )
        return compare([request], settings=Settings(budget_s=parse_duration_s(budget)))

    def assert_no_regression(
        self, *workloads: str, inconclusive: Undecided = "fail", **options: Any
    ) -> GateReport:
        """Fails the test on REGRESS and INVALID, and on INCONCLUSIVE unless told otherwise.

        Options are those of `ab`.
        """
        __tracebackhide__ = True
        report = self.ab(*workloads, **options)
        if report.verdict in ("regress", "invalid"):
            pytest.fail(_text(report), pytrace=False)
        if report.verdict == "inconclusive" and inconclusive != "pass":
            (pytest.fail if inconclusive == "fail" else pytest.skip)(_text(report))
        return report


class BenchmarkFixture:
    """Holds what a test that asks for `edgebench_benchmark` gets: your own functions, in this one process."""

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Timing:
        """Wall times of calls of `function`, for a limit of your own."""
        from edgebench.ab_test.timed_functions import time_calls

        return time_calls(lambda: function(*args, **kwargs))

    def assert_not_slower(
        self,
        *,
        base: Callable[..., Any],
        head: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        delta: float = 0.05,
        budget: str = "30s",
        inconclusive: Undecided = "fail",
    ) -> None:
        """Fails where `head` is slower than `base` by more than `delta`, a share.

        One process is one draw of memory layout: smaller changes are never called, in either direction.
        """
        from edgebench.ab_test.ab_report_types import latency_tolerances
        from edgebench.ab_test.timed_functions import compare_calls
        from edgebench.units import parse_duration_s

        __tracebackhide__ = True
        more = dict(kwargs or {})
        rulings = compare_calls(
            lambda: base(*args, **more),
            lambda: head(*args, **more),
            latency_tolerances(min(0.01, delta / 2), delta).cpu,
            budget_s=parse_duration_s(budget),
        )
        told = ", ".join(
            f"{name} time {ruling.verdict}"
            + ("" if ruling.change is None else f" {ruling.change:+.1%}")
            for name, ruling in rulings.items()
        )
        verdicts = {ruling.verdict for ruling in rulings.values()}
        if "regress" in verdicts:
            pytest.fail(f"head is slower than base by more than {delta:.0%}: {told}", pytrace=False)
        if verdicts & {"inconclusive", "invalid"} and inconclusive != "pass":
            message = f"not enough evidence within {budget}: {told}"
            (pytest.fail if inconclusive == "fail" else pytest.skip)(message)


def _text(report: GateReport) -> str:
    from io import StringIO

    from edgebench.gate.verdict_formats import render

    out = StringIO()
    render(report, "table", out)
    return out.getvalue()


@pytest.fixture
def edgebench() -> EdgebenchFixture:
    """A/B of deployments: `edgebench.assert_no_regression("text-recognition", base=..., head=...)`."""
    return EdgebenchFixture()


@pytest.fixture
def edgebench_benchmark() -> BenchmarkFixture:
    """Times your own functions in this process: a limit, or one against the other in turns."""
    return BenchmarkFixture()
