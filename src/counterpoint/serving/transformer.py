"""The scikit-learn transformer that `as_sklearn` makes; this file imports scikit-learn."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from counterpoint import catalog
from counterpoint.errors import UserError, nearest
from counterpoint.multimodal.table import Table
from counterpoint.training import Method, Trainer


class VectorTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fits a Counterpoint method on the columns of X, cut into views, and transforms rows to their joint vectors.

    `method` is a method of tables or its name in the catalog; its options are parameters too (`method__dim=8`).
    `as_sklearn` says what `views` can be. As scikit-learn asks, nothing is checked before `fit`. After it, `method_` is
    the fitted copy and `views_` names the column numbers of each view.
    """

    def __init__(self, method: Any = "clip", views: Any = 2, seed: Any = 0) -> None:
        self.method = method
        self.views = views
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> "VectorTransformer":  # noqa: N803
        """Learn from rows; `y` is not looked at."""
        least = self.views if isinstance(self.views, int) else 1
        values = self._values(X, reset=True, ensure_min_samples=2, ensure_min_features=least)
        columns = self._columns()
        method = catalog.row(self.method).load()() if isinstance(self.method, str) else self.method
        _refuse_other(method)
        fresh = _copy(method, rows=len(values))
        self.views_ = columns
        self.method_ = fresh.fit(self._table(values), trainer=Trainer(seed=self.seed, progress=False))
        self._n_features_out = self._vectors(values[:1]).shape[1]
        return self

    def transform(self, X: Any) -> Float32[np.ndarray, "n d"]:  # noqa: N803
        """The joint vector of each row."""
        check_is_fitted(self)
        return self._vectors(self._values(X, reset=False))

    def take(self, method: Method) -> "VectorTransformer":
        """Use a method that was fitted before; X then holds its views side by side, in the order of its facts."""
        _refuse_other(method)
        kinds = {name: view.get("kind", "numbers") for name, view in method.facts["views"].items()}
        for name, kind in kinds.items():
            if kind not in ("numbers", "vector"):
                raise UserError(f'view "{name}" is {kind}; scikit-learn\'s X holds numbers only')
        widths = {name: int(view["width"]) for name, view in method.facts["views"].items()}
        ends = np.cumsum(list(widths.values())).tolist()
        self.views_ = {name: list(range(end - widths[name], end)) for name, end in zip(widths, ends, strict=True)}
        self.method_, self.n_features_in_ = method, ends[-1]
        self._n_features_out = self._vectors(np.zeros((1, ends[-1]))).shape[1]
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _values(self, X: Any, **checks: Any) -> Float[np.ndarray, "n f"]:  # noqa: N803
        values: Float[np.ndarray, "n f"] = validate_data(
            self, X, dtype=[np.float32, np.float64], ensure_all_finite="allow-nan", **checks
        )
        return values

    def _vectors(self, values: Float[np.ndarray, "n f"]) -> Float32[np.ndarray, "n d"]:
        method: Any = self.method_
        vectors: Float32[np.ndarray, "n d"] = method.embed(self._table(values)).numpy()
        return vectors

    def _table(self, values: Float[np.ndarray, "n f"]) -> Table:
        return Table.of({name: values[:, columns] for name, columns in self.views_.items()}, source="X")

    def _columns(self) -> dict[str, list[int]]:
        """Which column numbers each view has; raises `UserError` for a column that X does not have."""
        width = self.n_features_in_
        if isinstance(self.views, int):
            if self.views < 2:
                raise UserError(f"views={self.views}: a row needs at least 2 views to be contrasted")
            parts = np.array_split(np.arange(width), self.views)
            return {f"view{number}": part.tolist() for number, part in enumerate(parts)}
        if len(self.views) < 2:
            raise UserError(f"views names {len(self.views)}; a row needs at least 2 views to be contrasted")
        return {name: [self._column(name, column) for column in columns] for name, columns in self.views.items()}

    def _column(self, view: str, column: int | str) -> int:
        """A column's number."""
        if isinstance(column, str):
            names = list(getattr(self, "feature_names_in_", ()))
            if column not in names:
                raise UserError(f'view "{view}": X has no column "{column}"; {nearest(column, names)}')
            return names.index(column)
        if not 0 <= column < self.n_features_in_:
            raise UserError(f'view "{view}": X has no column {column}; it has {self.n_features_in_}')
        return int(column)


def _refuse_other(method: Method) -> None:
    if method.Data is not Table:
        raise UserError(f"{type(method).__name__} learns from {method.Data.__name__}, not from the columns of X")


def _copy(method: Method, rows: int) -> Method:
    """An unfitted method with the same options, its batches no larger than the data."""
    given = dict(method.given)
    if getattr(method.options, "batch_size", 0) > rows:
        given["batch_size"] = rows
    return type(method)(**given)
