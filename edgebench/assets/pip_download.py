"""Downloads a distribution with the ordinary pip client, so that the user's configuration of pip
(index, proxy, certificates, credentials) holds here too.

Only data members are read, each verified by its own hash, so a wheel of another platform serves as
well as this one's. Of a source distribution, pip wants metadata even to download it, and runs the
package's build backend (for pocketsphinx a C++ build system, itself downloaded) to get it. We keep
pip as it is but let `sdist_shim` answer: `--use-pep517 --no-build-isolation` make every source
distribution ask a backend in a subprocess without installing one, and the shim's folder on
PYTHONPATH stands in for it. No code of the package runs (pip 22.3, 23.2 and 26.3 tried).
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebench.errors import AssetError
from edgebench.processes.python_command import module_command

from .asset_uri import PypiUri

#: Told how many bytes are here and, where known, how many there will be.
Report = Callable[[int, int | None], None]

OFFLINE_FIX = (
    "connect and pull again (what is complete stays); or bring the files from another machine with "
    "`edgebench assets export` and `import`"
)
_SHIM = Path(__file__).parent / "sdist_shim"
_POLL_S = 0.3
_NOT_FOUND = "No matching distribution found"
_NETWORK = re.compile(
    r"Retrying \(|Failed to establish|NewConnectionError|NameResolution|name resolution|Timeout"
    r"|timed out|ProxyError|SSLError|Connection (?:reset|refused|aborted|broken)|IncompleteRead"
)
_UNREACHED = "connection error: "  # said only with -vv where pip is told not to retry
_CAUSE = re.compile(r"\[Errno [^\]]+\] [^'\")<>]+|timed out|SSLError|ProxyError|IncompleteRead")
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_SIZE = re.compile(r"Downloading \S+ \(([0-9.]+) ?([kMG]?)B\)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_WHEEL_TAGS = re.compile(r"-([^-/\s]+)-([^-/\s]+)-([^-/\s]+)\.whl")
_COMMAND = (
    *("download", "--no-deps", "--ignore-requires-python", "--no-input"),
    # Kept by pip as well, every model would take twice its room.
    *("--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off"),
)


def download(uri: PypiUri, into: Path, report: Report = lambda _done, _total: None) -> Path:
    """The distribution's archive, below `into`.

    A wheel for this platform, else one for any other, else the source distribution; with
    `uri.sdist` only the last. Raises AssetError where pip gets none, OSError.
    """
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            f"pip is not in this environment ({sys.prefix}), and `pypi:` assets come through it",
            "install it: `python -m ensurepip`, or `uv pip install pip`",
        )
    pip = _Pip(uri, into, report)
    archive = (None if uri.sdist else pip.wheel() or pip.foreign_wheel()) or pip.sdist()
    if archive is None:
        kind = "source distribution" if uri.sdist else "wheel or source distribution"
        raise AssetError(
            f"pip finds no {kind} of {uri.requirement} in the configured package index",
            "check name and version, and `python -m pip config list`; or bring the files from "
            "another machine with `edgebench assets export` and `import`",
        )
    return archive


def is_sdist(archive: Path) -> bool:
    return archive.suffix != ".whl"


@dataclass(frozen=True)
class _Pip:
    """Runs of pip for one distribution, in folders below `into`."""

    uri: PypiUri
    into: Path
    report: Report

    def wheel(self) -> Path | None:
        return self._download("--only-binary", self.uri.name)

    def foreign_wheel(self) -> Path | None:
        """A wheel that pip passed over because it is for another platform or Python."""
        _, log = self._run(["-vv", "--only-binary", self.uri.name], os.environ)
        if _UNREACHED in log:
            raise _no_connection(log)
        for tags in sorted(set(_WHEEL_TAGS.findall(log))):
            if archive := self._download("--only-binary", self.uri.name, *_platform_options(*tags)):
                return archive
        return None

    def sdist(self) -> Path | None:
        path = os.pathsep.join(
            filter(None, [str(_SHIM.resolve()), os.environ.get("PYTHONPATH", "")])
        )
        shim = {
            "PYTHONPATH": path,
            "EDGEBENCH_SDIST_NAME": self.uri.name,
            "EDGEBENCH_SDIST_VERSION": self.uri.version,
        }
        options = ["--no-binary", self.uri.name, "--use-pep517", "--no-build-isolation"]
        return self._download(*options, environment=shim)

    def _download(self, *options: str, environment: Mapping[str, str] | None = None) -> Path | None:
        """The downloaded archive; None where the index has none like it."""
        code, log = self._run(options, {**os.environ, **(environment or {})})
        if code == 0:
            return next(path for path in (self.into / "dist").iterdir() if path.is_file())
        if _NO_SPACE.search(log):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if _NETWORK.search(log):
            raise _no_connection(log)
        if _NOT_FOUND in log:
            return None
        raise AssetError(
            f"pip could not download {self.uri.requirement}: {_last_words(log)}",
            f"see `python -m pip download --no-deps {self.uri.requirement}`",
        )

    def _run(self, options: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """pip's exit code and output; reports the bytes on disk while it runs."""
        temporary, log_path = self.into / "pip", self.into / "pip.log"
        temporary.mkdir(exist_ok=True)
        command = module_command("pip", *_COMMAND, "-d", str(self.into / "dist"), *options)
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command, self.uri.requirement],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=temporary,
                env={**environment, "TMPDIR": str(temporary)},
            )
        try:
            while (code := _wait(process)) is None:
                here, total = _bytes_below(self.into), _announced_bytes(log_path)
                # pip unpacks a source distribution beside it.
                self.report(min(here, total) if total else here, total)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return code, log_path.read_text(encoding="utf-8", errors="replace")


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _platform_options(python: str, abi: str, platform: str) -> list[str]:
    """pip's options that accept a wheel of these tags."""
    match = re.fullmatch(r"([a-z]+)([0-9])([0-9]*)", python.partition(".")[0])
    if match is None:
        return []
    implementation, major, minor = match.groups()
    return [
        *("--implementation", implementation),
        *("--python-version", f"{major}.{minor}" if minor else major),
        *("--abi", abi.partition(".")[0]),
        *("--platform", platform.partition(".")[0]),
    ]


def _bytes_below(folder: Path) -> int:
    """Bytes of the files below a folder that another process is busy with."""
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(directory, name).stat().st_size
    return total


def _announced_bytes(log: Path) -> int | None:
    """The size that pip says it is downloading, to three digits."""
    sizes = _SIZE.findall(log.read_text(encoding="utf-8", errors="replace"))
    return int(float(sizes[-1][0]) * _FACTORS[sizes[-1][1].lower()]) if sizes else None


def _no_connection(log: str) -> AssetError:
    cause = _CAUSE.search(log)
    return AssetError(
        "no connection to the package index" + (f" ({cause[0].strip()})" if cause else ""),
        OFFLINE_FIX,
    )


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "WARNING"))]
    return (errors or lines or ["pip said nothing"])[-1][:300]
