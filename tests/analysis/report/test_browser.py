"""The page in a headless Chromium: it requests nothing, and can be sorted, zoomed and read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from synthetic_runs import write_run

from analysis import load
from analysis.report.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def file(campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory, campaign)


def written(factory: pytest.TempPathFactory, directory: Path) -> Path:
    path = factory.mktemp("page") / "report.html"
    path.write_text(page(load(directory)).html, encoding="utf-8")
    return path


@contextmanager
def opened(
    chromium: Browser,
    file: Path,
    width: int = 1280,
    colours: Literal["light", "dark"] = "light",
) -> Iterator[Page]:
    """The page from disk, once its timeline is drawn; any other request or error fails the test."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
    tab = context.new_page()
    requests: list[str] = []
    errors: list[str] = []

    def decide(route: Any) -> None:
        if route.request.url == file.as_uri():
            route.continue_()
        else:
            requests.append(route.request.url)
            route.abort()

    tab.route("**/*", decide)
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else 0)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(file.as_uri())
    tab.wait_for_selector("#chart[data-shown]", timeout=60_000)
    yield tab
    tab.wait_for_timeout(200)
    outside = {url for url in requests if not url.startswith(("data:", "blob:"))}
    assert outside == {file.as_uri()}
    assert errors == []
    context.close()


def test_every_image_has_a_size_and_a_text(chromium: Browser, file: Path) -> None:
    with opened(chromium, file) as tab:
        images = tab.evaluate(
            """async () => Promise.all([...document.images].map(async (each) => {
              await each.decode();
              const box = each.getBoundingClientRect();
              return [each.alt, each.naturalWidth, box.width, box.height, each.checkVisibility()];
            }))"""
        )
    assert len(images) >= 4
    for alt, natural, wide, high, visible in images:
        assert len(alt) > 20
        assert natural > 100
        assert wide > 300
        assert high > 80
        assert visible


def column(tab: Page, table: str, number: int) -> list[str]:
    rows = tab.locator(f"#{table} tbody tr").all()
    return [row.locator("th, td").nth(number).inner_text() for row in rows]


def test_tables_sort_by_click_and_by_key(chromium: Browser, file: Path) -> None:
    with opened(chromium, file) as tab:
        assert column(tab, "table-means", 0) == ["collapipe", "titanic"]
        heading = tab.locator("#table-means thead th").nth(1)
        button = heading.get_by_role("button")
        button.click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column(tab, "table-means", 0) == ["collapipe", "titanic"]
        button.focus()
        tab.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column(tab, "table-means", 0) == ["titanic", "collapipe"]
        tab.locator("#table-seeds thead button").nth(2).click()
        assert column(tab, "table-seeds", 2) == ["0", "0", "1", "1", "2", "2"]


def test_the_timeline_shows_the_bars_of_the_chosen_round(chromium: Browser, file: Path) -> None:
    data = "Object.fromEntries(Bokeh.documents[0].roots()[0].renderers[0].data_source.data)"
    if_plain = "Bokeh.documents[0].roots()[0].renderers[0].data_source.data"
    with opened(chromium, file) as tab:
        rounds = [each.inner_text() for each in tab.locator("#timeline-round option").all()]
        assert rounds == ["0 (first)", "1 (slowest)", "2 (last)"]
        tab.select_option("#timeline-run", "titanic-seed1")
        tab.select_option("#timeline-round", "1")
        tab.wait_for_selector('#chart[data-shown="titanic-seed1 1"]')
        bars = tab.evaluate(
            f"(() => {{ const d = {if_plain} instanceof Map ? {data} : {if_plain};"
            " return ['label', 'start', 'end', 'node'].map((key) => Array.from(d[key])); })()"
        )
        rows = {tuple(row) for row in zip(*bars, strict=True)}
        assert ("F 0", "0.000000", "1.000000", "c0.d1") in rows
        assert ("activation → c0.d1", "1.000000", "1.250000", "c0.d0") in rows
        assert ("pipeline", "0.000000", "6.500000", "phase") in rows
        tab.get_by_text("Table of this round").first.click()
        cells = tab.locator("#timeline-table tbody tr").filter(has_text="activation →")
        assert cells.inner_text().split("\t") == [
            "c0.d0", "sent", "activation → c0.d1", "1.000000", "1.250000",
            "1,000 B, SINR 0.0 dB, delivered",
        ]  # fmt: skip
        tab.get_by_role("button", name="Zoom in").press("Enter")
        assert shown_part(tab) == pytest.approx((6.5 / 4, 6.5 * 3 / 4))
        tab.get_by_role("button", name="Whole round").press("Space")
        assert shown_part(tab) == pytest.approx((0, 6.5))


