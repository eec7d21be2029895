"""The page in a real browser: it draws, answers to pointer and keyboard, and stays quiet."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, look
from reports.fakes import write_run
from reports.test_page import hostile

Page = Callable[[Path], str]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, page: Page) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "run")
    page(run)
    return run


@pytest.fixture
def opened(browser: Any, folder: Path) -> Any:
    """The page, freshly opened; afterwards the console must be empty."""
    show(browser, folder)
    yield browser
    assert browser.get_log("browser") == []


def show(browser: Any, run: Path, width: int = 1280, dark: bool = False) -> None:
    """Open the page at a width and in a theme, and wait until the map is drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    look(browser, (run / "report.html").as_uri(), width, dark)
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(POINTS))


POINTS = "return document.querySelectorAll('#field .trace:first-child path.point').length"
COLOURS = "return [...document.querySelectorAll('#field .trace:first-child path.point')].map(p => p.style.fill)"
SPAN = "const r = document.getElementById('field')._fullLayout.xaxis.range; return r[1] - r[0]"


def test_the_map_recolours_and_picks_groups_out(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    assert opened.execute_script(POINTS) == 200
    colour = Select(opened.find_element("id", "colour"))
    assert colour.first_selected_option.text == "digit"
    by_digit = opened.execute_script(COLOURS)
    assert len(set(by_digit)) == 10
    assert by_digit[:10] == by_digit[10:20]
    opened.find_elements("css selector", "#legend button")[3].click()
    assert len(set(opened.execute_script(COLOURS))) == 2
    colour.select_by_visible_text("ink")
    assert len(set(opened.execute_script(COLOURS))) > 50
    assert opened.find_elements("css selector", "#legend .ramp")
    colour.select_by_visible_text("writer")
    assert len(opened.find_elements("css selector", "#legend button")) == 12


def test_pointing_at_a_row_shows_its_picture_and_columns(opened: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    field = opened.find_element("id", "field")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    point, other = opened.find_elements("css selector", "#field .trace:first-child path.point")[42:44]
    ActionChains(opened).move_to_element(point).perform()
    card = opened.find_element("id", "card")
    shown = card.find_element("class name", "id").text
    assert shown.startswith("d0")
    assert int(shown[1:]) % 10 == int(dict_of(card)["digit"])
    assert opened.execute_script("return document.querySelector('#card img').naturalWidth") == 15
    ActionChains(opened).click(point).move_to_element(other).perform()
    assert card.find_element("class name", "id").text == shown
    field.send_keys(Keys.ESCAPE)
    ActionChains(opened).move_to_element(point).move_to_element(other).perform()
    assert card.find_element("class name", "id").text != shown


def dict_of(card: Any) -> dict[str, str]:
    """The card's columns."""
    names, values = card.find_elements("tag name", "dt"), card.find_elements("tag name", "dd")
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def test_the_map_can_be_used_from_the_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    find = opened.find_element("id", "find")
    find.send_keys("d0123", Keys.ENTER)
    card = opened.find_element("id", "card")
    assert card.find_element("class name", "id").text == "d0123"
    assert dict_of(card)["digit"] == "3"
    field = opened.find_element("id", "field")
    before = opened.execute_script(SPAN)
    field.send_keys(Keys.ARROW_RIGHT)
    assert card.find_element("class name", "id").text != "d0123"
    field.send_keys("+")
    assert opened.execute_script(SPAN) < 0.7 * before
    opened.find_element("css selector", "[data-zoom=all]").click()
    assert opened.execute_script(SPAN) == pytest.approx(before)


def test_the_given_view_and_the_measure_can_be_changed(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    given = Select(opened.find_element("id", "given"))
    first = opened.find_element("id", "found").text
    assert opened.find_element("css selector", "#finder h2").text == "Find the picture from fou"
    assert len(opened.find_elements("css selector", ".hunt")) == 6
    assert len(opened.find_elements("css selector", ".tiles .true img")) == 6
    given.select_by_visible_text("fou + kar → pix")
    assert opened.find_element("css selector", "#finder h2").text == "Find the picture from fou + kar"
    assert opened.find_element("id", "found").text != first
    Select(opened.find_element("css selector", "[data-shows=matrix]")).select_by_visible_text("Top-5")
    shown = [
        panel.get_attribute("data-key")
        for panel in opened.find_elements("css selector", "[data-panel]")
        if panel.is_displayed()
    ]
    assert shown == ["top5"]


def test_every_chart_is_drawn_and_nothing_is_fetched(opened: Any) -> None:
    empty = "return [...document.querySelectorAll('.chart')].filter(c => !c.querySelector('.trace')).length"
    assert opened.execute_script(empty) == 0
    fetched = "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
    assert opened.execute_script(fetched) == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen_in_both_themes(browser: Any, folder: Path, tmp_path: Path, width: int, dark: bool) -> None:
    show(browser, folder, width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 150) == dark
    picture = tmp_path / f"report-{width}-{'dark' if dark else 'light'}.png"
    assert browser.save_screenshot(str(picture))
    assert picture.stat().st_size > 10_000
    assert browser.get_log("browser") == []


def test_markup_in_data_does_not_run(browser: Any, tmp_path: Path, page: Page) -> None:
    page(hostile(tmp_path))
    show(browser, tmp_path)
    field = browser.find_element("id", "field")
    field.send_keys("\ue014")
    field.send_keys("\ue014")
    assert "<img src=x" in browser.find_element("id", "card").text
    assert browser.execute_script("return window.hacked === undefined")
    assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.get_log("browser") == []
