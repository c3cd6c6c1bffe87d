"""A run whose disk fills up, on a small tmpfs (needs root): one clear error, nothing measured is lost.

python -m tests.soak.full_disk
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ARGUMENTS = ("file-typing", "--suite", "quick", "--replicates", "3", "--slice", "0.3s")


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("mounting a tmpfs needs root")
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]
        subprocess.run(mount, check=True)
        try:
            _fill_and_resume(Path(folder))
        finally:
            subprocess.run(["umount", folder], check=True)


def _fill_and_resume(folder: Path) -> None:
    out = folder / "results"
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 490_000)
    first = _edgebench(*ARGUMENTS, "--out", str(out))
    print(f"exit code {first.returncode}: {first.stderr.strip().splitlines()[-2:]}")
    assert first.returncode == 7
    assert "Traceback" not in first.stderr
    shown = json.loads(first.stdout)["rows"]
    print(f"rows shown all the same: {len(shown)}")
    ballast.unlink()
    second = _edgebench("--resume", "--out", str(out))
    [file] = out.rglob("*.jsonl")
    ids = [json.loads(line)["cell"]["id"] for line in file.read_text().splitlines()]
    print(f"resumed with room: exit code {second.returncode}, {len(ids)} cells")
    assert second.returncode == 0, second.stderr
    assert len(ids) == len(set(ids)) == 3


def _edgebench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgebench", "run", *arguments, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