def shown_part(tab: Page) -> tuple[float, float]:
    start, end = tab.evaluate(
        "(({ start, end }) => [start, end])(Bokeh.documents[0].roots()[0].x_range)"
    )
    return float(start), float(end)


def test_a_timeline_of_ten_thousand_bars_follows_the_wheel(
    chromium: Browser, file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From a wheel event to the frame after the one that it caused, at the 95th percentile."""
    nodes = [f"c0.d{number}" for number in range(10)]
    times = np.arange(500) * 0.02
    computes = [
        {"node": node, "stage": stage, "micro_batch": n, "start_s": t, "end_s": t + 0.015}
        for stage, node in enumerate(nodes)
        for n, t in enumerate(times)
    ]
    transfers = [
        {"src": node, "dst": nodes[stage + 1], "start_s": t + 0.015, "end_s": t + 0.02}
        for stage, node in enumerate(nodes[:-1])
        for t in times[::2]
    ]
    run = write_run(
        tmp_path_factory.mktemp("many") / "run",
        rounds=[{"duration_s": 10.0, "pipeline_s": 10.0}],
        computes=computes,
        transfers=transfers,
    )
    with opened(chromium, file) as tab:
        few = turned_wheel(tab)
    with opened(chromium, written(tmp_path_factory, run)) as tab:
        status = tab.locator("#timeline-status").inner_text()
        assert int(status.split(": ")[1].split(" bars")[0].replace(",", "")) >= 10_000
        many = turned_wheel(tab)
    print(f"95th percentile of the delay: {many:.0f} ms; with a few bars {few:.0f} ms")
    # With few bars, the delay shows how busy the machine is; about 50 ms where it is not.
    assert many <= max(200, 4 * few)


def turned_wheel(tab: Page) -> float:
    """The 95th percentile of the delays (ms) of 48 wheel events, which change what is shown."""
    tab.evaluate(
        """() => {
          window.delays = [];
          const measure = (event) => requestAnimationFrame(() => requestAnimationFrame(
            (now) => window.delays.push(performance.now() - event.timeStamp)));
          document.getElementById("chart").addEventListener("wheel", measure, true);
        }"""
    )
    chart = tab.locator("#chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen = set()
    for number in range(48):
        tab.mouse.wheel(0, -60 if number % 4 < 2 else 60)
        tab.wait_for_function("(count) => window.delays.length > count", arg=number)
        seen.add(shown_part(tab))
    assert len(seen) >= 3, "the wheel changed nothing"
    return float(np.percentile(tab.evaluate("window.delays"), 95))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_serious_violation_of_accessibility(
    chromium: Browser, file: Path, colours: Literal["light", "dark"]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with opened(chromium, file, colours=colours) as tab:
        for summary in tab.locator("summary").all():
            summary.click()
        found = Axe().run(tab).response
    grave = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert len(found["passes"]) > 20
    assert not grave, json.dumps(grave, indent=1)[:3000]


@pytest.mark.parametrize("width", [380, 1280])
def test_the_page_is_never_wider_than_the_screen(chromium: Browser, file: Path, width: int) -> None:
    with opened(chromium, file, width) as tab:
        for summary in tab.locator("summary").all():
            summary.click()
        wide = tab.evaluate("document.documentElement.scrollWidth")
        table = tab.locator("#table-means").bounding_box()
        names = tab.locator("#table-seeds tbody th").first.bounding_box()
    assert wide <= width
    assert table is not None
    assert names is not None
    assert names["width"] < width / 2, "the first column stays, and must leave room for others"
    if width == 380:
        assert table["width"] > width, "nothing had to scroll"


def test_on_paper_the_figure_stands_for_the_timeline(chromium: Browser, file: Path) -> None:
    with opened(chromium, file) as tab:
        tab.emulate_media(media="print")
        assert not tab.locator("#timeline").is_visible()
        assert tab.locator("#figure-timeline").is_visible()
        assert tab.locator("#table-means").is_visible()
