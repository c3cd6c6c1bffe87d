"""Answers pip's question for metadata in place of a source distribution's build backend.

pip runs a build backend in a process of its own and names it in an environment variable (pip 22 and
older: PEP517_*). Python imports this module before anything else in that process, which makes the
name point here. Should a later pip do it otherwise, the download still works or fails clearly.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

NAME_ENV = "EDGEBENCH_SDIST_NAME"
VERSION_ENV = "EDGEBENCH_SDIST_VERSION"


def prepare_metadata_for_build_wheel(folder: str, config_settings: object = None) -> str:
    """The hook of PEP 517: writes the least metadata that pip accepts."""
    name, version = os.environ[NAME_ENV], os.environ[VERSION_ENV]
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    target = Path(folder, info)
    target.mkdir()
    (target / "METADATA").write_text(metadata, encoding="utf-8")
    return info


def _stand_in_for_the_backend() -> None:
    for prefix in ("_PYPROJECT_HOOKS_", "PEP517_"):
        if f"{prefix}BUILD_BACKEND" in os.environ:
            os.environ[f"{prefix}BUILD_BACKEND"] = __name__
            os.environ.pop(f"{prefix}BACKEND_PATH", None)


def _run_the_one_shadowed() -> None:
    """This environment may have a sitecustomize of its own (certificates, a proxy)."""
    here = Path(__file__).resolve().parent
    others = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize" and NAME_ENV in os.environ:
    _stand_in_for_the_backend()
    _run_the_one_shadowed()
