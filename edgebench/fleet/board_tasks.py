"""Holds what a worker does on its board: short functions of plain values, each of which may be called again at any time.

Dask sends their names, never their code. They answer with plain values, {"error": ...} where something is wrong.

    STATE/files/<sha256>/<name>      files that were sent
    STATE/jobs/<job>/job.json        what was asked for
    STATE/jobs/<job>/lock            held by the process that measures
    STATE/jobs/<job>/said            its stderr
    STATE/jobs/<job>/progress        the cell that it measures (board_progress)
    STATE/jobs/<job>/results/        result file and journal of `edgebench run`
    STATE/jobs/<job>/ended           its exit code
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from edgebench.fleet.board_progress import PROGRESS_VARIABLE, read_progress

STATE_VARIABLE: Final = "EDGEBENCH_FLEET_STATE"
CHUNK_BYTES: Final = 1 << 20
_JOB = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,120}")
_TAIL_BYTES = 4000
_PROGRESS = "progress"

Answer = dict[str, Any]


def state_folder() -> Path:
    """The folder of this board's worker."""
    from platformdirs import user_state_path

    given = os.environ.get(STATE_VARIABLE)
    return Path(given) if given else user_state_path("edgebench") / "fleet"


def describe() -> Answer:
    """Versions and the temperature of the chip."""
    versions = {name: metadata.version(name) for name in ("edgebench", "dask", "distributed")}
    return {"versions": versions, "python": platform.python_version(), "temperature_c": _hot_c()}


def _hot_c() -> float | None:
    from edgebench.probes.temperature import Thermometer

    return Thermometer.find().read()


def has_file(sha256: str, name: str) -> Answer:
    """How many bytes of a file are here; "complete" once its hash is right."""
    path = _file(sha256, name)
    part = path.with_name(f"{path.name}.part")
    size = part.stat().st_size if part.is_file() else 0
    return {"complete": path.is_file(), "size": size}


def put_chunk(sha256: str, name: str, offset: int, chunk: str, last: bool) -> Answer:
    """Writes a piece (base64) at its place; the last one completes the file, if its hash is right."""
    path = _file(sha256, name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_file():
        return {"complete": True}
    part = path.with_name(f"{path.name}.part")
    with part.open("r+b" if part.exists() else "wb") as file:
        file.seek(offset)
        file.write(base64.b64decode(chunk))
        file.truncate()
    if not last:
        return {"complete": False}
    if _sha256(part) != sha256:
        part.unlink()
        return {"error": f"{name} arrived damaged"}
    part.replace(path)
    return {"complete": True}


def _sha256(path: Path) -> str:
    from edgebench.assets import file_sha256

    return file_sha256(path)


def import_assets(sha256: str, name: str) -> Answer:
    """Brings the assets of a bundle that was sent into the cache of this board, once."""
    from edgebench.assets.bundle import import_bundle
    from edgebench.errors import EdgebenchError

    path = _file(sha256, name)
    done = path.with_name("imported")
    if not done.exists():
        try:
            import_bundle(path)
        except EdgebenchError as error:
            return {"error": error.message}
        done.touch()
    return {}


def start(job: str, device: str, arguments: list[str], files: dict[str, list[str]]) -> Answer:
    """Begins `edgebench run` with these arguments, or goes on with it; does nothing where it runs or has ended.

    `files`: argument -> hash and name of a file that was sent, which takes its place.
    """
    folder = _job_folder(job)
    other = next((name for name in _running() if name != job), None)
    if other is not None:
        return {"state": "busy", "said": f"another run of a fleet ({other})"}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return {"state": "running"}
        if (folder / "ended").exists():
            return {"state": "ended"}
        placed = [str(_file(*files[word])) if word in files else word for word in arguments]
        command = ["run", *placed, "--device", device, "--out", "results", "--resume"]
        (folder / "job.json").write_text(json.dumps(command))
        _launch(folder, lock)
        return {"state": "running"}
    finally:
        os.close(lock)  # the process that was started holds it


def _launch(folder: Path, lock: int) -> None:
    """The process that measures: of no session, terminal or parent, so that it outlives this worker."""
    from edgebench.processes.python_command import module_command

    with (folder / "said").open("ab") as said, open(os.devnull, "rb+") as nothing:  # noqa: PTH123
        subprocess.Popen(
            module_command("edgebench.fleet.board_job", str(folder)),
            stdin=nothing,
            stdout=nothing,
            stderr=said,
            cwd=folder,
            env={**os.environ, PROGRESS_VARIABLE: str(folder / _PROGRESS)},
            pass_fds=(lock,),
            start_new_session=True,
        )


def _running() -> Iterator[str]:
    """Jobs whose process lives."""
    jobs = state_folder() / "jobs"
    for folder in jobs.iterdir() if jobs.is_dir() else ():
        if _is_held(folder / "lock"):
            yield folder.name


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def poll(job: str) -> Answer:
    """The state of a job: absent, running, dead (killed, or the board was rebooted) or ended."""
    folder = _job_folder(job)
    if not (folder / "job.json").is_file():
        return {"state": "absent", "temperature_c": _hot_c()}
    held = _is_held(folder / "lock")
    ended = _ended(folder)
    state = "running" if held else "dead" if ended is None else "ended"
    results = _results(folder)
    return {
        "state": state,
        "code": ended,
        "said": _last_line(folder / "said"),
        "progress": read_progress(folder / _PROGRESS, folder / "said") if held else None,
        "records": sum(_lines(path) for path in results),
        "temperature_c": _hot_c(),
    }


def _ended(folder: Path) -> int | None:
    try:
        return int((folder / "ended").read_text())
    except (OSError, ValueError):
        return None


def _results(folder: Path) -> list[Path]:
    return sorted((folder / "results").rglob("*.jsonl"))


def _lines(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.read_bytes().count(b"\n")
    return 0


def _last_line(path: Path) -> str:
    """Of the stderr of a run."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def list_results(job: str) -> Answer:
    """Result files of a job that has ended: name, size and hash."""
    folder = _job_folder(job)
    if _ended(folder) is None:
        return {"error": "the run has not ended"}
    found = []
    for path in _results(folder):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        found.append({"name": path.name, "size": len(content), "sha256": digest})
    return {"files": found, "said": _last_output(folder)}


def _last_output(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / "said").read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    return ""


def get_chunk(job: str, name: str, offset: int) -> Answer:
    """A piece of a result file, in base64."""
    folder = _job_folder(job)
    path = next((each for each in _results(folder) if each.name == name), None)
    if path is None:
        return {"error": f"no result file {name}"}
    with path.open("rb") as file:
        file.seek(offset)
        return {"chunk": base64.b64encode(file.read(CHUNK_BYTES)).decode()}


def forget(job: str) -> Answer:
    """Removes a job that has ended and whose results are elsewhere now."""
    folder = _job_folder(job)
    if _is_held(folder / "lock"):
        return {"error": "it is still running"}
    shutil.rmtree(folder, ignore_errors=True)
    return {}


def _job_folder(job: str) -> Path:
    if not _JOB.fullmatch(job):
        raise ValueError("not the name of a job")
    return state_folder() / "jobs" / job


def _file(sha256: str, name: str) -> Path:
    if not _SHA256.fullmatch(sha256) or not _NAME.fullmatch(name):
        raise ValueError("not the name of a file")
    return state_folder() / "files" / sha256 / name
