"""The report's page in headless Chromium: what a reader does with it, and what a result file may not."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgebench.record import Record
from edgebench.report.build_report import build_report
from edgebench.store import iter_records
from tests import report_records as make
from tests.report.test_budget_curves import held_to, misfit
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
REFERENCE = sorted((Path(__file__).parents[2] / "results" / "reference").glob("*.jsonl"))


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
        "reference": lambda: [one for file in REFERENCE for one in iter_records(file)],
        "realistic": make.realistic,
        "hostile": make.hostile,
        "decoders": make.decoders,
        "loads": make.loads,
        "budgets": lambda: [held_to("1GiB", 2, 0, 0), held_to("96MiB", 9, 50, 7), misfit("64MiB")],
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
        return seen(new, "tradeoff")

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def seen(page: Any, chart: str) -> Any:
    """The page with this chart scrolled into the view, and therefore drawn."""
    page.evaluate(
        "id => { const e = document.getElementById(id);"
        "for (let up = e; up; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true;"
        "e.scrollIntoView({block: 'center', behavior: 'instant'}); }",
        f"chart-{chart}",
    )
    page.wait_for_selector(f"#chart-{chart} svg, #chart-{chart} canvas, #chart-{chart} .note")
    return page


def labelled(page: Any) -> None:
    """Until the names of the points stand where they stay."""
    seen(page, "tradeoff")
    page.wait_for_selector("#chart-tradeoff[data-labelled] svg")


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
    labelled(page)


def facet(page: Any, name: str, value: str) -> Any:
    """The box of a value; the filter is opened for it."""
    page.evaluate("document.getElementById('filter').open = true")
    return page.locator(f'input[data-facet="{name}"][value="{value}"]')


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
    facet(opened, "backend", "openvino").uncheck()
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
    facet(opened, "device", "desk").focus()
    opened.keyboard.press("Space")
    settle(opened)
    assert opened.locator("#table tr.device").all_inner_texts() == ["board"]
    assert rows(opened) == 2
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


def test_the_record_opens_by_keyboard_and_escape_gives_the_focus_back(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.focus("#chart-tradeoff")
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#tip").is_visible()
    assert "int8-static" in opened.locator("#tip").inner_text()
    assert "p50 2.3" in opened.locator("#spoken").inner_text()
    opened.keyboard.press("Enter")
    record = opened.locator("dialog#record")
    assert "sha256" in record.inner_text()
    assert "edgebench run" in record.inner_text()
    assert opened.locator("#tip").is_hidden()
    opened.keyboard.press("Escape")
    assert record.is_hidden()
    assert opened.evaluate("document.activeElement.id") == "chart-tradeoff"
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Escape")
    assert opened.locator("#tip").is_hidden()
    name = opened.locator("#table button.name").nth(2)
    words = name.inner_text()
    name.press("Enter")
    assert words in opened.locator("#record-name").inner_text()
    opened.keyboard.press("Escape")
    assert opened.evaluate("document.activeElement.textContent") == words


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_the_card_of_a_point_leaves_the_point_free(page: Open, size: tuple[int, int]) -> None:
    opened = page("many", viewport={"width": size[0], "height": size[1]})
    choose(opened, "workload-1@1 · single_stream")
    opened.focus("#chart-tradeoff")
    for _ in range(25):
        opened.keyboard.press("ArrowRight")
        opened.keyboard.press("ArrowRight")
        settle(opened)
        tip = opened.locator("#tip").bounding_box()
        ring = opened.locator("#chart-tradeoff .focus_marks path").bounding_box()
        middle = [ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2]
        point = {"x": middle[0] - 14, "y": middle[1] - 14, "width": 28, "height": 28}
        assert apart(tip, point), (tip, point)
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= size[0]


def apart(one: Any, two: Any) -> bool:
    return bool(
        one["x"] + one["width"] <= two["x"]
        or two["x"] + two["width"] <= one["x"]
        or one["y"] + one["height"] <= two["y"]
        or two["y"] + two["height"] <= one["y"]
    )


def boxes(page: Any, selector: str) -> list[Any]:
    return list(
        page.evaluate(
            "selector => [...document.querySelectorAll(selector)].map(e => {"
            "const {x, y, width, height} = e.getBoundingClientRect();"
            "return {x, y, width, height, words: e.textContent}; })",
            selector,
        )
    )


def on_the_front(page: Any) -> int:
    """Rows of the chosen workload that are on the front or the choice, and have a point."""
    return int(
        page.evaluate(
            "(() => { const r = JSON.parse(document.getElementById('report').textContent).report;"
            "const g = +document.getElementById('group').value;"
            "const x = r.groups[g].x === 'rate' ? 'rate_per_s' : 'latency_ms';"
            "const y = {quality: 'quality', memory: 'memory_mib', energy: 'energy_mj'}"
            "[document.getElementById('against').value];"
            "return r.groups[g].rows.map(i => r.rows[i]).filter(row => (row.on_front || row.pick)"
            " && row.numbers[x] !== undefined && row.numbers[y] !== undefined).length; })()"
        )
    )


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["realistic", "many", "reference"])
def test_every_point_of_the_front_has_its_name_and_none_meets_another(
    page: Open, kind: str, width: int
) -> None:
    opened = page(kind, viewport={"width": width, "height": 900})
    for value in opened.locator("#group option").evaluate_all("all => all.map(o => o.value)"):
        if value == "-1" or int(value) > 6:
            continue
        opened.select_option("#group", value)
        if opened.locator("#chart-tradeoff .note").count():
            continue
        for against in opened.locator("#against option").all_inner_texts():
            opened.select_option("#against", against)
            labelled(opened)
            names = boxes(opened, "#chart-tradeoff .labels_marks text")
            assert len(names) == on_the_front(opened)
            points = boxes(
                opened, "#chart-tradeoff .ranked_marks path, #chart-tradeoff .struck_marks path"
            )
            chart = opened.locator("#chart-tradeoff svg").bounding_box()
            for one, two in itertools.combinations(names, 2):
                assert apart(one, two), (value, against, one, two)
            for name, point in itertools.product(names, points):
                assert apart(name, point), (value, against, name, point)
            assert all(
                chart["x"] <= name["x"] and name["x"] + name["width"] <= chart["x"] + chart["width"]
                for name in names
            )


def test_a_struck_point_is_hollow_in_its_colour_and_says_why(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    struck = opened.locator("#chart-tradeoff .struck_marks path")
    assert struck.count() == 1
    colours = opened.evaluate(
        "(() => { const style = s => { const c = getComputedStyle(document.querySelector(s));"
        "return [c.fill, c.stroke]; }; return [style('#chart-tradeoff .struck_marks path'),"
        "[...document.querySelectorAll('#chart-tradeoff .ranked_marks path')]"
        ".map(e => getComputedStyle(e).fill)]; })()"
    )
    (fill, stroke), others = colours
    assert fill in ("none", "rgba(0, 0, 0, 0)", "transparent")
    assert stroke in others, "the colour of a device that has other rows"
    struck.hover(force=True)
    opened.locator("#tip .why").wait_for()
    assert "0.41 is below the floor" in opened.locator("#tip .why").inner_text()


def test_the_floor_stands_in_the_header_and_in_the_chart(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    opened.select_option("#against", "quality")
    labelled(opened)
    assert opened.locator("#chart-tradeoff .floors_marks line").count() == 1
    assert opened.locator("#chart-tradeoff .floor_names_marks text").inner_html() == "floor 0.85"
    for place in ("#about", ".decided >> nth=0"):
        assert "accuracy at least 0.85" in opened.locator(place).inner_text()
    opened.select_option("#against", "memory")
    labelled(opened)
    assert opened.locator("#chart-tradeoff .floors_marks line").count() == 0


def test_more_than_four_decisions_begin_with_a_matrix(page: Open) -> None:
    opened = page("reference")
    assert opened.locator("#decision > :nth-child(2)").get_attribute("class") == "card matrix"
    heads = opened.locator(".matrix thead th").all_inner_texts()
    assert heads == ["workload", "amd-epyc-2c-24g", "intel-xeon-2c-24g"]
    assert opened.locator(".matrix tbody tr").count() == opened.locator("#group option").count() - 1
    cell = opened.locator(".matrix tbody tr", has_text="music-transcription@1").locator("td").first
    cell.locator("a").click()
    about = opened.locator("#about .deploy").first.inner_text()
    assert about.startswith(f"Deploy {cell.locator('a').inner_text()} on amd-epyc-2c-24g")
    assert page().locator(".decision").count() == 4
    assert page().locator(".matrix").count() == 0


def test_each_block_begins_with_the_deploy_line_and_has_one_line_of_doubt(page: Open) -> None:
    opened = page("reference")
    blocks = opened.locator(".decision")
    assert blocks.count() >= 12
    for block in blocks.all():
        (first, *_) = block.locator(".deploy, .figures, .doubt").all()
        assert first.get_attribute("class") == "deploy"
        assert block.locator(".doubt").bounding_box()["height"] < 32
        assert block.locator(".warnings").is_hidden()
        assert block.locator(".doubt span").inner_text()


def test_rows_stand_by_merit_and_can_be_read(page: Open) -> None:
    opened = page("decoders")
    for value in opened.locator("#group option").evaluate_all("all => all.map(o => o.value)"):
        opened.select_option("#group", value)
        classes = opened.locator("#table tr[data-row]").evaluate_all(
            "all => all.map(e => e.className.includes('struck'))"
        )
        assert value == "-1" or classes == sorted(classes), "what is struck comes last"
    assert opened.evaluate(
        "[...document.querySelectorAll('#rows *, #decoders *')].every("
        "e => !getComputedStyle(e).textDecorationLine.includes('line-through'))"
    )
    seen(opened, "scaling-0")
    for table in opened.locator(".decoders").all():
        struck = table.locator("tbody tr:not(.because)").evaluate_all(
            "all => all.map(e => e.className.includes('struck'))"
        )
        assert struck
        assert struck == sorted(struck)
        assert "choice" in table.locator("tbody tr").first.get_attribute("class")


def test_unsupported_variants_of_a_backend_are_one_folded_line(page: Open) -> None:
    opened = page("reference")
    opened.select_option("#group", label="smollm2-chat@1 · generate 32 tokens after 128")
    lines = opened.locator("#table tr.unable summary").all_inner_texts()
    assert "llama_cpp: 6 variants unsupported" in lines
    assert len(lines) == len({line.split(":")[0] for line in lines}) == 5
    assert lines == opened.locator("#decoders .unable summary").all_inner_texts()
    assert opened.locator("#table tr.unable li").first.is_hidden()
    assert not [name for name in cells(opened, 2) if "llama_cpp fp16" in name]


def test_only_what_can_be_chosen_is_offered(page: Open) -> None:
    opened = page()
    for value in opened.locator("#group option").evaluate_all("all => all.map(o => o.value)"):
        opened.select_option("#group", value)
        for name in ("device", "backend", "precision", "front"):
            own = opened.evaluate(
                "name => { const r = JSON.parse(document.getElementById('report').textContent).report;"
                "const g = +document.getElementById('group').value;"
                "const some = g < 0 ? r.rows : r.groups[g].rows.map(i => r.rows[i]);"
                "return [...new Set(some.map(row => row[name]))].sort(); }",
                name,
            )
            offered = opened.locator(f'input[data-facet="{name}"]').evaluate_all(
                "all => all.map(e => e.value).sort()"
            )
            assert offered == (own if len(own) > 1 else [])
    alone = page("roofline")
    for control in ("#group", "#color"):
        assert alone.locator(control).is_hidden()


@pytest.mark.parametrize("kind", ["reference", "realistic", "decoders"])
def test_nothing_is_said_in_python(page: Open, kind: str) -> None:
    opened = page(kind)
    opened.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    words = opened.locator("body").inner_text()
    assert "What differs" in words or kind != "reference"
    assert re.findall(r"\[['\"\[\]]|\bNone\b|\bTrue\b|\bFalse\b|\{'", words) == []


def test_a_phone_shows_the_reference_results_in_a_third_of_what_it_was(page: Open) -> None:
    opened = page("reference", viewport={"width": 390, "height": 844}, is_mobile=True)
    assert opened.evaluate("document.documentElement.scrollHeight") <= 22_112 / 3
    assert opened.evaluate("document.documentElement.scrollWidth") == 390


def test_charts_are_drawn_when_they_are_near_and_all_for_paper(page: Open) -> None:
    opened = page("reference")
    assert opened.locator("#chart-series svg").count() == 0
    seen(opened, "series")
    assert opened.locator("#chart-series svg").count() == 1
    assert (
        opened.locator("#chart-memory svg").count() + opened.locator("#roofline[open]").count() <= 1
    )
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.wait_for_function("document.querySelectorAll('.plot.coming').length === 0")
    assert opened.locator("details.section:not([open])").count() == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details.section:not([open])").count() > 2


#: Of every text that is shown: its contrast to what is behind it, where that is less than asked for.
_CONTRAST = """(() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const ground = (e) => { const all = []; 
    for (let up = e; up; up = up.parentElement) all.push(parse(getComputedStyle(up).backgroundColor));
    return all.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]); };
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName)
        || !e.checkVisibility() || e.closest(":disabled")) continue;
    const style = getComputedStyle(e);
    const behind = ground(e.closest("svg") ? e.closest(".plot") : e);
    const ink = over(parse(e.closest("svg") ? style.fill : style.color), behind);
    const [a, b] = [light(ink), light(behind)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5 && !e.closest(".halos_marks")) found.push([walker.currentNode.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["reference", "realistic"])
def test_every_text_stands_out_from_what_is_behind_it(page: Open, kind: str, scheme: str) -> None:
    opened = page(kind, color_scheme=scheme)
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.wait_for_function("document.querySelectorAll('.plot.coming').length === 0")
    assert opened.evaluate(_CONTRAST) == []


def test_numbers_of_a_column_stand_below_each_other(page: Open) -> None:
    opened = page("reference")
    edges = opened.locator('#table td[data-name="p50"] small').evaluate_all(
        "all => [...new Set(all.filter(e => e.textContent).map(e => Math.round(e.getBoundingClientRect().left)))]"
    )
    assert len(edges) == 1
    assert "tabular-nums" in opened.evaluate(
        "getComputedStyle(document.querySelector('#table td.number')).fontVariantNumeric"
    )


def test_every_control_is_reached_by_tab_with_a_visible_focus(page: Open) -> None:
    opened = page()
    opened.evaluate("document.getElementById('filter').open = true")
    seen, rounds = set(), 0
    for _ in range(200):
        opened.keyboard.press("Tab")
        what = opened.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            "return [e === document.body ? 'BODY' : e.id || e.getAttribute('data-facet') ||"
            "e.textContent, s.outlineStyle]; })()"
        )
        seen.add(what[0])
        rounds += what[0] == "BODY"  # past the last one: from the top again
        if rounds > 1:
            break
        assert what[0] == "BODY" or what[1] != "none", what
    assert {"theme", "group", "against", "search", "device", "chart-tradeoff"} <= seen


