"""How long `edgebench report` takes on 5,000 rows, and the page in Chromium. Target: 10 s.

    python tests/perf/report_scale.py [ROWS]

The records are realistic (3 replicates of about 300 samples). Without Playwright or chromium only
the writing is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgebench.record import encode
from tests.perf.show_10k import record

_FILTERED = (
    "new Promise(done => {{ const box = document.querySelector('{selector}'); const start ="
    " performance.now(); {act}; requestAnimationFrame(() => requestAnimationFrame(() =>"
    " done(performance.now() - start))); }})"
)

_DRAWN = (
    "new Promise(done => { const start = performance.now();"
    " const chart = document.getElementById('chart-tradeoff');"
    " const look = () => chart.querySelector('svg, canvas') ? done(performance.now() - start)"
    " : requestAnimationFrame(look); chart.scrollIntoView({behavior: 'instant'}); look(); })"
)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 5_000
    with tempfile.TemporaryDirectory() as folder:
        file, page = Path(folder) / "results.jsonl", Path(folder) / "report.html"
        with file.open("wb") as out:
            for index in range(rows):
                out.write(encode(record(index)))
        start = time.perf_counter()
        command = [sys.executable, "-m", "edgebench", "report", str(file), "-o", str(page)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        wall_s = time.perf_counter() - start
        size = page.stat().st_size / 2**20
        load = os.getloadavg()[0]
        print(
            f"report of {rows} rows     {wall_s:6.2f} s (<= 10), page {size:.1f} MiB (load {load:.1f})"
        )
        _browse(page)


def _browse(page: Path) -> None:
    """Opens the page with all rows in its table, and filters them."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("the page was not opened: no playwright or no chromium (make test-browser)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        opened = browser.new_page()
        opened.goto(page.as_uri())
        opened.wait_for_selector("html[data-ready]")
        marks = "Object.fromEntries(performance.getEntriesByType('mark').map(m => [m.name, m.startTime]))"
        found: Any = opened.evaluate(marks)
        drawn_ms = opened.evaluate(_DRAWN)
        print(
            f"page: table after      {found['table']:6.0f} ms, first chart {drawn_ms:.0f} ms after it "
            "came into view (<= 1000)"
        )
        opened.select_option("#group", "-1")
        search = "box.value = 'int8 threads=2'; box.dispatchEvent(new Event('input'))"
        chip = "box.click()"
        sort = "box.click()"
        for name, selector, act in (
            ("search", "#search", search),
            ("filter", "input[data-facet]", chip),
            ("sort", "#table thead button", sort),
        ):
            times = sorted(
                opened.evaluate(_FILTERED.format(selector=selector, act=act)) for _ in range(5)
            )
            print(
                f"page: {name:6} of all rows {times[2]:6.0f} ms (median of 5, two frames included)"
            )
        browser.close()


if __name__ == "__main__":
    main()
