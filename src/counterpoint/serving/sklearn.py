"""A method as a scikit-learn transformer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from counterpoint.errors import need
from counterpoint.training import Method

if TYPE_CHECKING:
    from counterpoint.serving.transformer import VectorTransformer

Views = int | Mapping[str, Sequence[int | str]]


def as_sklearn(method: str | Method = "clip", views: Views = 2, seed: int = 0) -> "VectorTransformer":
    """A scikit-learn transformer that fits a method on the columns of X and gives each row's joint vector.

    `views` says which columns describe a row together: a mapping from names to column numbers (or column names, when X
    is a DataFrame), or the number of equal blocks that the columns are cut into. NaN in X means missing; batches are no
    larger than X. A method that is fitted already transforms at once, from the columns of its views side by side in the
    order of its facts; `fit` starts anew, and so does `clone`. Raises `UserError` when scikit-learn is absent.

    >>> import numpy as np
    >>> from counterpoint import CLIP
    >>> X = np.random.default_rng(0).normal(size=(32, 5))
    >>> vectors = as_sklearn(CLIP(dim=4, epochs=1, batch_size=16), views={"a": [0, 1], "b": [2, 3, 4]}).fit_transform(X)
    >>> vectors.shape
    (32, 4)
    """
    need("sklearn", "eval")
    from counterpoint.serving.transformer import VectorTransformer

    made = VectorTransformer(method, views, seed)
    return made.take(method) if isinstance(method, Method) and method.facts else made