def test_ticking_a_row_draws_its_samples_and_tells_numbers(page: Open) -> None:
    opened = page()
    choose(opened, IMAGES)
    seen(opened, "ecdf")
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
    seen(opened, "series")
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
    seen(opened, "series")
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
    seen(opened, "energy")
    fills = [
        bar.get_attribute("fill")
        for bar in opened.locator("#chart-energy svg .mark-rect path").all()
        if bar.get_attribute("stroke")
    ]
    assert sorted(fill == "transparent" for fill in fills) == [False, False, True]


def test_the_roofline_is_drawn_or_says_why_not(page: Open) -> None:
    opened = seen(page("roofline"), "roofline")
    opened.wait_for_selector("#chart-roofline .mark-symbol")
    assert "fp32, 1 thread" in opened.locator("#chart-roofline").inner_html()
    opened.locator('details[data-numbers="roofline"] summary').click()
    assert "compute" in opened.locator('details[data-numbers="roofline"] table').inner_text()
    assert (
        "no count of the model" in seen(page(), "roofline").locator("#chart-roofline").inner_text()
    )
    assert opened.locator("#roofline-rest").inner_text() == ""


def test_a_chart_says_how_many_rows_it_leaves_out(page: Open) -> None:
    assert "24 of 50 rows are drawn" in page("many").locator("#cost-rest").inner_text()
    assert page().locator("#cost-rest").inner_text() == ""


