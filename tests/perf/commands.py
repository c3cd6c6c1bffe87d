"""What edgebench itself costs: CPU time of light commands, memory and CPU time of the parent.

python -m tests.perf.commands
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from statistics import median

from tests.perf.overhead import tiny_model

RUNS = 11


def cpu_ms(*arguments: str) -> float:
    """CPU time of `edgebench ARGUMENTS` as a process of its own, user and system."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgebench", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return 1e3 * (usage.ru_utime + usage.ru_stime)


def light_commands() -> None:
    for arguments in (["--help"], ["list", "workloads"], ["list", "backends"], ["list", "devices"]):
        cpu_ms(*arguments)  # the first writes byte code
        found = median(cpu_ms(*arguments) for _ in range(RUNS))
        print(f"edgebench {' '.join(arguments):<18} CPU time {found:6.0f} ms (<= 150)")


def parent_while_measuring() -> None:
    """Peak memory of the parent, and its CPU time as a share of the time that workers ran."""
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(Path(folder) / "tiny.onnx")
        process = subprocess.Popen(
            [
                sys.executable, "-m", "edgebench", "run", "--model", str(model),
                "--rate", "20", "--replicates", "4", "--slice", "4s", "--out", folder,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        peak_kib = _watch_peak(process)
        [file] = Path(folder).rglob("*.jsonl")
        shares = [
            replicate["parent_cpu_s"] / replicate["wall_s"]
            for line in file.read_text().splitlines()
            for replicate in json.loads(line)["replicates"]
        ]
    print(f"parent, peak memory          {peak_kib / 1024:6.1f} MiB (<= 80 MB = 76.3 MiB)")
    print(f"parent, CPU time / wall time {100 * median(shares):6.2f} %   (< 1)")


def _watch_peak(process: subprocess.Popen[bytes]) -> int:
    """VmHWM of a process, in KiB, as last seen before it ended."""
    status = Path(f"/proc/{process.pid}/status")
    peak_kib = 0
    ended = threading.Event()

    def wait() -> None:
        process.wait()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    while not ended.wait(0.05):
        try:
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak_kib = max(peak_kib, int(line.split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            break
    return peak_kib


def main() -> None:
    light_commands()
    parent_while_measuring()


if __name__ == "__main__":
    main()
