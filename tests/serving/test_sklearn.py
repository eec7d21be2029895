"""scikit-learn's own checks, and its tools around a method."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import counterpoint as cp
from counterpoint.errors import UserError
from counterpoint.multimodal.table import Table
from counterpoint.text.contrast import Contrast

TINY = {"dim": 4, "hidden": 4, "layers": 1, "epochs": 1, "batch_size": 16}
VIEWS = {"a": [0, 1, 2], "b": [5, 4, 3]}


def rows(count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Six columns in two views that share what the label says."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(count, 2))
    views = [hidden @ random.normal(size=(2, 3)) + 0.1 * random.normal(size=(count, 3)) for _ in "ab"]
    return np.concatenate(views, axis=1), (hidden[:, 0] > 0).astype(int)


@parametrize_with_checks([cp.as_sklearn(cp.CLIP(**TINY)), cp.as_sklearn(cp.MCCA(ridges=(0.1,), dims=(4,)))])
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_vectors_are_those_of_the_method() -> None:
    X, _ = rows()  # noqa: N806
    made = cp.as_sklearn(cp.CLIP(**TINY), views=VIEWS, seed=3).fit_transform(X)
    table = Table.of({"a": X[:, [0, 1, 2]], "b": X[:, [5, 4, 3]]})
    method = cp.CLIP(**TINY).fit(table, trainer=cp.Trainer(seed=3, progress=False))
    assert np.array_equal(made, method.embed(table).numpy())


def test_a_pipeline_and_a_search_over_options() -> None:
    X, y = rows()  # noqa: N806
    X[::9, 1] = np.nan
    model = make_pipeline(cp.as_sklearn(cp.CLIP(**TINY), views=VIEWS), LogisticRegression())
    search = GridSearchCV(model, {"vectortransformer__method__dim": [2, 4]}, cv=2, error_score="raise").fit(X, y)
    chosen = search.best_estimator_[0]
    assert chosen.method_.options.dim == search.best_params_["vectortransformer__method__dim"]
    assert search.predict(X).shape == y.shape
    assert chosen.get_feature_names_out()[0] == "vectortransformer0"


def test_a_clone_has_the_options_and_is_not_fitted() -> None:
    X, _ = rows()  # noqa: N806
    fitted = cp.as_sklearn(cp.CLIP(**TINY), views=VIEWS).fit(X)
    copy = clone(fitted).set_params(method__temperature=0.5, seed=1)
    assert copy.method.options.temperature == 0.5
    assert copy.method is not fitted.method
    assert not copy.method.facts
    assert not hasattr(copy, "method_")


def test_a_name_of_the_catalog_and_columns_by_name() -> None:
    pa = pytest.importorskip("pyarrow")
    X, _ = rows(16)  # noqa: N806
    frame = pa.table({f"c{number}": column for number, column in enumerate(X.T)})
    views = {"a": ["c0", "c1"], "b": ["c4", "c5"]}
    model = cp.as_sklearn("mcca", views=views).set_params(method=cp.MCCA(ridges=(0.1,), dims=(2,))).fit(frame)
    assert model.views_ == {"a": [0, 1], "b": [4, 5]}
    with pytest.raises(UserError, match='no column "c9"'):
        cp.as_sklearn("clip", views=views | {"b": ["c9"]}).fit(frame)


def test_a_fitted_method_transforms_at_once() -> None:
    X, _ = rows()  # noqa: N806
    table = Table.of({"a": X[:, :3], "b": X[:, 3:]})
    method = cp.CLIP(**TINY).fit(table, trainer=cp.Trainer(progress=False))
    model = cp.as_sklearn(method)
    assert np.array_equal(model.transform(X), method.embed(table).numpy())
    with pytest.raises(ValueError, match="6 features"):
        model.transform(X[:, :5])


@pytest.mark.parametrize(
    ("views", "said"),
    [(1, "at least 2 views"), ({"a": [0]}, "at least 2 views"), ({"a": [0], "b": [6]}, "no column 6; it has 6")],
)
def test_views_that_cannot_be(views: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        cp.as_sklearn(cp.CLIP(**TINY), views=views).fit(rows()[0])


def test_a_method_of_texts_is_refused() -> None:
    with pytest.raises(UserError, match="learns from Pairs"):
        cp.as_sklearn("contrast").fit(rows()[0])
    fitted = Contrast()
    fitted.facts = {"views": {"query": {}}}
    with pytest.raises(UserError, match="learns from Pairs"):
        cp.as_sklearn(fitted)
