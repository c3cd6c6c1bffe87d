"""The report's page in headless Chromium: what a reader does with it, and what a result file may not."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgebench.record import Record
from edgebench.report.build_report import build_report
from tests import report_records as make
from tests.roofline.test_roofline import calibration, worked

pytest.importorskip("vl_convert", reason="needs the extra report")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (make test-browser)"),
]
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield running
        running.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of each kind of records, written once."""
    from edgebench.report.html_page import render

    folder = tmp_path_factory.mktemp("pages")
    kinds: dict[str, Callable[[], list[Record]]] = {
        "realistic": make.realistic,
        "hostile": make.hostile,
        "decoders": make.decoders,
        "loads": make.loads,
        "many": lambda: make.many(220),
        "roofline": lambda: [worked(p50=1e6), worked(p50=3e6, seed=1, variant={"threads": 1})],
    }

    def file(kind: str) -> Path:
        path = folder / f"{kind}.html"
        if not path.exists():
            report = build_report(kinds[kind](), [f"{kind}.jsonl"], lambda devices: [calibration()])
            path.write_text(render(report))
        return path

    return file


@pytest.fixture
def page(browser: Any, files: Callable[[str], Path]) -> Iterator[Open]:
    """Opens a page; in the end there was no console error, no exception and no request."""
    contexts, faults = [], []

    def opened(kind: str = "realistic", **context: Any) -> Any:
        contexts.append(
            browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | context))
        )
        new = contexts[-1].new_page()
        new.on("console", lambda message: faults.append(message.text)
               if message.type in ("error", "warning") else None)  # fmt: skip
        new.on("pageerror", lambda error: faults.append(str(error)))
        new.on("request", lambda request: faults.append(request.url)
               if not request.url.startswith("file:") else None)  # fmt: skip
        new.goto(files(kind).as_uri())
        new.wait_for_selector("html[data-ready]")
        new.wait_for_selector("#chart-tradeoff svg, #chart-tradeoff canvas")
        return new

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def cells(page: Any, column: int) -> list[str]:
    """The visible words of a column of the table."""
    return [
        cell.inner_text().split("\n")[0]
        for cell in page.locator(f"#table tbody tr[data-row] > :nth-child({column})").all()
    ]


def rows(page: Any) -> int:
    return int(page.locator("#table tbody tr[data-row]").count())


def marks(page: Any) -> int:
    """Points in the scatter that are not struck."""
    return int(page.locator("#chart-tradeoff .ranked_marks path").count())


def choose(page: Any, group: str) -> None:
    page.select_option("#group", label=group)


