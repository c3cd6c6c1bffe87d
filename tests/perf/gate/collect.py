"""Collects real pairs: the same thing twice, and a head that does 2, 3 or 5 % more work in every run.

    python -m tests.perf.gate.collect --truth 0 --pairs 60
    python -m tests.perf.gate.collect --truth 5 --pairs 20 --busy 2

Goes on where an earlier call ended: `--pairs` is the number each cell is to have. Both arms run the same
backend (`fault-slower`), the base with nothing to hash, so that nothing but the work differs. How much
work a per cent is was measured once (work.json): the truth varies no more than the machine does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from edgebench import assets
from edgebench.ab_test.ab_cells import make_ab_cells
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.pair_record import SIDES
from edgebench.ab_test.pair_runner import ArmSpec, PairFailed, PairPlan, run_pair
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.variant_spec import parse_side
from edgebench.backend import ModelFile
from edgebench.definitions.workload_loader import load_workloads
from edgebench.measure import cpu_pinning
from edgebench.measure.worker_messages import Job
from edgebench.testing.faults import hashed_bytes_per_ns
from tests.perf.gate import data

BACKEND = "edgebench.testing.faults:Slower"
CALIBRATION_RUNS = 100
#: Cells of at most 10 ms: workload and precision.
CELLS = (
    ("file-typing", "fp32"),
    ("image-classification", "fp32"),
    ("image-classification", "int8-static"),
    ("file-typing", "int8-static"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", type=float, default=0, help="extra work of the head, per cent")
    parser.add_argument("--pairs", type=int, required=True, help="pairs each cell is to have")
    parser.add_argument("--busy", type=int, default=0, help="processes that load the machine")
    parser.add_argument("--cells", type=int, default=len(CELLS), help="how many of the cells")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--out", type=Path, default=data.FOLDER)
    given = parser.parse_args()
    path = path_of(given.out, given.truth, given.busy)
    have = Counter(pair.cell for pair in data.read(path))
    arms = {
        name: arms_of(*cell, given.truth, given.out)
        for cell in CELLS[: given.cells]
        for name in [name_of(cell)]
    }
    deadline = time.monotonic() + given.seconds
    source = random.Random()
    with busy(given.busy), tempfile.TemporaryDirectory() as folder:
        for index in itertools.count():
            due = [name for name in arms if have[name] < given.pairs]
            if not due or time.monotonic() > deadline:
                break
            for name in due:
                one_pair(path, name, have[name], arms[name], source, Path(folder))
                have[name] += 1
            if index % 5 == 0:
                print(f"{path.name}: {dict(have)}", flush=True)
    data.compact(path)
    print(f"{path.name}: {dict(have)}", flush=True)


def path_of(folder: Path, truth: float, busy_processes: int) -> Path:
    suffix = f"-busy{busy_processes}" if busy_processes else ""
    return folder / f"pairs-{truth:g}{suffix}.csv.gz"


def name_of(cell: tuple[str, str]) -> str:
    return "/".join(cell)


def arms_of(workload: str, precision: str, truth: float, folder: Path) -> dict[Any, ArmSpec]:
    """Both arms of a cell; the head hashes as many bytes after each run as take `truth` per cent of it."""
    work = round(truth / 100 * work_bytes(workload, precision, folder))
    ab_cell = _ab_cell(workload, precision, f"work_bytes={work}")
    assert ab_cell.arms is not None, ab_cell.failure
    return dict(ab_cell.arms)


def _ab_cell(workload: str, precision: str, head: str) -> ABCell:
    request = Request(
        workloads=[load_workloads()[workload]],
        base=parse_side([BACKEND, f"precision={precision},work_bytes=0"]),
        head=parse_side([head]),
    )
    [ab_cell] = make_ab_cells(request, assets.cache_dir())
    return ab_cell


def work_bytes(workload: str, precision: str, folder: Path) -> int:
    """Bytes whose hashing takes as long as a run of the model: measured once, and kept."""
    path = folder / "work.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    name = name_of((workload, precision))
    if name not in known:
        ab_cell = _ab_cell(workload, precision, "work_bytes=0")
        assert ab_cell.arms is not None, ab_cell.failure
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            known[name] = pool.submit(_calibrated, ab_cell.arms["base"].job).result()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    return int(known[name])


def _calibrated(job: Job) -> int:
    from edgebench import registry
    from edgebench.measure.replicate.steps import task_of
    from edgebench.preparation import input_pool

    backend = registry.load(job.backend)
    model = ModelFile(
        Path(job.model_path), job.model_format, job.model_sha256, job.precision, job.batch
    )
    session = backend.open(model, job.options)
    task = task_of(job, job.fp32_inputs or session.inputs)
    items = input_pool.pool_items(task, job.batch)
    pool = [session.prepare(feeds) for feeds in input_pool.pool_of(items, job.batch)]
    times = []
    for prepared in itertools.islice(itertools.cycle(pool), CALIBRATION_RUNS):
        start = time.process_time_ns()
        session.run(prepared)
        times.append(time.process_time_ns() - start)
    return round(median(times) * hashed_bytes_per_ns(CALIBRATION_RUNS))


def one_pair(
    path: Path, name: str, index: int, arms: dict[Any, ArmSpec], source: random.Random, folder: Path
) -> None:
    """Measures and keeps one pair; which arm begins alternates from pair to pair of a cell."""
    named = {
        side: arms[side].in_folder(folder, f"{name.replace('/', '-')}-{side}") for side in SIDES
    }
    with cpu_pinning.hold(1, source=source) as held:
        try:
            pair = run_pair(
                named,
                PairPlan(
                    cell=name,
                    index=index,
                    first=SIDES[index % 2],
                    cores=held.cores,
                    quality=False,
                    inherited_fds=held.fds,
                ),
            )
        except PairFailed as failed:
            raise SystemExit(f"{name}: {failed.side}: {failed.reason.message}") from None
    assert pair.base.output_check.passed
    assert pair.head.output_check.passed
    data.append(path, pair)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute, free to run on any core."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def _spin() -> None:
    total = 0
    while True:
        total = (total * 31 + 7) % 1_000_003


if __name__ == "__main__":
    main()
