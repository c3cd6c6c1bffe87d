"""Python distributions on the path: what is installed, and who owns the module `onnxruntime`."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edgebench.probes.proc_files import fields, read


class Owner(NamedTuple):
    """An installed distribution that holds files of a module."""

    name: str  # normalised: "ort-nightly"
    version: str


def installed_packages(path: Sequence[str] | None = None) -> dict[str, str]:
    """Normalised distribution name -> version, sorted, of everything on `path` (`sys.path`).

    Read from the names of the metadata folders, as parsing each METADATA takes ten times as long.
    """
    return {owner.name: owner.version for owner, _ in _installed(path)}


def packages_sha256(packages: Mapping[str, str]) -> str:
    """Hash of the text of lines "name==version\\n", sorted."""
    text = "".join(sorted(f"{name}=={version}\n" for name, version in packages.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def onnxruntime_owners(path: Sequence[str] | None = None) -> list[Owner]:
    """The distributions that hold files of `onnxruntime`; more than one overwrite each other.

    onnxruntime, -gpu, -openvino, -directml, -training, ort-nightly and others ship the same module, and
    pip does not notice: whichever was installed last wins file by file. By their files, not their names:
    onnxruntime-qnn is an owner before 2.0, and since then a provider beside it.
    """
    return [owner for owner, metadata in _installed(path) if _owns(metadata, "onnxruntime")]


def mend_owners(owners: Sequence[Owner]) -> str:
    """The commands that leave one owner: uninstalling any of them breaks the others' files."""
    names = [owner.name for owner in owners]
    keep = next((name for name in names if name != "onnxruntime"), names[0])
    return (
        f"python -m pip uninstall -y {' '.join(names)} && python -m pip install {keep} "
        "(or the one you need: only one)"
    )


def _owns(metadata: Path, module: str) -> bool:
    top_level = read(metadata / "top_level.txt")
    if top_level is not None:
        return module in top_level.split()
    record = read(metadata / "RECORD", limit_bytes=1 << 24) or ""
    return any(line.startswith(f"{module}/") for line in record.splitlines())


def _installed(path: Sequence[str] | None) -> list[tuple[Owner, Path]]:
    """Finds distributions as an import would, by name: of a repeated one, the first on the path counts. With each,
    its .dist-info or .egg-info."""
    distributions: dict[str, tuple[Owner, Path]] = {}
    for entry in sys.path if path is None else path:
        for owner, metadata in _in_folder(entry or "."):
            distributions.setdefault(owner.name, (owner, metadata))
    return sorted(distributions.values())


def _in_folder(folder: str) -> Iterator[tuple[Owner, Path]]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:  # a zip file, or a path entry that does not exist
        return
    for name in names:
        # pip renames what it is removing to "~name": no installed distribution.
        if name.endswith((".dist-info", ".egg-info")) and not name.startswith("~"):
            metadata = Path(folder, name)
            yield _owner(metadata), metadata


def _owner(metadata: Path) -> Owner:
    stem = re.sub(r"-py[0-9.]+$", "", metadata.stem)  # name-version-py3.11.egg-info
    name, dash, version = stem.partition("-")
    if not dash:  # a legacy egg-info without its version
        file = metadata / "PKG-INFO" if metadata.is_dir() else metadata
        version = fields(read(file)).get("Version", "unknown")
    return Owner(re.sub(r"[-_.]+", "-", name).lower(), version.replace("_", "-"))
