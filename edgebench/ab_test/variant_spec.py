"""Parses `--base` and `--head`: one or more specifications that together describe a side.

Parsing decides by what a specification looks like, in this order; nothing is opened or built here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from edgebench import registry
from edgebench.backend import Scalar
from edgebench.errors import UsageError
from edgebench.planning.settings import parse_sets
from edgebench.text.did_you_mean import did_you_mean

KINDS = (
    "a model file (model.onnx)",
    "a variant (precision=int8-static, threads=1)",
    "a backend (openvino, or FILE.py:CLASS)",
    "runtime versions (onnxruntime==1.30.0)",
    "a git revision whose model --build makes (git:main)",
    "a Python or a virtual environment (path/to/venv)",
)
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.*+!_-]+")
_MODEL_SUFFIXES = (
    ".onnx", ".ort", ".tflite", ".mlpackage", ".param", ".xml", ".engine", ".plan", ".gguf",
)  # fmt: skip


class VariantSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One side as the user described it; None or empty where the user said nothing."""

    text: str  # as typed, for people
    model: str | None = None  # absolute path
    sets: dict[str, Scalar] = {}
    backend: str | None = None
    pins: tuple[str, ...] = ()
    revision: str | None = None
    python: str | None = None  # absolute path of an interpreter

    def with_defaults(self, base: VariantSpec) -> VariantSpec:
        """This side as a head: what it does not say is as base has it, but for the variant, whose axes
        depend on the backend.

        What runs is one thing: a side that names a backend, versions or a Python has no versions and no
        Python of base's. `onnxruntime==1.30.0` against `ort` is against what is installed.
        """
        model = self if self.model or self.revision else base
        runtime = self if self.backend or self.pins or self.python else base
        return msgspec.structs.replace(
            self,
            model=model.model,
            revision=model.revision,
            backend=self.backend or base.backend,
            pins=runtime.pins,
            python=runtime.python,
        )


def parse_side(
    texts: Sequence[str], known_backends: Callable[[], Sequence[str]] = registry.names
) -> VariantSpec:
    """The side that all specifications together describe. Raises UsageError for one that is none,
    or two that say the same thing differently."""
    side = VariantSpec(text=" ".join(texts))
    for text in texts:
        for field, value in _parse(text.strip(), known_backends).items():
            before = getattr(side, field)
            if isinstance(value, dict):
                clash = sorted(
                    axis for axis in value if before.get(axis, value[axis]) != value[axis]
                )
                value = {**before, **value}
            elif isinstance(value, tuple):
                value = tuple(sorted({*before, *value}))
                names = [pin.partition("==")[0] for pin in value]
                clash = sorted({name for name in names if names.count(name) > 1})
            else:
                clash = [field] if before and before != value else []
            if clash:
                raise UsageError(f"{side.text!r} says {clash[0]} twice", "keep one of them")
            side = msgspec.structs.replace(side, **{field: value})
    if side.model and side.revision:
        raise UsageError(f"{side.text!r} names a model file and a git revision", "keep one of them")
    if side.pins and side.python:
        message = f"{side.text!r} names versions and an interpreter: who installs them?"
        raise UsageError(message, "keep one of them")
    return side


def backends_of(*sides: VariantSpec) -> list[str]:
    return [side.backend for side in sides if side.backend]


def _kind(path: Path) -> Literal["file", "folder", "other", ""]:
    """Returns what stands at a path; "" for nothing, and for a text that no file system takes for a name."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def _parse(text: str, known_backends: Callable[[], Sequence[str]]) -> dict[str, object]:
    if not text:
        raise _unknown(text, known_backends)
    if text.startswith("git:"):
        if not text.removeprefix("git:"):
            raise UsageError("git: names no revision", "write git:main, git:HEAD~1 or git:v1.2")
        return {"revision": text.removeprefix("git:")}
    parts = [part.strip() for part in text.split(",")]
    if all(_PIN.fullmatch(part) for part in parts):
        return {"pins": tuple(sorted(parts))}
    path = Path(text).expanduser()
    kind = _kind(path)
    if python := _python(path, kind):
        return {"python": str(python.absolute())}  # not resolved: that would leave the environment
    if path.suffix.lower() in _MODEL_SUFFIXES:
        if not kind:
            raise UsageError(f"no model file {text}")
        return {"model": str(path.absolute())}
    if "=" in text and not kind:
        return {"sets": _sets(text)}
    if text in known_backends() or (":" in text and not kind):
        return {"backend": registry.absolute(text)}
    if kind == "file":
        return {"model": str(path.absolute())}
    if kind == "folder":
        raise UsageError(f"{text} is a folder without bin/python", "name a virtual environment")
    raise _unknown(text, known_backends)


def _python(path: Path, kind: str) -> Path | None:
    """The interpreter that a path names, or that of the virtual environment there."""
    inside = path / "bin" / "python"
    if kind == "folder" and inside.exists():
        return inside
    named = kind == "file" and os.access(path, os.X_OK) and path.name.startswith("python")
    return path if named else None


def _sets(text: str) -> dict[str, Scalar]:
    sets: dict[str, Scalar] = {}
    axes = re.split(r",(?=[A-Za-z_]+=)", text)
    for axis, values in parse_sets(axes).items():
        if len(values) != 1:
            raise UsageError(
                f"{text!r} gives {axis} more than one value",
                "a side takes one value; --set takes several",
            )
        sets[axis] = values[0]
    return sets


def _unknown(text: str, known_backends: Callable[[], Sequence[str]]) -> UsageError:
    near = did_you_mean(text, known_backends()) if text else ""
    hint = near if "did you mean" in near else ""
    return UsageError(f"{text!r} cannot be compared{hint}", "name " + ", or ".join(KINDS))
