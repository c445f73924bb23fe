"""Hadamard matrices: square, of ones and minus ones, every row orthogonal to every other."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@functools.cache
def hadamard(order: int) -> Matrix | None:
    """``H`` with ``H H^T = order * I``; None for an order that the constructions below do not reach.

    Paley's two constructions over prime fields, and the Kronecker product of two matrices that are there (Sylvester's
    doubling is the one with order 2). That is every width of a published vision transformer; of the multiples of 16 up
    to 2,048 eleven are out of reach (688, 944, 1072 ...). Of orders that are no multiple of 4 only 1 and 2 have any.

    Sources: Sylvester, 1867; Paley, "On orthogonal matrices", 1933.
    """
    if order == 1:
        return np.ones((1, 1))
    if order == 2:
        return np.array([[1.0, 1.0], [1.0, -1.0]])
    if order < 1 or order % 4:
        return None
    if _prime(order - 1):  # order - 1 is 3 modulo 4
        return _first(order - 1)
    if (order // 2 - 1) % 4 == 1 and _prime(order // 2 - 1):
        return _second(order // 2 - 1)
    for factor in range(2, math.isqrt(order) + 1):
        if order % factor == 0:
            small, large = hadamard(factor), hadamard(order // factor)
            if small is not None and large is not None:
                return np.asarray(np.kron(small, large), np.float64)
    return None


def _prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _jacobsthal(prime: int) -> Matrix:
    """Entry (i, j): 1 if i - j is a square modulo the prime, -1 if it is none, 0 on the diagonal."""
    character: Matrix = np.full(prime, -1.0)
    character[np.arange(prime) ** 2 % prime] = 1.0
    character[0] = 0.0
    places = np.arange(prime)
    return np.asarray(character[(places[:, None] - places) % prime], np.float64)


def _bordered(prime: int, left: float) -> Matrix:
    """Jacobsthal's matrix with a first row of ones and a first column of `left`."""
    matrix = np.zeros((prime + 1, prime + 1))
    matrix[0, 1:], matrix[1:, 0], matrix[1:, 1:] = 1.0, left, _jacobsthal(prime)
    return matrix


def _first(prime: int) -> Matrix:
    return np.eye(prime + 1) + _bordered(prime, -1.0)


def _second(prime: int) -> Matrix:
    symmetric, diagonal = _bordered(prime, 1.0), np.eye(prime + 1)
    matrix = np.kron(symmetric, [[1.0, 1.0], [1.0, -1.0]]) + np.kron(diagonal, [[1.0, -1.0], [-1.0, -1.0]])
    return np.asarray(matrix, np.float64)
