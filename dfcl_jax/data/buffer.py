"""Rows of which some are drawn at random while others come in."""

import numpy as np


class Buffer:
    """Rows of which some are drawn at random while others come in; leaves are arrays with one entry a row."""

    def __init__(self, capacity: int):
        self.rows = 0
        self._capacity = capacity
        self._leaves: list[np.ndarray] = []

    def add(self, leaves: tuple[np.ndarray, ...]) -> None:
        """Take rows in."""
        if not self._leaves:
            self._leaves = [np.empty((self._capacity, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        end = self.rows + len(leaves[0])
        for held, leaf in zip(self._leaves, leaves, strict=True):
            held[self.rows : end] = leaf
        self.rows = end

    def draw(self, size: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Give `size` rows out, chosen at random without replacement."""
        chosen = rng.choice(self.rows, size, replace=False, shuffle=False)
        drawn = [leaf[chosen] for leaf in self._leaves]
        # The rows at the end that stay move to where others went out.
        rest = self.rows - size
        stay = np.ones(size, bool)
        stay[chosen[chosen >= rest] - rest] = False
        free = chosen[chosen < rest]
        for leaf in self._leaves:
            leaf[free] = leaf[rest : self.rows][stay]
        self.rows = rest
        return drawn
