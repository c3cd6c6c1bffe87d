"""The options of `edgebench run`: their flags, their defaults, and the settings of a run that each decides.

Three places read them here: the command itself, `--resume`, which refuses a change of what a run has
decided, and the report, which writes the command that measures a row again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from edgebench.units import parse_duration_s, parse_share

DEFAULT_SUITE = "quick"
#: What `quick` may take: a first table within two minutes.
QUICK_BUDGET_S = 105.0
#: Rounds of `quick`: processes of a cell differ by more than a longer window would make up for.
QUICK_REPLICATES = 7
#: Of the quick look at a model of one's own, before precision.
FIRST_WINDOW_S = 0.3
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_NAMES = {share: name for name, share in PERCENTILES.items()}


class Form(NamedTuple):
    """How the value of an option is kept with a run, and how it is typed."""

    types: tuple[type, ...]  # of the kept value
    write: Callable[[Any], str] = str  # kept value -> text
    read: Callable[[Any], Any] = lambda default: default  # typed default -> kept value


def _text_of_seconds(seconds: float) -> str:
    return f"{seconds:.10g}s"


TEXT = Form((str, type(None)))
TEXTS = Form((list, tuple), read=lambda default: default or ())  # one option for each
SWITCH = Form((bool,))
COUNT = Form((int, type(None)))
SHARE = Form((int, float), lambda share: f"{share * 100:.10g}%", parse_share)
BOUND = Form((int, type(None)), lambda ns: f"p99={ns / 1e6:.17g}ms")
LIMIT = Form((int, float, type(None)), lambda share: f"{share:.10g}")
SECONDS = Form(
    (int, float), _text_of_seconds, lambda text: 0.0 if text is None else parse_duration_s(text)
)
PERCENTILE = Form((float,), _NAMES.__getitem__, PERCENTILES.__getitem__)


class NotKept(Exception):
    """The settings of a run hold no such value: another version or another tool wrote them."""


@dataclass(frozen=True)
class RunOption:
    """One option; without a flag, the argument of the command."""

    parameter: str
    flag: str
    default: Any = None  # as it is typed
    decides: tuple[str, ...] = ()  # settings of the run, which stay as they were when it is resumed
    form: Form = TEXT

    def words(self, kept: Any) -> list[str]:
        """Returns what to type for a kept value; nothing for the default. Raises NotKept."""
        if not isinstance(kept, self.form.types):
            raise NotKept(f"{self.flag}: {kept!r}")
        if kept == self.form.read(self.default) or (not kept and not self.default):
            return []
        if self.form is SWITCH:
            return [self.flag]
        values = list(kept) if isinstance(kept, list | tuple) else [kept]
        try:
            return [word for value in values for word in (self.flag, self.form.write(value))]
        except LookupError:
            raise NotKept(f"{self.flag}: {kept!r}") from None


_ALL = (
    RunOption("names", "", (), ("workloads",), TEXTS),
    RunOption("suite", "--suite", None, ("suite",)),
    RunOption("folders", "--workloads", (), ("folders",), TEXTS),
    RunOption("model", "--model", None, ("model",)),
    RunOption("shapes", "--shape", (), ("shapes",), TEXTS),
    RunOption("reference", "--reference", None, ("reference",)),
    RunOption("ranges", "--range", (), ("ranges",), TEXTS),
    RunOption("inputs", "--inputs", None, ("inputs",)),
    RunOption("task", "--task", None, ("task",)),
    RunOption("parity", "--parity", None, ("settings.parity",), LIMIT),
    RunOption("backends", "--backend", None, ("backends",), TEXTS),
    RunOption("sets", "--set", (), ("sets",), TEXTS),
    RunOption("memory_budget", "--memory-budget", (), ("sets",), TEXTS),
    RunOption("set_power_mode", "--set-power-mode", False, ("set_power_mode",), SWITCH),
    RunOption("scenarios", "--scenario", None, ("scenarios",), TEXTS),
    RunOption("rate", "--rate", None, ("rate_per_s",), LIMIT),
    RunOption("bound", "--bound", None, ("bound_p99_ns",), BOUND),
    RunOption("together", "--together", False, ("settings.together",), SWITCH),
    RunOption("companions", "--companion", (), ("settings.companions",), TEXTS),
    RunOption("shape_sequence", "--shape-sequence", (), ("settings.shape_sequence",), TEXTS),
    RunOption("worst_case", "--worst-case", None, ("settings.worst_case_s",), SECONDS),
    RunOption("loadgen", "--loadgen", False, ("settings.loadgen",), SWITCH),
    RunOption("budget", "--budget"),
    RunOption("wait_quiet", "--wait-quiet", None, ("settings.wait_quiet_s",), SECONDS),
    RunOption("cool_to", "--cool-to", None, ("settings.cool_to_c",), LIMIT),
    RunOption("profile", "--profile", False, ("settings.profile",), SWITCH),
    RunOption("target", "--target", "2%", ("settings.target",), SHARE),
    RunOption("percentile", "--percentile", "p50", ("settings.percentile",), PERCENTILE),
    RunOption(
        "replicates",
        "--replicates",
        None,
        ("settings.replicates", "settings.max_replicates"),
        COUNT,
    ),
    RunOption("reruns", "--reruns", 2, ("settings.reruns",), COUNT),
    RunOption("slice_", "--slice", "2s", ("settings.slice_s",), SECONDS),
    RunOption("sustain", "--sustain", "5min", ("settings.sustain_s",), SECONDS),
    RunOption("timeout", "--timeout", "120s", ("settings.time_out_s",), SECONDS),
    RunOption("memory_limit", "--memory-limit", None, ("settings.memory_limit_bytes",), COUNT),
    RunOption("instructions", "--instructions", None, ("settings.instructions",)),
    RunOption("estimate", "--estimate", None, ("estimate",)),
    RunOption("energy_markers", "--energy-markers", False, ("energy_markers",), SWITCH),
    RunOption("energy_root", "--energy-root", None, ("energy_root",)),
    RunOption("seed", "--seed", 0, ("settings.seed",), COUNT),
    RunOption("out", "--out", "results"),
    RunOption("devices", "--devices", None, ("devices",)),
    RunOption("device", "--device", None, ("device",)),
    RunOption("strict", "--strict", False, ("settings.strict",), SWITCH),
)
#: Parameter of the command -> its option.
RUN_OPTIONS: Mapping[str, RunOption] = MappingProxyType({each.parameter: each for each in _ALL})
#: Parameter -> what holds where it is not given.
DEFAULTS: Mapping[str, Any] = MappingProxyType({each.parameter: each.default for each in _ALL})
