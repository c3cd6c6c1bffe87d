"""Three boards by `edgebench fleet run`, and by three separate `edgebench run`s: is it the same table?

    python -m tests.soak.fleet_boards [--python INTERPRETER]... [--in-turn | --brief] [-- OPTIONS OF RUN...]

Scheduler, client and three workers are processes of their own. Each board has its own HOME, cache and virtual environment,
made here by the n-th --python (this one where none is) from a wheel of this checkout. Models and data are in one bundle,
which travels to each board once. All talk TLS; where root allows, the third board is in a network namespace at the end of
a bad link (`lossy_namespace`). All boards measure at once, in the fleet and by themselves, which here means on the same
cores; --in-turn takes one board after the other, by fleet and by itself, for intervals that tell more. --brief does so with
two cells a board and no budget, which would cut the quality pass: some 4 minutes on a quiet machine, where --venvs names
environments that an earlier run has made.

Same table: the same cells, of the same models (hashes) and qualities, and p50s (offline: throughputs) whose intervals
meet. Two 95 % intervals around one value miss each other seldom (0.6 % of pairs): more than one in twenty is an error.
A busy machine strikes rows; those are counted, and compared by their model and quality alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.store import read_records
from tests.soak.lossy_namespace import HERE, LossyNamespace, why_not

ROOT = Path(__file__).resolve().parents[2]
BOARDS = ("board-a", "board-b", "board-c")
PORT = 18990
DEFAULT_RUN = ("--suite", "quick", "--reruns", "0")
BRIEF_RUN = (
    *(
        "file-typing",
        "--backend",
        "ort",
        "--scenario",
        "single_stream,offline",
        "--set",
        "precision=fp32",
    ),
    *("--set", "threads=1", "--set", "batch=1", "--replicates", "5", "--reruns", "0"),
)
MAX_APART = 0.05
WAIT_S = 3600.0
FLEET = (sys.executable, "-m", "edgebench", "fleet")


@dataclass
class Shelf:
    """All boards, and how each is reached."""

    folder: Path
    pythons: dict[str, Path] = field(default_factory=dict)
    prefix: dict[str, Sequence[str]] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def home(self, board: str) -> Path:
        return self.folder / "homes" / board

    def start(self, board: str, *words: str, log: str, cwd: Path) -> subprocess.Popen[bytes]:
        """`edgebench WORDS` on a board."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EDGEBENCH_", "XDG_", "PYTHON"))
        }
        command = [*self.prefix.get(board, ()), str(self.pythons[board]), "-m", "edgebench", *words]
        with (self.folder / log).open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**environment, "HOME": str(self.home(board))},
                stdout=file,
                stderr=file,
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def wheel_of_checkout(folder: Path) -> Path:
    """Built from a copy, which leaves the checkout as it is."""
    copy = folder / "checkout"
    copy.mkdir()
    for name in ("edgebench", "backends", "workloads"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(copy)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def virtual_environment(folder: Path, interpreter: str, wheel: Path) -> Path:
    """Its Python, with edgebench and what a board of a fleet needs."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
    quiet = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*quiet, f"{wheel}[fleet]"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(
        [*quiet, "--force-reinstall", "--no-deps", str(wheel)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return python


def start_fleet(shelf: Shelf, host: str) -> Path:
    """The scheduler and a worker on each board; the folder of the desk."""
    desk = shelf.folder / "desk"
    desk.mkdir()
    address = f"tls://{host}:{PORT}"
    boards = "".join(f"  - name: {board}\n" for board in BOARDS)
    (desk / "fleet.yaml").write_text(f"scheduler: {address}\ncerts: certs\nboards:\n{boards}")
    subprocess.run([*FLEET, "certs", "-o", "certs"], cwd=desk, check=True)
    shelf.processes.append(subprocess.Popen([*FLEET, "up", "--no-workers"], cwd=desk))
    for board in BOARDS:
        shelf.home(board).mkdir(parents=True)
        shutil.copytree(desk / "certs", shelf.home(board) / "certs")
        words = ["fleet", "worker", address, "--device", board, "--certs", "certs"]
        shelf.start(board, *words, log=f"{board}.worker.log", cwd=shelf.home(board))
    return desk


def run_by_fleet(desk: Path, boards: Sequence[str], run: Sequence[str], bundle: Path) -> None:
    """One `fleet run` on these boards, to its end."""
    start = time.monotonic()
    chosen = [word for board in boards for word in ("--board", board)]
    client = [*FLEET, "run", *chosen, "--bundle", str(bundle), "--out", "results", "--", *run]
    subprocess.run(client, cwd=desk, check=False, stdout=subprocess.DEVNULL, timeout=WAIT_S)
    print(f"fleet on {' '.join(boards)}: {time.monotonic() - start:.0f} s", flush=True)


def run_by_themselves(shelf: Shelf, boards: Sequence[str], run: Sequence[str]) -> None:
    """An `edgebench run` on each of these boards, at once."""
    start = time.monotonic()
    started = [
        shelf.start(
            board, "run", *run, "--device", board, log=f"{board}.run.log", cwd=shelf.home(board)
        )
        for board in boards
    ]
    for process in started:
        process.wait(timeout=WAIT_S)
    print(f"separate on {' '.join(boards)}: {time.monotonic() - start:.0f} s", flush=True)


def rows_of(folder: Path) -> dict[str, Row]:
    """By cell; empty where there is no file."""
    records = [record for file in sorted(folder.glob("*.jsonl")) for record in read_records(file)]
    return {row.id: row for row in build_table(records).rows} if records else {}


@dataclass
class Comparison:
    """Pairs of rows, and those that differ."""

    pairs: int = 0
    timed: int = 0
    half_widths: list[float] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def half_width(self) -> float:
        return median(self.half_widths) if self.half_widths else float("nan")


def compare(board: str, fleet: dict[str, Row], alone: dict[str, Row], found: Comparison) -> None:
    if not fleet or fleet.keys() != alone.keys():
        missing = sorted(fleet.keys() ^ alone.keys()) or ["no rows"]
        found.faults.append(f"{board}: {len(fleet)} and {len(alone)} cells: {missing[0]}")
    for cell in sorted(fleet.keys() & alone.keys()):
        one, other = fleet[cell], alone[cell]
        found.pairs += 1
        if _identity(one) != _identity(other):
            found.faults.append(f"{board}: {cell}: {_identity(one)} and {_identity(other)}")
        spans = _interval(one), _interval(other)
        if spans[0] is None or spans[1] is None:
            continue
        found.timed += 1
        found.half_widths += [(high / low) ** 0.5 - 1 for low, high in spans]  # type: ignore[misc]
        if spans[0][1] < spans[1][0] or spans[1][1] < spans[0][0]:
            found.apart.append(f"{board}: {cell}: {spans[0]} and {spans[1]}")


def _identity(row: Row) -> tuple[object, ...]:
    """What has to be the same to the last digit."""
    model = None if row.model is None else row.model.sha256
    return model, None if row.quality is None else row.quality.value, row.inputs_sha256


def _interval(row: Row) -> tuple[float, float] | None:
    """None where the row has none, or is not ok."""
    if row.scenario == "offline":
        low, high = row.throughput_low_per_s, row.throughput_high_per_s
    else:
        low, high = row.latency_ns.p50_low, row.latency_ns.p50_high
    return None if row.status != "ok" or low is None or high is None else (low, high)


@contextlib.contextmanager
def bad_link(shelf: Shelf) -> Iterator[str]:
    """The third board at its end; the address at which boards reach the scheduler."""
    why = why_not()
    if why:
        print(f"no network namespace: {why}; the third board is on loopback")
        yield "127.0.0.1"
        return
    namespace = LossyNamespace("ebfleet")
    try:
        print(f"third board: a network namespace, by {namespace.how}")
        shelf.prefix[BOARDS[-1]] = namespace.prefix
        yield HERE
        print(f"its link: {namespace.passed} packets passed, {namespace.lost} lost")
    finally:
        namespace.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--venvs", type=Path, help="where virtual environments are, or are made")
    parser.add_argument("--keep", type=Path, help="keep all files in this folder")
    parser.add_argument("--in-turn", action="store_true", help="one board after the other")
    parser.add_argument("--brief", action="store_true", help="--in-turn, and few cells")
    parser.add_argument("run", nargs="*")
    arguments = parser.parse_args()
    run = arguments.run or (BRIEF_RUN if arguments.brief else DEFAULT_RUN)
    in_turn = arguments.in_turn or arguments.brief
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="edgebench-fleet-"))
    folder.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(folder.resolve())
    interpreters = [*arguments.python, *[sys.executable] * len(BOARDS)][: len(BOARDS)]
    wheel = wheel_of_checkout(shelf.folder)
    for board, interpreter in zip(BOARDS, interpreters, strict=True):
        place = (arguments.venvs or shelf.folder / "venvs").resolve() / board
        shelf.pythons[board] = virtual_environment(place, interpreter, wheel)
        version = subprocess.run(
            [shelf.pythons[board], "--version"], capture_output=True, text=True, check=True
        )
        print(f"{board}: {version.stdout.strip()}", flush=True)
    bundle = shelf.folder / "quick.tar"
    export = [sys.executable, "-m", "edgebench", "assets", "export", str(bundle)]
    subprocess.run([*export, "--suite", "quick"], check=True)
    try:
        with bad_link(shelf) as host:
            desk = start_fleet(shelf, host)
            for boards in [[board] for board in BOARDS] if in_turn else [BOARDS]:
                run_by_fleet(desk, boards, run, bundle)
                run_by_themselves(shelf, boards, run)
    finally:
        shelf.end()
    found = Comparison()
    for board in BOARDS:
        by_fleet, alone = desk / "results" / board, shelf.home(board) / "results" / board
        compare(board, rows_of(by_fleet), rows_of(alone), found)
    print(f"median half-width of an interval: {found.half_width:.0%}")
    print("\n".join([*found.faults, *(f"intervals apart: {each}" for each in found.apart)]))
    print(
        f"{found.pairs} pairs of rows: {len(found.faults)} faults; of {found.timed} pairs of intervals "
        f"{len(found.apart)} are apart"
    )
    if arguments.keep is None:
        shutil.rmtree(shelf.folder, ignore_errors=True)
    sys.exit(bool(found.faults) or len(found.apart) > MAX_APART * max(found.timed, 1))


if __name__ == "__main__":
    main()
