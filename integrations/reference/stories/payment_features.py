"""What is known of a payment at the moment it is asked for: features that look only at the past.

Takes payments in the order of time, gives one row of ``FEATURES`` for each that is asked for. A window of so many days
holds the payments strictly before this one, of the same customer or terminal. Whether a payment was fraud is known
``DELAY_DAYS`` later, so the risk of a terminal is the share of fraud in a window that ends so many days ago.
Sums run over whole cents and are exact; ``streaming`` computes the same rows payment by payment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from integrations.reference.stories.transactions import DAY, WEEK, Floats, Integers, Payments

WINDOWS = (1, 7, 30)  # days
DELAY_DAYS = 7
"""Days until a payment is known to be fraud, or taken to be genuine."""
NEVER = 60 * DAY
"""Seconds since the last payment of a customer who never paid before, and the most that is told."""
FEATURES = (
    "amount_eur",
    "hour_sin",
    "hour_cos",
    "weekend",
    "distance_km",
    "seconds_since_last",
    *(f"customer_count_{days}d" for days in WINDOWS),
    *(f"customer_mean_eur_{days}d" for days in WINDOWS),
    *(f"terminal_count_{days}d" for days in WINDOWS),
    *(f"terminal_risk_{days}d" for days in WINDOWS),
)
_LOGARITHMIC = (0, 4, *range(5, 15))
_CENTRE = np.zeros(len(FEATURES))
_SPREAD = np.ones(len(FEATURES))
for _name, _centre, _spread in (
    ("amount_eur", 3.4, 0.9),
    ("distance_km", 2.0, 0.7),
    ("seconds_since_last", 11.0, 1.5),
    ("weekend", 0.3, 0.5),
    ("customer_count_1d", 0.4, 0.5),
    ("customer_count_7d", 1.6, 0.6),
    ("customer_count_30d", 2.9, 0.6),
    ("customer_mean_eur_1d", 1.7, 1.8),
    ("customer_mean_eur_7d", 3.3, 0.9),
    ("customer_mean_eur_30d", 3.4, 0.7),
    ("terminal_count_1d", 1.3, 0.6),
    ("terminal_count_7d", 3.1, 0.5),
    ("terminal_count_30d", 4.5, 0.5),
    ("terminal_risk_1d", 0.02, 0.1),
    ("terminal_risk_7d", 0.02, 0.05),
    ("terminal_risk_30d", 0.02, 0.04),
):
    _CENTRE[FEATURES.index(_name)], _SPREAD[FEATURES.index(_name)] = _centre, _spread


def scaled(raw: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Raw rows (n, features) to what a network takes: logarithms of amounts and counts, all about 0 ± 1, within ± 6.

    Centre and spread were read off the burn-in once and are constants, so training and serving cannot differ.
    """
    rows = np.array(raw, dtype=np.float64)
    rows[:, _LOGARITHMIC] = np.log1p(np.maximum(rows[:, _LOGARITHMIC], 0.0))
    return np.clip((rows - _CENTRE) / _SPREAD, -6.0, 6.0).astype(np.float32)


def features(payments: Payments, rows: Integers) -> npt.NDArray[np.float32]:
    """Raw feature rows (n, features) of the payments with these numbers, from all payments before each."""
    at = payments.at[rows]
    table = np.empty((len(rows), len(FEATURES)))
    table[:, 0] = payments.cents[rows] / 100
    angle = (at % DAY) * (2 * np.pi / DAY)
    table[:, 1], table[:, 2] = np.sin(angle), np.cos(angle)
    table[:, 3] = at % WEEK >= 5 * DAY
    table[:, 4] = payments.distance_km[rows]
    customer = _Trail(payments, payments.customer, rows)
    terminal = _Trail(payments, payments.terminal, rows)
    table[:, 5] = customer.since_last()
    for number, days in enumerate(WINDOWS):
        count, cents = customer.within(days)
        table[:, 6 + number] = count
        table[:, 9 + number] = cents / np.maximum(count, 1) / 100
        table[:, 12 + number], _ = terminal.within(days)
        table[:, 15 + number] = terminal.known_risk(days)
    return table.astype(np.float32)


class _Trail:
    """The past of some payments along one key: all payments sorted by key and time, with running sums."""

    def __init__(self, payments: Payments, key: Integers, rows: Integers) -> None:
        order = np.argsort(key, kind="stable")
        self.at = payments.at[order]
        self.where = key[order] * _FAR + self.at
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.own = place[rows]  # place of each payment in the sorted order
        self.now = self.where[self.own]
        self.first = np.searchsorted(self.where, key[rows] * _FAR)
        self.cents = np.concatenate([[0], payments.cents[order].cumsum()])
        self.frauds = np.concatenate([[0], payments.fraud[order].cumsum()])

    def since_last(self) -> Integers:
        """Seconds since the payment before; ``NEVER`` at most, and where there is none."""
        before = self.at[self.own] - self.at[np.maximum(self.own - 1, 0)]
        return np.where(self.own > self.first, np.minimum(before, NEVER), NEVER)

    def within(self, days: int) -> tuple[Integers, Integers]:
        """Count and sum of cents of the payments of the last so many days."""
        begin = np.maximum(np.searchsorted(self.where, self.now - days * DAY), self.first)
        return self.own - begin, self.cents[self.own] - self.cents[begin]

    def known_risk(self, days: int) -> Floats:
        """Share of fraud among the payments of so many days, as far as it is known by now; 0 without any."""
        begin = np.maximum(np.searchsorted(self.where, self.now - (days + DELAY_DAYS) * DAY), self.first)
        end = np.maximum(np.searchsorted(self.where, self.now - DELAY_DAYS * DAY), self.first)
        known: Floats = (self.frauds[end] - self.frauds[begin]) / np.maximum(end - begin, 1)
        return known


_FAR = 1 << 40
"""More seconds than any story lasts: the keys lie so far apart."""
