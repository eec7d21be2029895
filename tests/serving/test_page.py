"""The page for people in headless Chromium: search, walk, reasons, keyboard, phone, both themes, accessibility."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chromium import chromium, look
from counterpoint.serving.index import Index
from counterpoint.serving.page import page
from counterpoint.serving.served import Served
from serving.served_run import running

WAIT = 20


@pytest.fixture(scope="module")
def served(run: Path, index: Path) -> Served:
    return Served.open(run, index)


@pytest.fixture(scope="module")
def address(served: Served) -> Iterator[str]:
    with running(served) as place:
        yield place


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


def show(browser: Any, address: str, width: int = 1280, dark: bool = False) -> None:
    """Open the page at a width and in a theme, and wait until it knows what is served."""
    look(browser, address, width, dark)
    until(browser, lambda: browser.find_element("id", "ask").is_displayed())


def until(browser: Any, holds: Any) -> None:
    """Wait until something holds."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    passing = (NoSuchElementException, StaleElementReferenceException)  # while the page draws itself anew
    WebDriverWait(browser, WAIT, poll_frequency=0.05, ignored_exceptions=passing).until(lambda _: holds())


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """The page, freshly opened; afterwards the console must be empty."""
    show(browser, address)
    yield browser
    assert browser.get_log("browser") == []


def found(browser: Any) -> list[str]:
    """The ids of the rows found."""
    return [one.text for one in browser.find_elements("css selector", "#found .walk")]


def search(browser: Any, text: str) -> None:
    """Type an id and press Enter; wait for its neighbours."""
    from selenium.webdriver.common.keys import Keys

    field = browser.find_element("id", "given")
    field.clear()
    field.send_keys(text, Keys.ENTER)
    until(browser, lambda: browser.find_element("id", "status").text.endswith(f"nearest to {text}"))
    until(browser, lambda: painted(browser))


def painted(browser: Any) -> bool:
    """Whether something is drawn on the map."""
    drawn = """const field = document.getElementById('field'), blank = document.createElement('canvas');
    [blank.width, blank.height] = [field.width, field.height];
    return field.clientWidth > 0 && field.toDataURL() !== blank.toDataURL()"""
    return bool(browser.execute_script(drawn))


def test_an_id_finds_its_neighbours_with_scores_and_metadata(opened: Any, served: Served) -> None:
    search(opened, "p0_3")
    hits = served.search(served.vectors([served.row("p0_3")]), 11, {})[0]
    assert found(opened) == [hit[0] for hit in hits if hit[0] != "p0_3"]
    shown = [one.text for one in opened.find_elements("css selector", "#found .score")]
    assert shown == [f"{hit[1]:.4f}" for hit in hits if hit[0] != "p0_3"]
    first = opened.find_element("css selector", "#found li dl").text.split("\n")
    assert first[::2] == ["split", "visit", "sick"]


def test_values_are_pasted_and_wrong_ones_are_told(opened: Any, served: Served) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.find_element("css selector", "input[value=values]").click()
    field = opened.find_element("id", "given")
    field.send_keys("labs: 0.1, -0.4 0.9;0.3\necg: 0.5 1")
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    until(opened, lambda: found(opened))
    vector = served.embed([{"labs": [0.1, -0.4, 0.9, 0.3], "ecg": [0.5, 1.0]}])
    assert found(opened) == [hit[0] for hit in served.search(vector, 10, {})[0]]
    field.clear()
    field.send_keys("labs: 1 two")
    opened.find_element("css selector", "button.main").click()
    status = opened.find_element("id", "status")
    until(opened, lambda: "wrong" in status.get_attribute("class"))
    assert status.text == '"two" of labs is not a number'


def test_walking_from_row_to_row_and_back(opened: Any) -> None:
    search(opened, "p0_3")
    before = found(opened)
    opened.find_element("css selector", "#found .walk").click()
    until(opened, lambda: opened.find_element("css selector", "#query strong").text == before[0])
    until(opened, lambda: found(opened) != before)
    assert [one.text for one in opened.find_elements("css selector", "#trail button")] == ["p0_3", before[0]]
    opened.back()
    until(opened, lambda: opened.find_element("css selector", "#query strong").text == "p0_3")
    assert found(opened) == before


