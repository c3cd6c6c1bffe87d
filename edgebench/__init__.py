"""edgebench: on-device inference benchmark for people who must decide on a deployment.

`edgebench.run` and `edgebench.ab` measure, `edgebench.read` reads results: docs/python.md. Names are imported when
they are used, so that `import edgebench` costs nothing.
"""

import os

TYPE_CHECKING = False  # as in typing, whose import would take longer than all else here
if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport as ABReport
    from edgebench.analysis.comparison_report import ComparisonReport
    from edgebench.analysis.frontier_report import FrontierReport
    from edgebench.analysis.pick_report import PickReport
    from edgebench.analysis.table_types import Row, Table
    from edgebench.api.results import Results, read
    from edgebench.api.run_and_ab import ABOptions, Interrupted, RunOptions, ab, run
    from edgebench.errors import (
        AssetError,
        DeviceStateError,
        EdgebenchError,
        ExitCode,
        SpecError,
        StoreError,
        UsageError,
    )

__version__ = "0.1.0"

__all__ = [
    "ABOptions",
    "ABReport",
    "AssetError",
    "ComparisonReport",
    "DeviceStateError",
    "EdgebenchError",
    "ExitCode",
    "FrontierReport",
    "Interrupted",
    "PickReport",
    "Results",
    "Row",
    "RunOptions",
    "SpecError",
    "StoreError",
    "Table",
    "UsageError",
    "__version__",
    "ab",
    "read",
    "run",
]

#: Name of the API -> its module, and its name there.
_PLACES = {
    "ABOptions": ("edgebench.api.run_and_ab", "ABOptions"),
    "ABReport": ("edgebench.ab_test.ab_report_types", "GateReport"),
    "AssetError": ("edgebench.errors", "AssetError"),
    "ComparisonReport": ("edgebench.analysis.comparison_report", "ComparisonReport"),
    "DeviceStateError": ("edgebench.errors", "DeviceStateError"),
    "EdgebenchError": ("edgebench.errors", "EdgebenchError"),
    "ExitCode": ("edgebench.errors", "ExitCode"),
    "FrontierReport": ("edgebench.analysis.frontier_report", "FrontierReport"),
    "Interrupted": ("edgebench.api.run_and_ab", "Interrupted"),
    "PickReport": ("edgebench.analysis.pick_report", "PickReport"),
    "Results": ("edgebench.api.results", "Results"),
    "Row": ("edgebench.analysis.table_types", "Row"),
    "RunOptions": ("edgebench.api.run_and_ab", "RunOptions"),
    "SpecError": ("edgebench.errors", "SpecError"),
    "StoreError": ("edgebench.errors", "StoreError"),
    "Table": ("edgebench.analysis.table_types", "Table"),
    "UsageError": ("edgebench.errors", "UsageError"),
    "ab": ("edgebench.api.run_and_ab", "ab"),
    "read": ("edgebench.api.results", "read"),
    "run": ("edgebench.api.run_and_ab", "run"),
}

# In every process, as ONNX Runtime reads it once, when it is imported (edgebench.processes.telemetry).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Helpers that numpy's OpenBLAS starts when it is imported spin for some 0.1 s and take a core from what is measured then.
# 4, the least it takes, lets them sleep at once; a value of the user's own stays.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

if not TYPE_CHECKING:  # or every name would be one of the package

    def __getattr__(name: str) -> object:
        """Imports a name of the API when it is used first (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module 'edgebench' has no attribute {name!r}")
        import importlib

        module, attribute = _PLACES[name]
        value: object = getattr(importlib.import_module(module), attribute)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
