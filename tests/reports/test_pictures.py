"""Pictures read back as they were drawn."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.reports import png

image = pytest.importorskip("PIL.Image")


def pixels(picture: bytes) -> np.ndarray:
    """Decode with the peer."""
    decoded = image.open(io.BytesIO(picture))
    assert decoded.mode == "L"
    return np.asarray(decoded)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9))
def test_numbers_become_grey_levels_line_by_line(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=height * width)
    span = np.ptp(values) or 1.0
    expected = np.round(255 * (values - values.min()) / span).reshape(height, width)
    assert np.array_equal(pixels(png(values, (height, width))), expected)


def test_a_missing_number_is_black_and_a_constant_row_too() -> None:
    assert pixels(png(np.array([1.0, np.nan, 3.0, np.inf]), (2, 2))).tolist() == [[0, 0], [255, 0]]
    assert pixels(png(np.full(4, 7.0), (2, 2))).max() == 0
    assert pixels(png(np.full(4, np.nan), (2, 2))).max() == 0


def test_numbers_that_do_not_fill_the_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers cannot fill a picture of 2 x 3"):
        png(np.zeros(5), (2, 3))
