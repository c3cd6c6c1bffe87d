"""A precision map: which groups of a network's operators run in int8, and how they are calibrated.

A map belongs to one source file, by its hash. It is a variant like any other precision: `mixed:HASH`, where HASH
is of what the map says. People keep it as a small YAML file; the cache keeps what was used by its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edgebench.errors import UsageError
from edgebench.files.atomic_write import replacing

MAP_FORMAT: Final = "edgebench.precision-map/1"
#: How the precision of a map begins.
MIXED = "mixed"
HASH_DIGITS = 12
_FOLDER = "precision-maps"  # of the cache

#: int8-dynamic: weights in int8, activations quantised at run time. w8, w4: weights in blocks of 8 or 4 bits.
GroupPrecision = Literal["int8", "int8-dynamic", "w8", "w4", "fp32"]
IN_BLOCKS: Final[Mapping[int, GroupPrecision]] = {8: "w8", 4: "w4"}


class CalibrationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the ranges of activations are found."""

    method: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[float, Meta(gt=50, le=100)] | None = None  # of the method percentile


class PrecisionMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of a map's file."""

    format: Literal["edgebench.precision-map/1"] = MAP_FORMAT
    model_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]  # of the workload's model asset
    workload: str = ""  # for people
    recipe: str  # of the quantiser: `models.quantization_recipes` knows it
    calibration: CalibrationSpec = CalibrationSpec()
    #: Name of a group (its first node) or of a single node between groups -> its precision. What is not named
    #: stays in fp32.
    groups: dict[str, GroupPrecision]

    @property
    def quantized(self) -> frozenset[str]:
        return frozenset(name for name, kind in self.groups.items() if kind == "int8")

    @property
    def dynamic(self) -> frozenset[str]:
        return frozenset(name for name, kind in self.groups.items() if kind == "int8-dynamic")

    @property
    def in_blocks(self) -> dict[str, int]:
        """The bits of the weights of groups that have them in blocks."""
        bits = {kind: number for number, kind in IN_BLOCKS.items()}
        return {name: bits[kind] for name, kind in self.groups.items() if kind in bits}

    @property
    def lowered(self) -> frozenset[str]:
        """What is not left in fp32."""
        return self.quantized | self.dynamic | self.in_blocks.keys()

    @property
    def precision(self) -> str:
        """The value of the axis `precision`."""
        return f"{MIXED}:{map_hash(self)}"


def map_hash(found: PrecisionMap) -> str:
    """The hash of what the map says: names for people and groups left in fp32 do not count."""
    said = [
        found.model_sha256,
        found.recipe,
        msgspec.to_builtins(found.calibration),
        sorted(found.quantized),
        *([sorted(found.dynamic)] if found.dynamic or found.in_blocks else []),
        *([sorted(found.in_blocks.items())] if found.in_blocks else []),
    ]
    text = json.dumps(said, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def precision_kind(precision: object) -> str:
    """The kind of a precision, as backends declare it: `mixed` of `mixed:0123456789ab`."""
    return str(precision).partition(":")[0]


def is_mixed(precision: object) -> bool:
    return str(precision).startswith(f"{MIXED}:")


def map_text(found: PrecisionMap, notes: Mapping[str, str] = {}) -> str:
    """The map as YAML; `notes` become comments beside groups."""
    head = msgspec.to_builtins(msgspec.structs.replace(found, groups={}))
    counts = Counter(found.groups.values())
    also = "".join(
        f", {counts[kind]} in {kind}" for kind in ("int8-dynamic", "w8", "w4") if counts[kind]
    )
    lines = [f"# {found.precision}: {len(found.quantized)} of {len(found.groups)} in int8{also}"]
    for key, value in head.items():
        if key != "groups":
            told = (
                {k: v for k, v in value.items() if v is not None} if key == "calibration" else value
            )
            lines.append(f"{key}: {json.dumps(told)}")
    lines.append("groups:" if found.groups else "groups: {}")
    for name, kind in found.groups.items():
        note = f"  # {notes[name]}" if name in notes else ""
        lines.append(f"  {json.dumps(name)}: {kind}{note}")
    return "\n".join(lines) + "\n"


def keep_map(found: PrecisionMap, cache: Path) -> str:
    """Keeps a map in the cache; returns its precision."""
    path = _cached(cache, map_hash(found))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with replacing(path) as partial:
            partial.write_bytes(msgspec.json.encode(found))
    return found.precision


def kept_map(precision: str, cache: Path) -> PrecisionMap:
    """The map of a precision `mixed:HASH`. Raises UsageError where this machine does not know it."""
    name = precision.partition(":")[2]
    fix = "give the map's file: --set precision=@FILE.yaml"
    try:
        found = msgspec.json.decode(_cached(cache, name).read_bytes(), type=PrecisionMap)
    except (OSError, ValueError, msgspec.MsgspecError):
        raise UsageError(f"no precision map {precision!r} is known here", fix) from None
    if map_hash(found) != name:
        raise UsageError(f"the kept precision map {precision!r} was changed", fix)
    return found


def _cached(cache: Path, name: str) -> Path:
    return cache / _FOLDER / f"{Path(name).name or '-'}.json"
