"""What `edgebench run` takes where nothing else is said. Help texts show it, so nothing heavy is here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DEFAULT_SUITE = "quick"
#: What `quick` may take: a first table within two minutes.
QUICK_BUDGET_S = 105.0
#: Rounds of `quick`: processes of a cell differ by more than a longer window would make up for.
QUICK_REPLICATES = 7
#: Of the quick look at a model of one's own, before precision.
FIRST_WINDOW_S = 0.3
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

#: What is not given, by the names of the parameters of `edgebench run`.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "names": (),
        "suite": None,
        "folders": (),
        "model": None,
        "shapes": (),
        "reference": None,
        "ranges": (),
        "inputs": None,
        "parity": None,
        "task": None,
        "backends": None,
        "sets": (),
        "set_power_mode": False,
        "scenarios": None,
        "rate": None,
        "bound": None,
        "together": False,
        "companions": (),
        "budget": None,
        "wait_quiet": None,
        "target": "2%",
        "percentile": "p50",
        "replicates": None,
        "reruns": 2,
        "slice_": "2s",
        "sustain": "5min",
        "timeout": "120s",
        "memory_limit": None,
        "estimate": None,
        "energy_markers": False,
        "energy_root": None,
        "seed": 0,
        "out": "results",
        "devices": None,
        "device": None,
        "strict": False,
    }
)