def test_the_map_is_walked_by_click_and_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    search(opened, "p0_3")
    field = opened.find_element("id", "field")
    place = """const [x, y] = atlas.pixels(atlas.found.hits[2].at), box = atlas.canvas.getBoundingClientRect();
    return [x + 1 - box.width / 2, y + 1 - box.height / 2]"""
    x, y = (round(number) for number in opened.execute_script(place))
    ActionChains(opened).move_to_element_with_offset(field, x, y).perform()
    here = opened.find_element("id", "point").text.removeprefix("Here: ")
    ActionChains(opened).click().perform()
    until(opened, lambda: opened.find_element("css selector", "#query strong").text == here)
    field.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP)
    there = opened.find_element("id", "point").text.removeprefix("Here: ")
    assert there not in ("", here)
    field.send_keys(Keys.ENTER)
    until(opened, lambda: opened.find_element("css selector", "#query strong").text == there)


def test_the_reason_opens_and_closes(opened: Any) -> None:
    search(opened, "p0_3")
    why = opened.find_element("css selector", "#found .why")
    why.click()
    pairs = opened.find_element("css selector", "#found .pairs")
    until(opened, pairs.is_displayed)
    assert "is near the query" in pairs.text
    assert len(pairs.find_elements("css selector", "strong")) == 3
    assert why.get_attribute("aria-expanded") == "true"
    why.click()
    until(opened, lambda: not pairs.is_displayed())


def test_the_map_is_coloured_by_a_column(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    search(opened, "p0_3")
    Select(opened.find_element("id", "column")).select_by_visible_text("split")
    legend = opened.find_element("id", "legend")
    until(opened, lambda: legend.text.split() == ["test", "train", "validation"])
    Select(opened.find_element("id", "column")).select_by_visible_text("visit")
    until(opened, lambda: legend.find_elements("css selector", ".ramp"))


def test_everything_is_reached_with_the_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    search(opened, "p0_3")
    opened.execute_script("document.activeElement.blur()")
    seen = []
    for _ in range(60):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        now = opened.switch_to.active_element
        seen.append(now.get_attribute("id") or now.get_attribute("class") or now.tag_name)
    assert {"skip", "given", "main", "many", "walk", "why", "column", "field"} <= set(seen)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen_and_keeps_the_rules(
    browser: Any, address: str, tmp_path: Path, width: int, dark: bool
) -> None:
    rules = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    show(browser, address, width, dark)
    search(browser, "p0_3")
    browser.find_element("css selector", "#found .why").click()
    until(browser, lambda: browser.find_element("css selector", "#found .pairs").is_displayed())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 150) == dark
    picture = tmp_path / f"page-{width}-{'dark' if dark else 'light'}.png"
    assert browser.save_screenshot(str(picture))
    assert picture.stat().st_size > 10_000
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": rules})
    broken = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v => [v.id, v.nodes.map(n => n.html)])))"
    )
    assert broken == []
    assert browser.get_log("browser") == []


def test_a_token_opens_the_page(browser: Any, served: Served) -> None:
    with running(served, token="t0ken") as address:
        browser.get(address)
        door = browser.find_element("id", "door")
        until(browser, door.is_displayed)
        token = browser.find_element("id", "token")
        token.send_keys("wrong\n")
        until(browser, lambda: "wants the header" in browser.find_element("id", "status").text)
        token.clear()
        token.send_keys("t0ken\n")
        until(browser, lambda: browser.find_element("id", "ask").is_displayed())
        assert not door.is_displayed()
    browser.get_log("browser")  # Chromium notes the refusals


def test_markup_in_data_does_not_run(browser: Any, served: Served, tmp_path: Path) -> None:
    evil = "<img src=x onerror=window.hacked=1>"
    index = Index.build(tmp_path / "index", [evil, "b"], served.vectors([0, 1]), pa.table({evil: [evil, evil]}))
    with running(Served(served.method, "run", index)) as address:
        show(browser, address)
        search(browser, "b")
        assert found(browser) == [evil]
        browser.find_element("css selector", "#found .walk").click()
        until(browser, lambda: browser.find_element("css selector", "#query strong").text == evil)
        assert browser.execute_script("return window.hacked === undefined && !document.querySelector('img')")
        assert browser.get_log("browser") == []


def test_nothing_is_fetched_from_elsewhere(opened: Any, address: str) -> None:
    search(opened, "p0_3")
    fetched = opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert fetched
    assert all(name.startswith(address) for name in fetched)
    text, policy = page()
    assert "http" not in text.replace("https://", "http://").split("<script>")[0]
    assert "unsafe" not in policy
