"""The page of a recommender: who wins, what people got beside what they took, neighbours, and the map with titles."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, look
from counterpoint import jobs, reports
from recommend.shop import catalogue, shop
from reports.test_page import Elements, evaluation

Page = Callable[[Path], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the shop with its page, laid out by PCA as there are few items."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    made, data = tmp_path_factory.mktemp("shop"), shop(60, 0)
    events = {
        "user": data.user_ids[data.users],
        "item": data.item_ids[data.items],
        "time": data.times,
        "behaviour": np.array(data.labels)[data.behaviours],
    }
    pq.write_table(pa.table(events), made / "shop.parquet")
    pq.write_table(catalogue(), made / "items.parquet")
    options = ["dim=8", "layers=1", "epochs=2", "batch_size=16", "max_length=6", "catalogue=items.parquet"]
    jobs.fit(jobs.Fit("sasrec", made / "shop.parquet", made / "run", options))
    return made / "run"


def text_of(folder: Path) -> str:
    return Elements((folder / "report.html").read_text(encoding="utf-8")).text


def test_the_sections_are_those_of_a_recommender(folder: Path) -> None:
    found = Elements((folder / "report.html").read_text(encoding="utf-8")).found
    keys = [attributes["id"] for tag, attributes in found if tag == "section"]
    assert keys == ["verdict", "people", "neighbours", "map", "lists", "curves", "made"]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "▲ sasrec (0.200) beats markov (0.180) by 0.020: sasrec minus markov, 95 % interval +0.010 to"),
        (-0.03, -0.01, "▼ markov (0.180) beats sasrec (0.200) by 0.020: sasrec minus markov, 95 % interval -0.030 to"),
        (-0.01, 0.05, "≈ neither sasrec (0.200) nor markov (0.180) can be said to win: sasrec minus markov"),
    ],
)
def test_who_wins_is_one_sentence(folder: Path, tmp_path: Path, page: Page, low: float, high: float, said: str) -> None:
    for name in ("config.yaml", "evaluation.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = json.loads((tmp_path / "evaluation.json").read_text())
    found["measures"]["ndcg10"]["value"] = 0.2
    found["against"]["measures"]["ndcg10"]["value"] = 0.18
    found["against"]["difference"]["ndcg10"] = {"value": (low + high) / 2, "low": low, "high": high}
    evaluation(tmp_path, **found)
    assert f"On shop.parquet, by nDCG@10 over 20 items, {said}" in Elements(page(tmp_path)).text


def test_people_are_shown_with_what_they_took(folder: Path) -> None:
    found, text = json.loads((folder / "evaluation.json").read_text())["assessment"], text_of(folder)
    assert len(found["users"]) == 5
    for one in found["users"]:
        assert one["user"] in text
        right = [place for place, name in enumerate(one["listed"], start=1) if name in one["taken"]]
        assert one["place"] == (right[0] if right else None)
        if right:
            assert f"✓ {one['taken'][0]}" in text
    assert f"{sum(one['place'] is not None for one in found['users'])} of these 5 lists hold it" in text


def test_neighbours_are_other_items_nearest_first(folder: Path) -> None:
    for one in json.loads((folder / "evaluation.json").read_text())["assessment"]["neighbours"]:
        values = [near["similarity"] for near in one["near"]]
        assert values == sorted(values, reverse=True)
        assert one["item"] not in [near["item"] for near in one["near"]]


def test_a_method_that_knows_no_neighbours_says_so(folder: Path, tmp_path: Path, page: Page) -> None:
    for name in ("config.yaml", "evaluation.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = json.loads((tmp_path / "evaluation.json").read_text())["assessment"]
    found["neighbours"] = [{**one, "near": []} for one in found["neighbours"]]
    evaluation(tmp_path, assessment=found)
    assert "does not say which items are alike" in Elements(page(tmp_path)).text


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


POINTS = "return document.querySelectorAll('#field .trace:first-child path.point').length"
COLOURS = "return [...document.querySelectorAll('#field .trace:first-child path.point')].map(p => p.style.fill)"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_map_is_coloured_by_category_and_tells_titles(browser: Any, folder: Path, width: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import Select, WebDriverWait

    look(browser, (folder / "report.html").as_uri(), width)
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(POINTS))
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert Select(browser.find_element("id", "colour")).first_selected_option.text == "kind"
    assert browser.execute_script(POINTS) == 20
    assert len(set(browser.execute_script(COLOURS))) == 4
    field = browser.find_element("id", "field")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
    point = browser.find_elements("css selector", "#field .trace:first-child path.point")[7]
    ActionChains(browser).move_to_element(point).perform()
    card = browser.find_element("id", "card")
    assert card.find_element("class name", "id").text.startswith(("Tea", "Rice", "Salt", "Soap"))
    assert browser.get_log("browser") == []


def test_the_page_is_written_by_the_fit(folder: Path) -> None:
    assert reports.write(folder) == folder / "report.html"
