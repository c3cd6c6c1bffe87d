"""The pages of a site in headless Chromium, opened from a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgebench.record import Record, encode
from tests import records as make
from tests.analysis.test_commands import code, run
from tests.trend.histories import noisy, one_run, write

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (make test-browser)"),
]
RUNS, DEVICES = 24, 150
EVIL = "<img src=x onerror=alert(1)>"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device with a step, many devices of one row, and one whose name is meant to act."""
    level = noisy(lambda number: 1.1 if number >= 16 else 1.0)
    runs = [[one_run(number, level(number))] for number in range(RUNS)]
    folder = write(tmp_path_factory.mktemp("site") / "results", runs)
    more: list[Record] = [
        make.record(device=f"board-{number:03d}", run=f"b{number}", count=20)
        for number in range(DEVICES)
    ]
    more.append(make.record(device=EVIL, run="evil", count=20))
    more += [
        make.failed({"threads": threads}, "unsupported_option", "x", status="unsupported",
                    device=EVIL, run="evil")
        for threads in (2, 4)
    ]  # fmt: skip
    (folder / "more.jsonl").write_bytes(b"".join(map(encode, more)))
    out = folder.parent / "public"
    assert code(run("site", folder, "-o", out, "--reports", "none")) == 0
    return out


@pytest.fixture
def opened(site: Path) -> Iterator[Open]:
    """Opens a page; in the end there was no error, no dialog and no request beyond the folder."""
    faults: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )

        def page(name: str, **context: Any) -> Any:
            new = browser.new_page(**context)
            new.on("console", lambda message: faults.append(message.text)
                   if message.type in ("error", "warning") else None)  # fmt: skip
            new.on("pageerror", lambda error: faults.append(str(error)))
            new.on("dialog", lambda dialog: faults.append(dialog.message))
            new.on("request", lambda request: faults.append(request.url)
                   if not request.url.startswith(site.as_uri()) else None)  # fmt: skip
            new.goto(f"{site.as_uri()}/{name}")
            new.wait_for_selector("html[data-ready]")
            return new

        yield page
        browser.close()
    assert faults == []


def lines(page: Any) -> int:
    return int(page.locator("#table tbody tr").count())


def test_index_filters_and_turns_pages(opened: Open) -> None:
    page = opened("index.html")
    assert lines(page) == 100
    page.click("#after")
    assert lines(page) == DEVICES + 2 - 100
    page.fill("#search", "board-01")
    assert lines(page) == 10
    page.fill("#search", "")
    page.check("#stepped")
    assert lines(page) == 1


def test_device_page_draws_the_series_with_its_step(opened: Open) -> None:
    page = opened("index.html")
    page.check("#stepped")
    page.click("#table tbody td:first-child a")
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#title") == "desk"
    page.click("#table tbody button")
    assert page.locator("#charts svg circle").count() == RUNS
    assert page.locator("#charts svg .change").count() == 1
    assert "%" in page.inner_text("#charts p.step")


@pytest.mark.parametrize("width", [390, 1280])
def test_words_of_a_chart_keep_their_size_on_narrow_pages(opened: Open, width: int) -> None:
    page = opened("index.html")
    page.set_viewport_size({"width": width, "height": 900})
    page.check("#stepped")
    page.click("#table tbody td:first-child a")
    page.wait_for_selector("html[data-ready]")
    page.click("#table tbody button")
    height = page.locator("#charts svg text").first.bounding_box()["height"]
    assert 11 <= height <= 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_name_of_a_device_cannot_act(opened: Open) -> None:
    page = opened("index.html")
    page.fill("#search", "onerror")
    assert page.inner_text("#table tbody td:first-child") == EVIL
    assert page.locator("#table img").count() == 0
    page.click("#table tbody td:first-child a")
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#title") == EVIL


PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}


@pytest.mark.parametrize("name", ["index.html", "device.html#0"])
def test_a_phone_shows_what_to_deploy_without_scrolling_sideways(opened: Open, name: str) -> None:
    page = opened(name, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for column in ("deploy", "speed") if name == "index.html" else ("deployment", "p50"):
        box = page.locator(f'#table tbody td[data-name="{column}"]').first.bounding_box()
        assert box["x"] + box["width"] <= 390


def test_variants_that_a_backend_does_not_support_are_one_line(opened: Open) -> None:
    page = opened("index.html")
    page.fill("#search", "onerror")
    page.click("#table tbody td:first-child a")
    page.wait_for_selector("html[data-ready]")
    unable = page.locator("#table tr.unable")
    assert unable.locator("summary").all_inner_texts() == ["ort: 2 variants unsupported"]
    assert unable.locator("li").first.is_hidden()
