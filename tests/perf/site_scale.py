"""How long `edgebench site` takes on a million rows, how large the site is, and how fast its pages are in Chromium.

    python -m tests.perf.site_scale [--rows 1000000]

Rows are those of results/reference/, resampled as in `analysis_scale`: every device was measured in ten runs. A page is
ready when its table stands; the extra browser and Debian's chromium are needed for that part.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.perf.analysis_scale import resample

RUNS = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = resample(folder, arguments.rows, "site", RUNS)
        out = folder / "public"
        command = [sys.executable, "-m", "edgebench", "site", str(table), "-o", str(out)]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{arguments.rows} rows: {time.perf_counter() - start:.0f} s, peak {peak:.1f} GiB")
        sizes = [file.stat().st_size for file in (out / "data").iterdir()]
        index = (out / "data" / "index.js").stat().st_size
        print(
            f"{len(sizes)} data files, {sum(sizes) / 2**20:.0f} MiB; index {index / 2**20:.2f} MiB, "
            f"largest {max(sizes) / 2**20:.2f} MiB"
        )
        if shutil.which("chromium") and find_spec("playwright"):
            _pages(out)
        else:
            print("pages not opened: needs chromium and `pip install -e .[browser]`")


def _pages(out: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name in ("index.html", "device.html#0"):
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(f"{out.as_uri()}/{name}")
            page.wait_for_selector("html[data-ready]")
            ready_s = time.perf_counter() - start
            start = time.perf_counter()
            page.fill("#search", "int8")
            page.wait_for_function("document.querySelector('#count').textContent")
            print(
                f"{name}: ready in {ready_s:.2f} s, filtered in {time.perf_counter() - start:.2f} s"
            )
        browser.close()


if __name__ == "__main__":
    main()
