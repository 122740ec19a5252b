"""The live page in a real browser: a moving picture, the right labels, in light and dark, by keyboard."""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faces import read_video
from livepage import LivePage, token_file, until

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier
from mien.edge.config import Config
from mien.edge.demo import write_moving_picture
from mien.edge.errors import RuntimeMissing
from mien.edge.finder import make_finder
from mien.edge.overlay import _COLOURS, luminance
from mien.edge.pipeline import Pipeline
from mien.edge.records import Frame
from mien.edge.sinks.webpage.app import ASSETS
from mien.edge.smoother import Smoother
from mien.edge.sources import open_source
from mien.edge.sources.base import Source
from mien.edge.status import Board

pytest.importorskip("uvicorn", reason="the live page needs: pip install 'mien[web]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs: pip install selenium")

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Film(Source):
    """A video at its own rate, again and again, as a camera would give it."""

    def __init__(self, path: Path) -> None:
        self._film = open_source(str(path), loop=True)

    def open(self) -> None:
        self._film.open()
        self.frame_rate = self._film.frame_rate

    def close(self) -> None:
        self._film.close()

    def stop(self) -> None:
        super().stop()
        self._film.stop()

    def frames(self) -> Iterator[Frame]:
        for frame in self._film:
            time.sleep(max(0.0, frame.time - time.time()))
            yield frame


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    from selenium.webdriver.chrome.service import Service

    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """No script fails, nothing is refused by the page's own policy, and nothing is fetched from elsewhere."""
    yield
    if "browser" in request.fixturenames:
        browser = request.getfixturevalue("browser")
        messages = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        browser.get("about:blank")
        assert messages == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "demo.avi"
    try:
        write_moving_picture(path)
    except RuntimeMissing as error:
        pytest.skip(str(error))
    return path


def reader() -> tuple[Any, Any, Any]:
    """What the bundled model reads faces with: a finder, a classifier and a smoother."""
    classifier, settings = Classifier(Bundle.load(DEFAULT_BUNDLE)), Config()
    smoother = Smoother(classifier.labels, classifier.uncertain_below, **vars(settings.smoothing))
    return make_finder(settings.detector, settings.tracker, every_frame=False), classifier, smoother


def showing(film: Path) -> LivePage:
    """The page of a film that is read by the bundled model."""
    return LivePage(source=Film(film), pipeline=reader())


def look(browser: Any, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    """Makes the browser as wide as a screen or a phone, light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def screenshot(browser: Any) -> np.ndarray:
    """uint8 [H, W, 3] of the window."""
    data = np.frombuffer(base64.b64decode(browser.get_screenshot_as_base64()), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def picture_pixels(browser: Any) -> np.ndarray:
    """What the browser shows of the live picture, read back from a canvas."""
    address = browser.execute_script(
        "const image = document.getElementById('picture'), canvas = document.createElement('canvas');"
        "if (image.hidden || !image.naturalWidth) return '';"
        "canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;"
        "canvas.getContext('2d').drawImage(image, 0, 0); return canvas.toDataURL('image/png');"
    )
    if not address:
        return np.zeros((0, 0, 3), np.uint8)
    data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def text(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)"
    return browser.execute_script(script, selector)  # type: ignore[no-any-return]


def test_shows_the_demo_moving_and_names_what_is_read_in_it(browser: Any, demo: Path) -> None:
    look(browser)
    with showing(demo) as page:
        browser.get(page.url)
        until(lambda: picture_pixels(browser).size > 0)
        first = picture_pixels(browser)
        until(lambda: np.abs(picture_pixels(browser).astype(int) - first).mean() > 5)
        assert first.shape == (480, 640, 3)
        expected = rows_of(demo)
        often = {row for row, _ in expected.most_common(2)}
        seen: dict[tuple[str, ...], tuple[int, ...]] = {}
        until(lambda: seen.update(faces_on_page(browser)) or often <= set(seen), 40)
        assert ("happy",) in often and set(seen) <= set(expected)
        assert all(0 <= percent <= 100 for row in seen.values() for percent in row)
        until(lambda: text(browser, "#hour tbody th") != [], 40)
        lanes = dict(zip(text(browser, "#hour tbody th"), text(browser, "#hour tbody td:last-child"), strict=True))
        assert re.fullmatch(r"\d+ s|\d+ min.*", lanes["happy"])
        assert text(browser, "#state") == ["Live"] and text(browser, ".notice span") == ["Emotions are being read"]
        assert text(browser, "#stages tbody th") == ["capture", "detect", "classify", "draw", "sink"]
        device = dict(zip(text(browser, "#device dt"), text(browser, "#device dd"), strict=True))
        assert device["Model"] == "tiny 1" and device["Mien"]
        assert float(text(browser, "#fps")[0]) > 0


def rows_of(film: Path) -> Counter[tuple[str, ...]]:
    """The emotions in each frame of a film that is shown twice, and how often they are read."""
    frames = 2 * len(read_video(film))
    with open_source(str(film), loop=True) as source:
        pipeline = Pipeline(source, *reader(), [])
        rows = (pipeline.observe(frame).readings for frame in itertools.islice(source, frames))
        return Counter(tuple(sorted(reading.emotion for reading in row)) for row in rows)


def faces_on_page(browser: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The emotions in the page's list, and how sure it says that it is, percent."""
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#faces li')].map((row) =>"
        " [row.querySelector('.emotion').textContent, row.querySelector('.confidence').textContent])"
    )
    rows = sorted(rows)
    return {tuple(row[0] for row in rows): tuple(int(row[1].removesuffix("\u00a0%")) for row in rows)}


