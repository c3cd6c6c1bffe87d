"""Words for what a precision search says of each deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

#: Standing of a row -> the word in tables and pictures.
STANDING_WORDS: Final[Mapping[str, str]] = {
    "safe": "safe",
    "held": "not shown",
    "missed": "missed",
    "tuning": "missed (tuning)",
    "untested": "not tested",
    "base": "-",
}
STANDING_LEGEND: Final = (
    "safe: hold on test items with the stated confidence; not shown: hold, but too few items show it; missed: miss "
    "on the workload's items; missed (tuning): miss on tuning items; "
    "not tested: another came first, it is not surely faster, or it costs too much"
)


def output_error(damage: float | None, refused: float) -> str:
    """The relative error of the outputs, or why there is none; `refused` stands for what the runtime does not run."""
    if damage is None:
        return "unknown"
    return "none: the runtime refuses it" if damage >= refused else f"{damage:.3f}"


def few_items(metric: str, items: int, confidence: float, unseen: float, spare: float) -> str:
    """What so few test items can show at the confidence, beside what fp32 leaves."""
    return (
        f"{items} test items are few for {metric}: even where no answer changes, a change of {unseen:.3g} is plausible at a "
        f"confidence of {confidence:g}, and fp32 leaves {spare:.3g}"
    )


def refused_maps(reasons: Sequence[str]) -> str:
    """What was left out beside the fastest map, with the first reason."""
    count = f"{len(reasons)} map{'s' * (len(reasons) != 1)}"
    first = " ".join(reasons[0].split())[:200]
    return f"{count} next to the fastest could not be timed, as the runtime refuses them: {first}"


_ALWAYS_TOLD: Final = ("int8", "fp32")
_ORDER: Final = ("int8", "int8-dynamic", "w8", "w4", "fp32")


def groups_split(split: Mapping[str, int]) -> str:
    """ "6 int8, 26 fp32": how a map divides the groups of a network among precisions."""
    told = [name for name in _ORDER if split.get(name) or name in _ALWAYS_TOLD]
    return ", ".join(f"{split.get(name, 0)} {name}" for name in told)
