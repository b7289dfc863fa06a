"""A page of `report` in a real browser: it starts without an error and shows plots, light and dark, narrow and wide."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stages.run_report import make_report
from stages.settings.report import ReportConfig

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
EARLIER = Path(__file__).parent.parent / "fixtures" / "earlier"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = "<img src=x onerror=alert(1)>"
NARROW, WIDE = 400, 1280


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    work = tmp_path_factory.mktemp("run") / HOSTILE
    shutil.copytree(EARLIER, work)
    out = work.parent / "report.html"
    out.write_bytes(make_report(ReportConfig(work=str(work), out="report.html", images=6), lambda *_: None))
    return out.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip(f"needs a browser ({', '.join(BROWSERS)}) and chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    started.set_script_timeout(120)
    yield started
    started.quit()


def opened(browser: Chrome, page: str, scheme: str, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == NARROW},
    )
    browser.get(page)
    browser.execute_async_script(
        "const done = arguments[0], has = () => document.documentElement.dataset.plots;"
        "const look = () => has() ? done() : setTimeout(look, 50);"
        "look();"
    )


def ask(browser: Chrome, expression: str) -> Any:
    return browser.execute_script(f"return {expression}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_a_page_starts_without_an_error_and_fits(browser: Chrome, page: str, scheme: str, width: int) -> None:
    browser.get_log("browser")
    browser.get_log("performance")
    opened(browser, page, scheme, width)
    assert browser.get_log("browser") == []
    requests = [each["message"] for each in browser.get_log("performance") if 'requestWillBeSent"' in each["message"]]
    assert not [each for each in requests if "http" in each.partition('"url":"')[2][:8]], "it loads nothing"
    plots = ask(browser, "document.querySelectorAll('.plot').length")
    assert plots >= 3
    assert ask(browser, "[...document.querySelectorAll('.plot')].every(each => each.querySelector('.main-svg .trace'))")
    assert ask(browser, "document.documentElement.scrollWidth") <= width
    assert ask(browser, "document.querySelectorAll('main img[onerror]').length") == 0
    assert HOSTILE in ask(browser, "document.querySelector('h1').textContent")
    ground = ask(browser, "getComputedStyle(document.body).backgroundColor")
    ink = ask(browser, "getComputedStyle(document.querySelector('.plot .xtitle')).fill")
    lightness = [sum(map(int, each[4:-1].split(","))) / 3 for each in (ground, ink)]
    assert (lightness[0] > lightness[1]) == (scheme == "light")
    assert abs(lightness[0] - lightness[1]) > 150, "text in plots can be read"


def test_images_are_found_by_key_kept_patches_follow_the_slider_and_one_is_looked_at(
    browser: Chrome, page: str
) -> None:
    opened(browser, page, "light", WIDE)
    shown = "[...document.querySelectorAll('.card')].filter(each => each.offsetParent).map(each => each.title)"
    before = ask(browser, shown)
    assert len(before) == 6
    key = before[0].rpartition("/")[2]
    browser.find_element("id", "find").send_keys(key)
    assert ask(browser, shown) == [each for each in before if key in each] != before

    count = (
        "(() => { const canvas = document.querySelectorAll('.card canvas')[2];"
        "const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "let hidden = 0; for (let at = 0; at < pixels.length; at += 4)"
        " hidden += pixels[at] === 201 && pixels[at + 1] === 206 && pixels[at + 2] === 212;"
        "return Math.round(16 * hidden / (canvas.width * canvas.height)); })()"
    )
    assert ask(browser, count) == 12, "of 16 patches a quarter is kept"
    assert ask(browser, "document.getElementById('told').textContent") == "25% – 4 of 16 patches"
    browser.execute_script(
        "const ratio = document.getElementById('ratio'); ratio.value = 9; ratio.dispatchEvent(new Event('input'));"
    )
    assert ask(browser, count) == 8

    browser.execute_script("document.querySelector('.card').scrollIntoView({block: 'center', behavior: 'instant'})")
    browser.find_element("css selector", ".card").click()
    assert ask(browser, "document.getElementById('closer').open")
    assert ask(browser, "document.getElementById('key').textContent") == key
    panes = ask(browser, "[...document.querySelectorAll('#panes figcaption')].map(each => each.textContent)")
    assert panes[0] == "image"
    assert "scores: 8 of 16 patches kept" in panes
    assert panes.count("reconstructed") == 2
    browser.find_element("css selector", "dialog button").click()
    assert not ask(browser, "document.getElementById('closer').open")