def test_names_what_is_read_in_a_real_film(browser: Any, media: Path) -> None:
    look(browser)
    film = media / "thanks.mkv"
    expected = rows_of(film)
    often, _ = expected.most_common(1)[0]
    with showing(film) as page:
        browser.get(page.url)
        seen: dict[tuple[str, ...], tuple[int, ...]] = {}
        until(lambda: picture_pixels(browser).size > 0)
        first = picture_pixels(browser)
        until(lambda: np.abs(picture_pixels(browser).astype(int) - first).max() > 60)
        until(lambda: seen.update(faces_on_page(browser)) or often in seen, 40)
    assert len(often) == 1 and set(seen) <= set(expected)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_fits_screens_and_phones_in_light_and_dark(browser: Any, scheme: str, width: int) -> None:
    look(browser, width, 844, scheme)
    with LivePage() as page:
        browser.get(page.url)
        until(lambda: picture_pixels(browser).size > 0)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        corner = screenshot(browser)[2, 2]
        buttons = browser.execute_script(
            "return [...document.querySelectorAll('button')].filter((b) => b.offsetParent)"
            ".map((b) => b.getBoundingClientRect().height)"
        )
    assert wide <= width
    assert (corner > 200).all() if scheme == "light" else (corner < 60).all()
    assert buttons and min(buttons) >= 24  # WCAG 2.2, target size


def test_is_used_by_keyboard(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look(browser)
    with LivePage() as page:
        browser.get(page.url)
        until(lambda: picture_pixels(browser).size > 0)

        def press(key: str) -> Any:
            ActionChains(browser).send_keys(key).perform()
            return browser.switch_to.active_element

        assert press(Keys.TAB).text == "Skip to the faces"
        pause = press(Keys.TAB)
        assert pause.text == "Pause"
        press(Keys.ENTER)
        assert pause.text == "Go on"
        until(lambda: page.sink._hub.viewers == 0)  # nothing is encoded for a picture that stands still
        assert browser.execute_script("return document.getElementById('still').width") == 160
        press(Keys.SPACE)
        until(lambda: page.sink._hub.viewers == 1)
        assert press(Keys.TAB).text == "Interface for programs"


def test_tells_screen_readers_what_changes(browser: Any) -> None:
    look(browser)
    with LivePage() as page:
        browser.get(page.url)
        until(lambda: picture_pixels(browser).size > 0 and text(browser, "#said") == ["face 1 happy"])
        live = browser.execute_script("return document.getElementById('said').getAttribute('aria-live')")
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    assert live == "polite"
    named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n.get("ignored")}
    roles = {role for role, _ in named}
    assert {
        ("heading", "kitchen"),
        ("heading", "Faces now"),
        ("heading", "The last hour"),
        ("button", "Pause"),
    } <= named
    assert any(role == "image" and name.startswith("Live picture") for role, name in named)
    assert {"list", "table", "main", "status"} <= roles
    assert not [name for role, name in named if role in ("button", "link", "image", "textbox") and not name]


