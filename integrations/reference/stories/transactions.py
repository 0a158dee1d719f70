"""Card payments from a documented generator: customers, terminals, three ways of fraud, and a declared drift.

Everything is invented by the generator; no row describes a person. Each customer lives somewhere in a square of
100 × 100 km, is younger than 45 or not, has a usual amount and a rhythm, and mostly pays at terminals nearby. Fraud
comes in three ways:

* **skimmed terminal**: for two to four weeks part of the payments at a terminal are made with cloned cards;
* **stolen card**: for a week or two a thief pays on top of the customer's own payments;
* **large amount**: now and then a payment of many times the usual amount.

Declared drift: thieves change how they use stolen cards. From ``DRIFT_FROM`` to ``DRIFT_TO`` they move, quickly at
first and ever more slowly, from single large payments in the evening to series of small ones at night and far away.
Declared disturbance: in ``SALE_WEEKS`` genuine customers spend twice as much a payment.

Times are whole seconds since the Monday that starts week ``FIRST_WEEK`` of the calendar, amounts whole cents, so that
sums over them are exact. The same setting gives the same payments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

VERSION = 1
"""Of the generator; another number says that the same setting gives other payments."""
DAY, WEEK = 86_400, 604_800
FIRST_WEEK = -38
"""Week of the calendar in which the payments begin; what is before ``BURN_IN_WEEKS`` have passed is never learned."""
BURN_IN_WEEKS = 8
DRIFT_FROM, DRIFT_TO = -26.5, -8.0
SLOWING = 1.3
"""Exponent of the drift; 1 would be an even pace."""
SALE_WEEKS = (-8, -5, -2)
OLDER = 0.52
"""Share of the customers who are 45 or older; nothing else in the generator depends on it."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How thieves use a stolen card."""

    per_day: float  # payments
    times: float  # the usual amount of its customer
    hour: float  # of the day, 24 and more after midnight
    far: float  # share of payments made anywhere, not near the customer
    amount_spread: float = 0.35  # of the logarithm
    hour_spread: float = 1.8


OLD_HABIT, NEW_HABIT = Habit(0.45, 3.5, 19.5, 0.05), Habit(1.2, 0.6, 29.0, 0.3)


@dataclass(frozen=True, slots=True)
class Setting:
    """What the payments depend on. Rates are for each customer or terminal and day."""

    seed: int = 0
    customers: int = 7000
    terminals: int = 1400
    weeks: int = -FIRST_WEEK
    radius_km: float = 12.0  # how far a customer usually goes to pay
    travelling: float = 0.03  # share of genuine payments made anywhere
    skimmed_per_day: float = 1.6  # terminals newly skimmed
    stolen_per_day: float = 7.0  # cards newly stolen
    large_rate: float = 0.0008  # share of payments that become a large-amount fraud
    drift: float = 1.0  # how much of the declared drift happens
    sales: bool = True


@dataclass(frozen=True)
class Payments:
    """Payments in the order of time; ``scenario`` is 0 for a genuine one, else 1 skimmed, 2 stolen, 3 large."""

    setting: Setting
    at: Integers  # seconds
    customer: Integers
    terminal: Integers
    cents: Integers
    distance_km: Floats  # between the customer's home and the terminal
    scenario: npt.NDArray[np.int8]
    older: Flags  # of each customer: 45 or older

    def __len__(self) -> int:
        return len(self.at)

    @property
    def fraud(self) -> Flags:
        return self.scenario > 0

    @property
    def week(self) -> Integers:
        """Week of the calendar of each payment."""
        return self.at // WEEK + FIRST_WEEK


def second_of(week: float) -> int:
    """The second at which a week of the calendar, or a part of it, begins."""
    return round((week - FIRST_WEEK) * WEEK)


def progress_of_drift(week: Floats) -> Floats:
    """How far thieves have moved to their new habit, 0 to 1: fast at first, then ever more slowly."""
    part = np.clip((week - DRIFT_FROM) / (DRIFT_TO - DRIFT_FROM), 0.0, 1.0)
    return 1.0 - (1.0 - part) ** SLOWING


def generate(setting: Setting) -> Payments:
    """All payments of a setting; a second for a million of them."""
    draw = np.random.default_rng([setting.seed, VERSION])
    world = _World(setting, draw)
    genuine = world.genuine()
    stolen = world.stolen()
    columns = [np.concatenate(parts) for parts in zip(genuine, stolen, strict=True)]
    at, customer, terminal, cents, scenario = columns
    order = np.argsort(at, kind="stable")
    at, customer, terminal, cents, scenario = (column[order] for column in columns)
    distance = np.hypot(*(world.home[customer] - world.place[terminal]).T)
    return Payments(setting, at, customer, terminal, cents, distance, scenario.astype(np.int8), world.older)


