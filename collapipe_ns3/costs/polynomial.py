"""Costs as exact functions of the shape of a batch. Importing this needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from collapipe_ns3.learning.batch import BatchShape

#: The exponents of (sequences, tokens, targets) in a monomial.
Exponents = tuple[int, int, int]

_SYMBOLS = "ust"

#: All monomials of a `Polynomial`: affine in the sequences, quadratic in tokens and targets.
MONOMIALS: tuple[Exponents, ...] = tuple(
    (u, s, t) for u in (0, 1) for s in range(3) for t in range(3 - s)
)


def monomial_name(exponents: Exponents) -> str:
    """The name in JSON: u for sequences, s for tokens, t for targets; "u*s*s" for u·s², or "1"."""
    symbols = (symbol for symbol, n in zip(_SYMBOLS, exponents, strict=True) for _ in range(n))
    return "*".join(symbols) or "1"


_BY_NAME = {monomial_name(exponents): exponents for exponents in MONOMIALS}


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A polynomial in the sequences u, tokens s and targets t of a batch, with integers as values.

    It is affine in u, and at most quadratic in s and t together. `terms` are the monomials that
    occur, in the order of `MONOMIALS`, with the numerators of their coefficients, which have one
    `denominator` in lowest terms. Polynomials are added and multiplied, also with integers.
    Raises `ValueError` for a monomial of higher degree, and where a value would be no integer.
    """

    terms: tuple[tuple[Exponents, int], ...] = ()
    denominator: int = 1

    @classmethod
    def of(cls, coefficients: Mapping[Exponents, int | Fraction]) -> Self:
        """The polynomial with these coefficients."""
        exact = {each: Fraction(value) for each, value in coefficients.items()}
        common = math.lcm(*(value.denominator for value in exact.values()))
        return cls._reduced({each: int(v * common) for each, v in exact.items()}, common)

    @classmethod
    def _reduced(cls, numerators: Mapping[Exponents, int], denominator: int) -> Self:
        occurring = {each: number for each, number in numerators.items() if number}
        if higher := sorted(occurring.keys() - set(MONOMIALS)):
            raise ValueError(f"expected no term with {monomial_name(higher[0])}")
        factor = math.gcd(denominator, *occurring.values()) if denominator > 1 else 1
        terms = ((each, occurring[each] // factor) for each in MONOMIALS if each in occurring)
        made = cls(tuple(terms), denominator // factor)
        # Where the values at these points are integers, those at all others are.
        if made.denominator > 1 and any(
            made._numerator(point) % made.denominator for point in MONOMIALS
        ):
            raise ValueError(f"expected integers as values of {made}")
        return made

    @property
    def coefficients(self) -> dict[Exponents, Fraction]:
        """The coefficients of the monomials that occur."""
        return {each: Fraction(number, self.denominator) for each, number in self.terms}

    def __call__(self, shape: BatchShape) -> int:
        """The value for a batch of this shape."""
        return self._numerator(shape) // self.denominator

    def _numerator(self, shape: tuple[int, int, int]) -> int:
        u, s, t = shape
        value = 0
        for (i, j, k), number in self.terms:
            value += number * u**i * s**j * t**k
        return value

    def __add__(self, other: Polynomial | int) -> Polynomial:
        if isinstance(other, int):
            other = Polynomial.of({(0, 0, 0): other})
        common = math.lcm(self.denominator, other.denominator)
        total: dict[Exponents, int] = {}
        for each in (self, other):
            for exponents, number in each.terms:
                number *= common // each.denominator
                total[exponents] = total.get(exponents, 0) + number
        return Polynomial._reduced(total, common)

    __radd__ = __add__

    def __mul__(self, other: Polynomial | int) -> Polynomial:
        if isinstance(other, int):
            scaled = {exponents: number * other for exponents, number in self.terms}
            return Polynomial._reduced(scaled, self.denominator)
        product: dict[Exponents, int] = {}
        for (a, b, c), one in self.terms:
            for (d, e, f), two in other.terms:
                exponents = (a + d, b + e, c + f)
                product[exponents] = product.get(exponents, 0) + one * two
        return Polynomial._reduced(product, self.denominator * other.denominator)

    __rmul__ = __mul__

    def __sub__(self, other: Polynomial | int) -> Polynomial:
        return self + other * -1

    def to_json(self) -> dict[str, int | str]:
        """The coefficients by the names of their monomials, fractions as text ("5/2")."""
        return {
            monomial_name(each): int(value) if value.denominator == 1 else str(value)
            for each, value in self.coefficients.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, int | str]) -> Self:
        """The inverse of `to_json`; raises `ValueError` for an unknown monomial."""
        if unknown := sorted(set(data).difference(_BY_NAME)):
            raise ValueError(f"unknown monomial {unknown[0]}")
        return cls.of({_BY_NAME[name]: Fraction(value) for name, value in data.items()})

    def __str__(self) -> str:
        return " + ".join(f"{value}*{name}" for name, value in self.to_json().items()) or "0"


def total(polynomials: Iterable[Polynomial]) -> Polynomial:
    """The sum of polynomials, 0 of none."""
    return sum(polynomials, start=ZERO)


ZERO = Polynomial()

#: The sequences, tokens and targets of a batch, from which other polynomials are made.
SEQUENCES, TOKENS, TARGETS = (
    Polynomial.of({each: 1}) for each in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
)


def interpolated(values: Mapping[BatchShape, int]) -> Polynomial:
    """The polynomial with these values at the shapes of a `grid`.

    Raises `ValueError` if it has values that are no integers.
    """
    tokens, targets = ({shape[place] for shape in values} for place in (1, 2))
    monomials = _up_to(len(tokens) - 1, len(targets) - 1)
    rows = [
        [*(Fraction(u**i * s**j * t**k) for i, j, k in monomials), Fraction(value)]
        for (u, s, t), value in values.items()
    ]
    for place in range(len(monomials)):  # Gauss-Jordan elimination
        pivot = next(row for row in rows[place:] if row[place])
        rows.remove(pivot)
        rows.insert(place, pivot)
        pivot[:] = [each / pivot[place] for each in pivot]
        for row in rows:
            if row is not pivot and row[place]:
                row[:] = [a - row[place] * b for a, b in zip(row, pivot, strict=True)]
    return Polynomial.of({each: row[-1] for each, row in zip(monomials, rows, strict=True)})


def grid(
    sequences: tuple[int, int], tokens: Sequence[int], targets: Sequence[int]
) -> list[BatchShape]:
    """Shapes of which the values determine a polynomial, made of these numbers.

    The polynomial is affine in the sequences, and its degrees in tokens and targets are one less
    than the given lengths are, of which there may be three at most. All numbers are different.
    """
    return [
        BatchShape(sequences[i], tokens[j], targets[k])
        for i, j, k in _up_to(len(tokens) - 1, len(targets) - 1)
    ]


def _up_to(tokens: int, targets: int) -> list[Exponents]:
    """The monomials of at most these degrees."""
    return [each for each in MONOMIALS if each[1] <= tokens and each[2] <= targets]
