"""The exception for Ctrl-C during a measurement from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport
    from edgebench.api.results import Results


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was measured before it: `results` of `edgebench.run`, `report` of `edgebench.ab`."""

    def __init__(
        self, message: str, *, results: Results | None = None, report: GateReport | None = None
    ) -> None:
        super().__init__(message)
        self.results = results
        self.report = report