class _World:
    """Customers and terminals of a setting, and who is a victim when."""

    def __init__(self, setting: Setting, draw: np.random.Generator) -> None:
        self.setting, self.draw, self.days = setting, draw, setting.weeks * 7
        self.home = draw.uniform(0, 100, (setting.customers, 2))
        self.place = draw.uniform(0, 100, (setting.terminals, 2))
        self.usual = np.exp(draw.normal(3.4, 0.55, setting.customers))  # euro
        self.rate = draw.gamma(4.0, 0.15, setting.customers)  # payments a day, 0.6 on average
        self.older = draw.random(setting.customers) < OLDER
        self.near, self.count = self._nearby()
        self.skimmed = self._victims(setting.terminals, setting.skimmed_per_day, (14, 28))
        self.robbed = self._victims(setting.customers, setting.stolen_per_day, (7, 14))

    def _nearby(self) -> tuple[Integers, Integers]:
        """Terminals within the radius of each customer, nearest first (customers, most), and how many, one at least."""
        gap = self.home[:, None, :] - self.place[None, :, :]  # (customers, terminals, 2)
        squared = np.einsum("ctk,ctk->ct", gap, gap)
        count = np.maximum((squared <= self.setting.radius_km**2).sum(axis=1), 1)
        return np.argsort(squared, axis=1)[:, : count.max()], count

    def _victims(self, whom: int, per_day: float, lasting: tuple[int, int]) -> Flags:
        """Who is a victim on which day (days, whom)."""
        number = self.draw.poisson(per_day * self.days)
        start, who = self.draw.integers(0, self.days, number), self.draw.integers(0, whom, number)
        change = np.zeros((self.days + 1, whom), dtype=np.int64)
        np.add.at(change, (start, who), 1)
        end = np.minimum(start + self.draw.integers(*lasting, number), self.days)
        np.add.at(change, (end, who), -1)
        victims: Flags = change.cumsum(axis=0)[:-1] > 0
        return victims

    def genuine(self) -> tuple[npt.NDArray[np.generic], ...]:
        """The customers' own payments, and the frauds that replace some of them."""
        draw = self.draw
        day, customer = np.divmod(
            np.repeat(
                np.arange(self.days * self.setting.customers),
                draw.poisson(np.broadcast_to(self.rate, (self.days, self.setting.customers))).ravel(),
            ),
            self.setting.customers,
        )
        noon, evening = draw.normal(12.5, 2.8, len(day)), draw.normal(19.0, 2.2, len(day))
        hour = np.where(draw.random(len(day)) < 0.6, noon, evening) % 24
        terminal = self._terminals(customer, np.full(len(day), self.setting.travelling))
        amount = self.usual[customer] * np.exp(draw.normal(-0.18, 0.6, len(day)))
        if self.setting.sales:
            amount[np.isin(day // 7 + FIRST_WEEK, SALE_WEEKS)] *= 2.0
        cloned = self.skimmed[day, terminal] & (draw.random(len(day)) < 0.35)
        large = ~cloned & (draw.random(len(day)) < self.setting.large_rate)
        amount[large] *= draw.uniform(5, 9, int(large.sum()))
        return self._columns(day, hour, customer, terminal, amount, np.where(cloned, 1, np.where(large, 3, 0)))

    def stolen(self) -> tuple[npt.NDArray[np.generic], ...]:
        """What thieves pay on top."""
        draw = self.draw
        day, customer = np.nonzero(self.robbed)
        moved = self.setting.drift * progress_of_drift(day / 7 + FIRST_WEEK)
        old, new = OLD_HABIT, NEW_HABIT
        times = draw.poisson(old.per_day + (new.per_day - old.per_day) * moved)
        day, customer, moved = (np.repeat(part, times) for part in (day, customer, moved))
        hour = draw.normal(old.hour + (new.hour - old.hour) * moved, old.hour_spread) % 24
        amount = self.usual[customer] * np.exp(
            draw.normal(np.log(old.times) + np.log(new.times / old.times) * moved, old.amount_spread)
        )
        terminal = self._terminals(customer, old.far + (new.far - old.far) * moved)
        return self._columns(day, hour, customer, terminal, amount, np.full(len(day), 2))

    def _terminals(self, customer: Integers, far: Floats) -> Integers:
        """Where each pays: anywhere with the probability ``far``, else nearby."""
        close = self.near[customer, (self.draw.random(len(far)) * self.count[customer]).astype(np.int64)]
        anywhere = self.draw.integers(0, self.setting.terminals, len(far))
        return np.where(self.draw.random(len(far)) < far, anywhere, close)

    def _columns(
        self, day: Integers, hour: Floats, customer: Integers, terminal: Integers, amount: Floats, scenario: Integers
    ) -> tuple[npt.NDArray[np.generic], ...]:
        at = day * DAY + (hour * 3600).astype(np.int64)
        return at, customer, terminal, np.maximum((amount * 100).astype(np.int64), 50), scenario
