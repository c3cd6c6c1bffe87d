"""Where a conversion is kept: in the cache, under a name of what it was made from."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgebench.backend import ModelFile
from edgebench.files.atomic_write import replacing


def kept_path(cache: Path, made_from: Any, suffix: str) -> Path:
    """The place of what is made from this, which JSON can write; the folder is there."""
    cache.mkdir(parents=True, exist_ok=True)
    key = json.dumps(made_from, sort_keys=True)
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}{suffix}"


def kept_file(cache: Path, made_from: Any, suffix: str, make: Callable[[Path], Any]) -> Path:
    """The file that `make` writes where it is told, or wrote before."""
    path = kept_path(cache, made_from, suffix)
    if not path.exists():
        with replacing(path) as partial:
            make(partial)
    return path


def kept_folder(cache: Path, made_from: Any, suffix: str, make: Callable[[Path], Path]) -> Path:
    """The folder that `make` returns, made in an empty one, or made before."""
    path = kept_path(cache, made_from, suffix)
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            made = make(Path(scratch))
            if not path.exists():  # another process may have been faster
                made.rename(path)
    return path


def converted(model: ModelFile, path: Path, form: str, files: Iterable[Path] = ()) -> ModelFile:
    """The model as what lies at `path`; its hash is that of the contents of the `files`, else of the one there."""
    digest = hashlib.sha256()
    for part in files or [path]:
        digest.update(part.read_bytes())
    return replace(model, path=path, format=form, sha256=digest.hexdigest())