def test_accuracy_over_time_and_its_fits_are_drawn(page: Open) -> None:
    opened = seen(page("decoders"), "scaling-0")
    drawn = opened.locator("#chart-scaling-0 svg")
    assert drawn.locator("g.mark-symbol.role-mark path").count() == 12
    assert drawn.locator("g.mark-line.role-mark path").count() == 1
    assert "16 \u00d7 4" in drawn.inner_html()
    for fit in ("fit-0-0-0", "fit-0-0-1"):
        seen(opened, fit)
    opened.locator("#scaling summary", has_text="Numbers of every budget").click()
    assert "0.00-0.14" in opened.locator("#scaling details table").first.inner_text()
    assert opened.locator("#decoders tr.because").count() == 1
    assert opened.locator("#decoders details.unable").count() == 1
    labels = opened.locator("#scaling .vega-embed").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert len(labels) == 3
    assert all(labels)


def test_the_new_charts_follow_the_theme(page: Open) -> None:
    opened = seen(page("decoders", color_scheme="dark"), "scaling-0")
    line = "getComputedStyle(document.querySelector('#chart-scaling-0 svg g.mark-line.role-mark path')).stroke"
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
        for name in opened.locator("#table button.name").all():
            name.click()
            opened.keyboard.press("Escape")
    opened.select_option("#color", "backend")
    opened.select_option("#group", "0")
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
    opened.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    opened.locator("#table button.name").first.press("Enter")
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
    assert opened.locator("#controls .filter").is_hidden()
    opened.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", ["reference", "decoders"])
