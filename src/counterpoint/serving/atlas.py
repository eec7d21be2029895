"""Where vectors lie on a plane: the two main axes of a collection, found in a sample of it."""

import numpy as np
from jaxtyping import Float


class Atlas:
    """The plane through the two directions in which some vectors vary most.

    Coordinates are scaled so that the sample's largest is 1.

    >>> atlas = Atlas(np.array([[1.0, 0.0, 0.1], [-1.0, 0.0, 0.1], [0.0, 0.5, 0.1], [0.0, -0.5, 0.1]]))
    >>> atlas.place(np.array([[1.0, 0.0, 7.0]])).round(6).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, sample: Float[np.ndarray, "n d"]) -> None:
        values = np.asarray(sample, dtype=np.float64)
        self.centre = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
        shifted = values - self.centre
        _, axes = np.linalg.eigh(shifted.T @ shifted)
        plane = axes[:, ::-1][:, :2]
        plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)  # the same picture on every machine
        self.plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
        self.size = float(np.abs(shifted @ self.plane).max(initial=0.0)) or 1.0

    def place(self, vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
        """The coordinates of vectors."""
        return np.asarray((np.asarray(vectors, dtype=np.float64) - self.centre) @ self.plane / self.size)
