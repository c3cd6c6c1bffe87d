"""Do the extras resolve where they are to be installed? `python -m tests.ci.resolve_extras`

For each extra and target, uv resolves `edgebench[extra]` to wheels of that platform and Python; nothing
is installed. pip's own settings (index, certificates) are handed to uv, so that one configuration
serves both; no address is ever printed. Ends with 1 where an extra does not resolve.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Never part of what a Jetson installs: its TensorRT comes with JetPack and fits its driver.
FORBIDDEN = {"jetson": re.compile(r"^(tensorrt|nvidia-tensorrt)\b", re.MULTILINE)}
#: For developers and tests, on their own machines.
DEVELOPMENT = {"coverage", "dev", "docs", "test"}
#: Built where it is installed, or a part of it (of ExecuTorch's, antlr4): there are no wheels to resolve.
FROM_SOURCE = {"llama-cpp", "executorch"}


@dataclass(frozen=True)
class Target:
    platform: str  # as uv names it
    python: str

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}"


#: JetPack 5 and 6 bring Python 3.10 (by way of deadsnakes for 5), JetPack 7 brings 3.12.
JETSON = (Target("aarch64-unknown-linux-gnu", "3.10"), Target("aarch64-unknown-linux-gnu", "3.12"))
MAC = (Target("aarch64-apple-darwin", "3.12"),)
#: OpenVINO's and MLX's wheels for Arm need glibc 2.35 (Ubuntu 22.04, JetPack 6); uv takes "linux-gnu" for 2.28.
GLIBC_2_35 = (Target("aarch64-manylinux_2_35", "3.10"), Target("aarch64-manylinux_2_35", "3.12"))
#: Extras with targets of their own.
ONLY = {
    "jetson": JETSON,
    "openvino": GLIBC_2_35 + MAC,
    "openvino-genai": GLIBC_2_35 + MAC,
    "mlx": GLIBC_2_35 + MAC,
    "ort-genai": JETSON[1:] + MAC,  # no Arm wheels for Python 3.10
}
#: MLX's wheels need macOS 14, and uv takes 13 unless it is told.
MACOS = "14.0"
#: Resolutions, which mostly wait for the index.
AT_ONCE = 8


def main() -> int:
    failures = 0
    wanted = [(extra, on) for extra in extras() for on in ONLY.get(extra, JETSON + MAC)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        resolved = threads.map(lambda each: resolve(*each), wanted)
        for (extra, target), found in zip(wanted, resolved, strict=True):
            complaint = found.complaint or _forbidden(extra, found.packages)
            failures += bool(complaint)
            state = f"FAILED: {complaint}" if complaint else f"{len(found.packages)} packages"
            print(f"edgebench[{extra}] on {target}: {state}", flush=True)
    return 1 if failures else 0


def extras() -> list[str]:
    """The extras a user installs."""
    declared = importlib.metadata.metadata("edgebench").get_all("Provides-Extra") or []
    return sorted(set(declared) - DEVELOPMENT - FROM_SOURCE)


@dataclass(frozen=True)
class Resolution:
    packages: list[str]  # "name==version"
    complaint: str


def resolve(extra: str, target: Target) -> Resolution:
    """What uv would install, or why it cannot."""
    uv = shutil.which(
        "uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if uv is None:
        return Resolution([], "uv is not installed: pip install uv")
    done = subprocess.run(
        [
            *(uv, "pip", "compile", "pyproject.toml", "--extra", extra, "--quiet", "--no-header"),
            *("--no-annotate", "--no-config", "--only-binary", ":all:"),
            *("--index-strategy", "unsafe-best-match"),
            *("--python-platform", target.platform, "--python-version", target.python),
        ],
        cwd=ROOT,
        env={**os.environ, **pip_settings(), "MACOSX_DEPLOYMENT_TARGET": MACOS},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return Resolution([], without_addresses(" ".join(done.stderr.split())))
    lines = [line.split(";")[0].strip() for line in done.stdout.splitlines()]
    return Resolution([line for line in lines if "==" in line], "")


@cache
def pip_settings() -> dict[str, str]:
    """uv's environment for what `pip config` says; what is set for uv already stays."""
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "cert": "SSL_CERT_FILE",
    }
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = names.get(key.rpartition(".")[2])
        if name is not None and name not in os.environ:
            entries = re.split(r"\\n|\s+", value.strip().strip("'\""))
            separator = "," if name == "UV_FIND_LINKS" else " "
            found[name] = separator.join(entry for entry in entries if entry)
    return found


def without_addresses(text: str) -> str:
    """The text without index addresses, which may hold credentials."""
    return re.sub(r"\b(?:https?|file)://[^\s`'\"),]+", "<address>", text)


def _forbidden(extra: str, packages: list[str]) -> str:
    pattern = FORBIDDEN.get(extra)
    found = pattern.search("\n".join(packages)) if pattern else None
    return f"it would install {found.group()}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