def test_paper_cuts_no_table(page: Open, kind: str) -> None:
    opened = page(kind, viewport={"width": 718, "height": 1000})  # A4 within its margins
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.wait_for_function("document.querySelectorAll('.plot.coming').length === 0")
    cut = opened.evaluate(
        "[...document.querySelectorAll('#rows table, #decoders table')].filter(e => e.checkVisibility()"
        " && e.getBoundingClientRect().right > 718).map(e => e.innerText.slice(0, 60))"
    )
    assert cut == []
    names = opened.locator("#table button.name").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().height)"
    )
    assert max(names) < 40, "a name in more than two lines"


def test_table_shows_fifty_rows_per_page(page: Open) -> None:
    opened = page("many")
    opened.select_option("#group", "-1")
    assert opened.locator("#page").inner_text() == "1 to 50 of 220"
    for _ in range(4):
        opened.click("#next")
    assert opened.locator("#page").inner_text() == "201 to 220 of 220"
    assert opened.locator("#next").is_disabled()


def test_every_field_and_chart_has_an_accessible_name(page: Open) -> None:
    """Every form field and every chart has a name; headings do not skip a level."""
    opened = page()
    nameless = opened.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter(e =>"
        "!(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert nameless == 0
    seen(opened, "memory")
    labels = opened.locator(".plot .vega-embed").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert labels
    assert all(labels)
    levels = opened.locator("h1, h2, h3").evaluate_all("all => all.map(e => +e.tagName[1])")
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_budgets_of_memory_are_a_curve_with_those_that_do_not_fit(page: Open) -> None:
    opened = seen(page("budgets"), "budgets-0")
    assert opened.locator("#chart-budgets-0 .mark-symbol path").count() == 2
    assert opened.locator("#chart-budgets-0 .mark-rule line").count() >= 1
    assert "no: does not fit into 64.0 MiB" in opened.locator("#budgets table").inner_text()
