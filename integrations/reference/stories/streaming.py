"""Scoring payments as they come: state by customer and terminal, brought up to date payment by payment.

Takes payments in the order of time and, later, which of them were fraud; gives for each the same feature row that
``payment_features`` computes from the whole table. Each window is a running sum with a pointer to its oldest payment,
so a payment costs the same however long the past is. Every payment carries its offset in the stream: an offset that was
seen is not applied again, so a replay after a crash changes nothing and every payment counts exactly once.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from integrations.reference.stories.payment_features import DELAY_DAYS, FEATURES, NEVER, WINDOWS
from integrations.reference.stories.transactions import DAY, WEEK, Payments

_SPANS = tuple(days * DAY for days in WINDOWS)
_DELAY = DELAY_DAYS * DAY
_LET_GO = 256
"""Values older than every window that are kept until it is worth while to let them go together."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment of the stream. ``offset`` is its place, counted from 0 without gaps; times in whole seconds."""

    offset: int
    at: int
    customer: int
    terminal: int
    cents: int
    distance_km: float


def stream(payments: Payments, begin: int = 0, end: int | None = None) -> Iterator[Payment]:
    """The payments of a table from one offset up to another, one by one."""
    columns = (payments.at, payments.customer, payments.terminal, payments.cents, payments.distance_km)
    parts = (column[begin:end].tolist() for column in columns)
    for offset, values in enumerate(zip(*parts, strict=True), start=begin):
        yield Payment(offset, *values)


class _Trail:
    """Values of one key in the order of time, with a running sum and, for each span, where its window begins."""

    __slots__ = ("at", "starts", "sums")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.sums: list[int] = [0]  # sums[n]: of the first n values
        self.starts = [0] * len(_SPANS)

    def add(self, at: int, value: int) -> None:
        self.at.append(at)
        self.sums.append(self.sums[-1] + value)

    def windows(self, now: int) -> list[tuple[int, int]]:
        """Count and sum of the values of each span up to ``now``; what is older than the longest is let go."""
        at, sums, starts = self.at, self.sums, self.starts
        end, found = len(at), []
        for number, span in enumerate(_SPANS):
            start, oldest = starts[number], now - span
            while start < end and at[start] < oldest:
                start += 1
            starts[number] = start
            found.append((end - start, sums[end] - sums[start]))
        if starts[-1] > _LET_GO:
            gone = starts[-1]
            del at[:gone], sums[:gone]
            self.starts = [start - gone for start in starts]
        return found


class _Customer:
    """What is kept of a customer."""

    __slots__ = ("last", "paid")

    def __init__(self) -> None:
        self.last: int | None = None
        self.paid = _Trail()  # cents


class _Terminal:
    """What is kept of a terminal: payments; of those old enough, whether they were fraud (1 or 0)."""

    __slots__ = ("known", "paid", "pending")

    def __init__(self) -> None:
        self.paid = _Trail()  # nothing is summed
        self.pending: deque[tuple[int, int]] = deque()  # (at, offset) of payments whose label is not due yet
        self.known = _Trail()


@dataclass
class FeatureStream:
    """The state of all keys. ``chargebacks`` holds the offsets of payments that turned out to be fraud."""

    offset: int = -1  # of the last payment that was applied
    customers: dict[int, _Customer] = field(default_factory=dict)
    terminals: dict[int, _Terminal] = field(default_factory=dict)
    chargebacks: set[int] = field(default_factory=set)

    def charge_back(self, offsets: Iterable[int]) -> None:
        """Learn which payments were fraud; what is told again changes nothing. Must come before the delay is over."""
        self.chargebacks.update(offsets)

    def take(self, payment: Payment) -> list[float] | None:
        """The raw feature row of the next payment, which then belongs to the past; None for one that was seen.

        Raises ``ValueError`` when payments are missing in between.
        """
        if payment.offset <= self.offset:
            return None
        if payment.offset != self.offset + 1:
            raise ValueError(f"payment {payment.offset} came after {self.offset}: some are missing")
        row = self._row(payment)
        self._add(payment)
        self.offset = payment.offset
        return row

    def _row(self, payment: Payment) -> list[float]:
        now = payment.at
        customer = self.customers.setdefault(payment.customer, _Customer())
        terminal = self.terminals.setdefault(payment.terminal, _Terminal())
        self._settle(terminal, now)
        angle = (now % DAY) * (2 * math.pi / DAY)
        mine = customer.paid.windows(now)
        return [
            payment.cents / 100,
            math.sin(angle),
            math.cos(angle),
            float(now % WEEK >= 5 * DAY),
            payment.distance_km,
            NEVER if customer.last is None else min(now - customer.last, NEVER),
            *(count for count, _ in mine),
            *(cents / (count or 1) / 100 for count, cents in mine),
            *(count for count, _ in terminal.paid.windows(now)),
            *(frauds / (count or 1) for count, frauds in terminal.known.windows(now - _DELAY)),
        ]

    def _settle(self, terminal: _Terminal, now: int) -> None:
        """Payments whose label is due by now become known."""
        pending, due = terminal.pending, now - _DELAY
        while pending and pending[0][0] < due:
            at, offset = pending.popleft()
            fraud = int(offset in self.chargebacks)
            self.chargebacks.discard(offset)
            terminal.known.add(at, fraud)

    def _add(self, payment: Payment) -> None:
        customer, terminal = self.customers[payment.customer], self.terminals[payment.terminal]
        customer.last = payment.at
        customer.paid.add(payment.at, payment.cents)
        terminal.paid.add(payment.at, 0)
        terminal.pending.append((payment.at, payment.offset))

    def snapshot(self) -> FeatureStream:
        """A copy of the whole state, to go on from after a crash."""
        return copy.deepcopy(self)


class FeatureHistory:
    """The same rows the naive way: for each payment the whole past is filtered. For comparison, not for service."""

    def __init__(self, payments: Payments) -> None:
        import pandas as pd

        self.table = pd.DataFrame(
            {
                "at": payments.at,
                "customer": payments.customer,
                "terminal": payments.terminal,
                "cents": payments.cents,
                "fraud": payments.fraud,
            }
        )

    def row(self, payment: Payment) -> list[float]:
        """The raw feature row of a payment, from all payments before it."""
        now, past = payment.at, self.table.iloc[: payment.offset]
        customer = past[past["customer"] == payment.customer]
        terminal = past[past["terminal"] == payment.terminal]
        since = now - int(customer["at"].iloc[-1]) if len(customer) else NEVER
        mine = [customer[customer["at"] >= now - span]["cents"] for span in _SPANS]
        settled = terminal[terminal["at"] < now - _DELAY]
        risks = [settled[settled["at"] >= now - span - _DELAY]["fraud"] for span in _SPANS]
        angle = (now % DAY) * (2 * math.pi / DAY)
        values: list[Any] = [
            payment.cents / 100,
            math.sin(angle),
            math.cos(angle),
            float(now % WEEK >= 5 * DAY),
            payment.distance_km,
            min(since, NEVER),
            *(len(part) for part in mine),
            *(int(part.sum()) / max(len(part), 1) / 100 for part in mine),
            *(int((terminal["at"] >= now - span).sum()) for span in _SPANS),
            *(int(part.sum()) / max(len(part), 1) for part in risks),
        ]
        return [float(value) for value in values]


def as_rows(rows: Iterable[list[float]]) -> npt.NDArray[np.float32]:
    """Rows of a stream as the table that a model takes after ``scaled``."""
    return np.asarray(list(rows), dtype=np.float32).reshape(-1, len(FEATURES))
