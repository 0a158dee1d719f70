"""How sure a share is that was counted on few things: the Wilson 95 % interval.

E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
Statistical Association 22 (1927). It never changes a score; a reader should know that 9 of 10 is not yet 90 %.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from math import floor

_Z = Decimal("1.959963984540054")  # the 97.5 % quantile of the standard normal distribution
_DIGITS = 4


def wilson(numerator: int, denominator: int) -> tuple[Fraction, Fraction]:
    """Both ends of the interval, rounded half up to 4 digits: ``wilson(9, 10)`` is 0.5958 and 0.9821.

    Raises ``ValueError`` unless 0 <= numerator <= denominator and the denominator is at least 1.
    """
    if not 0 <= numerator <= denominator or denominator < 1:
        raise ValueError(f"{numerator} of {denominator} is not a share")
    with localcontext() as context:
        context.prec = 40
        n, p, z2 = Decimal(denominator), Decimal(numerator) / Decimal(denominator), _Z * _Z
        middle = p + z2 / (2 * n)
        spread = _Z * (p * (1 - p) / n + z2 / (4 * n * n)).sqrt()
        ends = ((middle - spread) / (1 + z2 / n), (middle + spread) / (1 + z2 / n))
    low, high = (Fraction(floor(Fraction(end) * 10**_DIGITS + Fraction(1, 2)), 10**_DIGITS) for end in ends)
    return max(low, Fraction(0)), min(high, Fraction(1))
