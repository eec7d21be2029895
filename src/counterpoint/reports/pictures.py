"""Grey-scale pictures of number rows, written with the standard library."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(values: np.ndarray, shape: tuple[int, int]) -> bytes:
    """Draw one row of numbers as an 8-bit grey PNG; the lowest number is black, the highest white.

    `shape` is (height, width), filled line by line. A missing number (NaN) or an infinite one is black, and a
    constant row is black throughout. Raises `ValueError` when the numbers do not fill the shape.

    >>> png(np.arange(6.0), (2, 3))[:8] == SIGNATURE
    True
    """
    height, width = shape
    if np.size(values) != height * width:
        raise ValueError(f"{np.size(values)} numbers cannot fill a picture of {height} x {width}")
    grey = _grey(np.asarray(values, dtype=np.float64).reshape(height, width))
    lines = np.concatenate([np.zeros((height, 1), np.uint8), grey], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), level=9)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def is_png(picture: bytes) -> bool:
    """Tell a PNG by its signature.

    >>> is_png(png(np.zeros(4), (2, 2))), is_png(b"<svg>")
    (True, False)
    """
    return picture.startswith(SIGNATURE)


def _grey(values: np.ndarray) -> np.ndarray:
    """Stretch the finite numbers to 0..255."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = values[finite].min(), values[finite].max()
    span = high - low or 1.0
    grey: np.ndarray = np.round(255 * (np.where(finite, values, low) - low) / span).astype(np.uint8)
    return grey


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Frame one PNG chunk: length, kind, body, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
