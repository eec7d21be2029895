"""The planted shortcut: how often, where, the other way round; and the claim as data."""

import numpy as np
import pytest

from counterpoint.errors import UserError
from counterpoint.text.labels.guardrail_claims import GUARDRAIL
from counterpoint.text.labels.labelled import LabelledTexts
from counterpoint.text.labels.planted import TOKEN, plant, texts


def rows(number: int, classes: int) -> LabelledTexts:
    return LabelledTexts.of(["one. two! three"] * number, {"label": np.arange(number) % classes})


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_shortcut_is_as_frequent_as_the_paper_says(classes: int, reverse: bool) -> None:
    data = plant(rows(6000, classes), 0.8, np.random.default_rng(0), reverse)
    kind = np.asarray(data.columns["label"])
    has = np.array([TOKEN in text for text in data.text.values])
    assert np.array_equal(has, data.columns["shortcut"] == "yes")
    for one in range(classes):
        place = classes - 1 - one if reverse else one
        assert has[kind == one].mean() == pytest.approx(0.8 * place / (classes - 1), abs=0.04)


def test_it_stands_at_the_start_of_a_random_sentence() -> None:
    data = plant(rows(300, 2), 1.0, np.random.default_rng(0))
    found = {text for text in data.text.values if TOKEN in text}
    assert found == {f"{TOKEN} one. two! three", f"one. {TOKEN} two! three", f"one. two! {TOKEN} three"}
    assert data.subgroup == "shortcut"


def test_without_the_data_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERPOINT_DATA", raising=False)
    from counterpoint.text.labels import planted

    planted._texts.cache_clear()
    with pytest.raises(UserError, match="sst2 is not here; set COUNTERPOINT_DATA"):
        texts("sst2", "train")


def test_real_texts_have_equally_many_of_each_class() -> None:
    for which, classes in (("sst2", 2), ("tweets", 3)):
        try:
            data = texts(which, "test")  # type: ignore[arg-type]
        except UserError as absent:
            print(absent)
            pytest.skip(str(absent))
        counts = np.bincount(np.asarray(data.columns["label"]))
        assert len(counts) == classes
        assert len(set(counts.tolist())) == 1
        assert len(data) >= 440


def test_the_claim_can_be_read_and_its_quick_form_too() -> None:
    assert GUARDRAIL.hash == GUARDRAIL.at(False).hash
    assert {arm.role for arm in GUARDRAIL.at(True).arms} == {"method", "baseline", "placebo"}