def test_without_the_picture_it_says_so(browser: Any) -> None:
    look(browser)
    with LivePage("?picture=no", notice="Hier werden Gefühle gelesen") as page:
        browser.get(page.url)
        until(lambda: text(browser, "#faces .emotion") == ["happy"])
        assert text(browser, "#no-picture") == ["This device sends no picture, only what it reads in it"]
        assert picture_pixels(browser).size == 0
        assert text(browser, ".notice span") == ["Hier werden Gefühle gelesen"]


def test_shows_how_warm_the_device_is_and_what_holds_it_back(browser: Any, tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("83400\n")
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    look(browser)
    with LivePage() as page:
        page.pipeline._board = Board(root=tmp_path)
        browser.get(page.url)
        until(lambda: "Temperature" in text(browser, "#device dt"))
        device = dict(zip(text(browser, "#device dt"), text(browser, "#device dd"), strict=True))
        warnings = text(browser, "#device dd.warn")
        until(lambda: re.search(r"^Face 1 · for [1-9]\d* s · next sad 25\u00a0%$", text(browser, "#faces .about")[0]))
    assert device["Temperature"] == "83 °C" and "under-voltage now" in device["Throttled"]
    assert warnings == [device["Temperature"], device["Throttled"]]


def test_logs_in_and_out(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    look(browser)
    path, token = token_file(tmp_path)
    with LivePage(f"?token={path}") as page:
        browser.get(page.url)
        assert browser.current_url == f"{page.url}/login"
        browser.find_element(By.ID, "token").send_keys("wrong\n")
        until(lambda: text(browser, "#wrong") == ["That is not the token."])
        browser.get_log("browser")  # the browser's own word on the status 403
        browser.find_element(By.ID, "token").send_keys(f"{token}\n")
        until(lambda: text(browser, "#faces .emotion") == ["happy"])
        until(lambda: picture_pixels(browser).size > 0)
        assert browser.execute_script("return document.cookie") == ""  # no script reads the session
        browser.find_element(By.CSS_SELECTOR, "#logout button").click()
        until(lambda: browser.current_url == f"{page.url}/login")
        browser.get(page.url)
        assert browser.current_url == f"{page.url}/login"


def test_says_when_the_camera_stands_still_and_when_the_device_is_gone(browser: Any) -> None:
    look(browser)
    with LivePage() as page:
        browser.get(page.url)
        until(lambda: text(browser, "#state") == ["Live"])
        page.pipeline.stop()
        until(lambda: text(browser, "#state") == ["No new frames"])
    until(lambda: text(browser, "#state") == ["Not connected, trying again"])
    browser.get("about:blank")
    browser.get_log("browser")  # the browser's own words on the lost connection


def contrast(one: str, other: str) -> float:
    """Of two colours #rrggbb, 1 to 21. Source: WCAG 2.2, https://www.w3.org/TR/WCAG22/"""
    low, high = sorted(luminance((int(c[5:7], 16), int(c[3:5], 16), int(c[1:3], 16))) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_contrast_enough(scheme: str) -> None:
    style = (ASSETS / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[1]))
    pairs = [(name, ground) for name in ("text", "quiet", "accent") for ground in ("ground", "card")]
    pairs += [("text", "notice"), ("on-accent", "accent"), ("on-well", "well"), ("warn", "card"), ("bad", "card")]
    for name, ground in pairs:
        assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for emotion, (blue, green, red) in _COLOURS.items():
        assert contrast(f"#{red:02x}{green:02x}{blue:02x}", colours["well"]) >= 3, emotion