def settle(page: Any) -> None:
    """Until the frame after the next: what a filter changes is drawn in the next one."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


IMAGES = "image-classification@1 · single_stream"


def test_sorting_by_pointer_and_keyboard_says_its_direction(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    head = opened.locator("#table thead th", has_text="p50")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = cells(opened, 3)
    assert up[0].startswith("2.3")
    assert up[-1] == "-"
    opened.keyboard.press("Enter")  # the button kept its focus
    assert head.get_attribute("aria-sort") == "descending"
    down = cells(opened, 3)
    assert down[0].startswith("31")
    assert down[-1] == "-", "unknown values come last both ways"


def test_filters_reach_table_chart_and_count(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    before, points = rows(opened), marks(opened)
    assert (before, points) == (9, 7)
    opened.locator('input[data-facet="backend"][value="openvino"]').uncheck()
    settle(opened)
    assert rows(opened) == 7
    assert marks(opened) == 5
    assert opened.locator("#count").inner_text() == "7 of 9 rows"
    opened.fill("#search", "int8-static desk")
    settle(opened)
    assert {name.split(" ·")[0] for name in cells(opened, 2)} == {
        "ort int8-static threads=2", "ort int8-static threads=1",
    }  # fmt: skip
    opened.click("#clear")
    settle(opened)
    assert rows(opened) == before


def test_devices_are_brushed_apart(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.locator('input[data-facet="device"][value="desk"]').focus()
    opened.keyboard.press("Space")
    settle(opened)
    assert all(name.endswith("board") for name in cells(opened, 2))
    assert marks(opened) == 2


def test_a_region_drawn_in_the_chart_filters_the_table(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.select_option("#against", "memory")
    opened.locator("#chart-tradeoff svg", has_text="peak memory").wait_for()
    opened.locator("#chart-tradeoff svg").scroll_into_view_if_needed()
    box = opened.locator("#chart-tradeoff svg").bounding_box()
    opened.mouse.move(box["x"] + 60, box["y"] + 30)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.55, steps=6)
    opened.mouse.up()
    settle(opened)
    assert 0 < rows(opened) < 9
    assert "within the region" in opened.locator("#count").inner_text()


def test_the_record_shows_under_the_pointer_and_by_keyboard(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.wait_for_selector("#chart-tradeoff svg")
    tip = opened.locator("#tip")
    opened.locator("#chart-tradeoff .ranked_marks path").last.hover(force=True)
    opened.focus("#chart-tradeoff")
    opened.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert "int8-static" in tip.inner_text()
    assert "sha256" in tip.inner_text()
    assert "p50 2.3" in opened.locator("#spoken").inner_text()
    opened.keyboard.press("Enter")
    assert opened.locator('#table button[aria-expanded="true"]').count() == 1
    assert opened.evaluate("document.activeElement.textContent") == "Record"
    assert "edgebench run" in opened.locator("#table tr.open").inner_text()
    opened.keyboard.press("Escape")
    assert tip.is_hidden()


def test_every_control_is_reached_by_tab_with_a_visible_focus(page: Open) -> None:
    opened = page()
    seen = set()
    for _ in range(60):
        opened.keyboard.press("Tab")
        what = opened.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            "return [e === document.body ? 'BODY' : e.id || e.getAttribute('data-facet') ||"
            "e.textContent, s.outlineStyle]; })()"
        )
        seen.add(what[0])
        if what[0] == "BODY":  # past the last one: from the top again
            break
        assert what[1] != "none", what
    assert {"theme", "group", "against", "search", "device", "chart-tradeoff"} <= seen


def test_ticking_a_row_draws_its_samples_and_tells_numbers(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.wait_for_selector("#chart-ecdf svg")
    opened.locator('details[data-numbers="ecdf"] summary').click()
    table = opened.locator('details[data-numbers="ecdf"] table')
    table.locator("tbody tr").first.wait_for()
    before = table.locator("tbody tr").count()
    opened.locator("#table tbody input:not(:checked):not(:disabled)").first.check()
    settle(opened)
    assert table.locator("tbody tr").count() == before + 1


def test_throttling_and_warm_up_are_marked(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    while (ticked := opened.locator("#table tbody input:checked")).count():
        ticked.first.uncheck()
    opened.get_by_label("samples of openvino int8-static threads=1 · desk").check()
    opened.locator('details[data-numbers="series"] summary').click()
    opened.wait_for_selector("#chart-series svg .mark-rect")
    numbers = opened.locator('details[data-numbers="series"]')
    numbers.get_by_text("thermal_throttle").first.wait_for()  # the page fills it after the click
    words = numbers.inner_text()
    assert "warm-up of" in words
    assert opened.locator("#chart-series svg .mark-rect path").count() == 4


def test_a_sustained_load_says_and_shows_that_it_throttled(page: Open) -> None:
    opened = page("loads")
    choose(opened, "image-classification@1 · sustained")
    assert "from 42 s on" in opened.locator("#table tbody").inner_text()
    opened.locator('details[data-numbers="series"] summary').click()
    numbers = opened.locator('details[data-numbers="series"]')
    numbers.get_by_text("slower than at first").first.wait_for()
    bands = opened.locator("#chart-series svg .mark-rect path")
    bands.nth(5).wait_for(state="attached")  # of three processes the warm-up and the heat
    assert bands.count() == 6
    choose(opened, "image-classification@1 · single_stream at 100/s")
    settle(opened)
    assert "120 deadlines missed" in opened.locator("#table tbody").inner_text()


def test_a_modelled_energy_does_not_look_measured(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.wait_for_selector("#chart-energy svg")
    fills = [
        bar.get_attribute("fill")
        for bar in opened.locator("#chart-energy svg .mark-rect path").all()
        if bar.get_attribute("stroke")
    ]
    assert sorted(fill == "transparent" for fill in fills) == [False, False, True]


def test_the_roofline_is_drawn_or_says_why_not(page: Open) -> None:
    opened = page("roofline")
    opened.wait_for_selector("#chart-roofline .mark-symbol")
    assert "fp32, 1 thread" in opened.locator("#chart-roofline").inner_html()
    opened.locator('details[data-numbers="roofline"] summary').click()
    assert "compute" in opened.locator('details[data-numbers="roofline"] table').inner_text()
    assert "no count of the model" in page().locator("#chart-roofline").inner_text()
    assert opened.locator("#roofline-rest").inner_text() == ""


def test_a_chart_says_how_many_rows_it_leaves_out(page: Open) -> None:
    assert "24 of 50 rows are drawn" in page("many").locator("#cost-rest").inner_text()
    assert page().locator("#cost-rest").inner_text() == ""


def test_accuracy_over_time_and_its_fits_are_drawn(page: Open) -> None:
    opened = page("decoders")
    opened.wait_for_selector("#chart-scaling-0 svg .mark-symbol path")
    drawn = opened.locator("#chart-scaling-0 svg")
    assert drawn.locator("g.mark-symbol.role-mark path").count() == 12
    assert drawn.locator("g.mark-line.role-mark path").count() == 1
    assert "16 \u00d7 4" in drawn.inner_html()
    for fit in ("fit-0-0-0", "fit-0-0-1"):
        opened.wait_for_selector(f"#chart-{fit} svg .mark-symbol path")
    opened.locator("#scaling summary", has_text="Numbers of every budget").click()
    assert "0.00-0.14" in opened.locator("#scaling details table").first.inner_text()
    assert opened.locator("#decoders tr.because").count() == 2
    labels = opened.locator("#scaling .vega-embed").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert len(labels) == 3
    assert all(labels)


def test_the_new_charts_follow_the_theme(page: Open) -> None:
    opened = page("decoders", color_scheme="dark")
    opened.wait_for_selector("#chart-scaling-0 svg .mark-symbol path")
    line = "document.querySelector('#chart-scaling-0 svg g.mark-line.role-mark path').getAttribute('stroke')"
    dark = opened.evaluate(line)
    opened.click("#theme")
    opened.wait_for_function(f"{line} !== '{dark}'")


def test_hostile_names_are_words(page: Open) -> None:
    opened = page("hostile")
    assert opened.locator("script").count() == 3
    assert opened.locator("main img, main b").count() == 0
    for value in opened.locator("#group option").evaluate_all("all => all.map(o => o.value)"):
        opened.select_option("#group", value)
        settle(opened)
        while (closed := opened.locator('#table button[aria-expanded="false"]')).count():
            closed.first.click()
    opened.select_option("#color", "backend")
    opened.focus("#chart-tradeoff")
    opened.keyboard.press("ArrowRight")
    settle(opened)
    assert opened.evaluate("window.hacked") is None
    assert make.HOSTILE[0] in opened.locator("#group").inner_text()


def test_the_policy_lets_no_other_script_run(page: Open) -> None:
    opened = page()
    policy = opened.locator('meta[http-equiv="Content-Security-Policy"]').get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
    ran = opened.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "window.addEventListener('securitypolicyviolation', () => {});"
        "return s.textContent && typeof window.ran; })()"
    )
    assert ran == "undefined"


@pytest.mark.parametrize("kind", ["realistic", "hostile", "decoders"])
def test_a_phone_never_scrolls_sideways(page: Open, kind: str) -> None:
    opened = page(kind, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    opened.locator("#table button[aria-expanded]").first.click()
    settle(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    assert opened.locator("#chart-tradeoff").bounding_box()["width"] <= 360


def test_dark_follows_the_system_and_the_button(page: Open) -> None:
    opened = page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = opened.evaluate(background)
    assert dark == "rgb(14, 17, 22)"
    opened.click("#theme")
    assert opened.evaluate(background) == "rgb(245, 246, 248)"
    opened.click("#theme")
    assert opened.evaluate(background) == dark


def test_paper_gets_all_rows_in_light_colours(page: Open, tmp_path: Path) -> None:
    opened = page("many", color_scheme="dark")
    opened.select_option("#group", "-1")
    assert rows(opened) == 50
    opened.emulate_media(media="print")
    settle(opened)
    assert rows(opened) == 220
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(20, 24, 31)"
    assert opened.locator("#controls .facets").is_hidden()
    opened.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_pages_of_the_table(page: Open) -> None:
    opened = page("many")
    opened.select_option("#group", "-1")
    assert opened.locator("#page").inner_text() == "1 to 50 of 220"
    for _ in range(4):
        opened.click("#next")
    assert opened.locator("#page").inner_text() == "201 to 220 of 220"
    assert opened.locator("#next").is_disabled()


def test_what_is_small_and_what_has_a_name(page: Open) -> None:
    """Every form field and every chart has a name; headings do not skip a level."""
    opened = page()
    nameless = opened.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e =>"
        "!(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert nameless == 0
    opened.wait_for_selector("#chart-memory svg")
    labels = opened.locator(".plot .vega-embed").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert labels
    assert all(labels)
    levels = opened.locator("h1, h2, h3").evaluate_all("all => all.map(e => +e.tagName[1])")
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
