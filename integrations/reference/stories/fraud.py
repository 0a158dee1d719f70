"""Card fraud: payments of a documented generator with a declared drift; labels arrive a week late as chargebacks.

All rows are synthetic (``transactions``) and described by features of the past (``payment_features``). A customer
belongs to one part for good: three fifths are trained on and served, the others are held out for validation and test.
The test rows are later than every training, so all releases are judged on the same future. Every fraud is kept and
``SHARE_OF_GENUINE`` of the genuine payments, drawn once, in each part alike; ranking metrics do not depend on it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from integrations.reference.engine import Recipe
from integrations.reference.stories import transactions
from integrations.reference.stories.base import Classes, Data, Flags, Rows, Story, Values
from integrations.reference.stories.payment_features import DELAY_DAYS, FEATURES, features, scaled
from integrations.reference.stories.transactions import Integers, Payments, Setting, generate

SHARE_OF_GENUINE = 0.1
WINDOW_WEEKS = 4.0
"""Weeks of known payments that a training looks back on."""
TRAINED, VALIDATED = 0.6, 0.1
"""Shares of the customers that are trained on and served, and that candidates are chosen by; the others are tested."""
TEST_WEEKS = (-12.0, -8.0)
VALIDATION_WEEKS = (-30.0, -13.0)
RULE = ("amount_eur", "customer_mean_eur_30d", "terminal_risk_30d")
"""Columns of the simple baseline, a logistic regression in the place of the rule that a bank starts with: is this
payment large, is it large for this customer, and was there fraud at this terminal?"""
_SCHEMA = json.dumps({"shape": [len(FEATURES)], "dtype": "f4", "columns": list(FEATURES)})


@dataclass(frozen=True)
class Sample:
    """The payments that are kept, all frauds and some genuine ones: raw and scaled rows, and the part of each."""

    payments: Payments
    rows: Integers  # numbers of the payments
    raw: Rows
    x: Rows
    part: Integers  # 0 trained on and served, 1 validation, 2 test

    @cached_property
    def week(self) -> Values:
        """Place in the calendar of each row, in weeks."""
        place: Values = self.payments.at[self.rows] / transactions.WEEK + transactions.FIRST_WEEK
        return place

    @cached_property
    def y(self) -> Classes:
        return self.payments.fraud[self.rows].astype(np.int64)


@lru_cache(maxsize=2)
def sample(setting: Setting) -> Sample:
    """Payments of a setting, their features and parts; about two seconds, then free."""
    payments = generate(setting)
    draw = np.random.default_rng([setting.seed, 1])
    part = np.searchsorted([TRAINED, TRAINED + VALIDATED], draw.random(setting.customers), side="right")
    kept = payments.fraud | (draw.random(len(payments)) < SHARE_OF_GENUINE)
    begin = transactions.second_of(transactions.FIRST_WEEK + transactions.BURN_IN_WEEKS)
    rows = np.flatnonzero(kept & (payments.at >= begin))
    raw = features(payments, rows)
    return Sample(payments, rows, raw, scaled(raw), part[payments.customer[rows]])


class Fraud(Story):
    """The story of card fraud, on the payments of one setting of the generator."""

    key = "fraud"
    title = "Card fraud"
    goal = (
        "Stop card fraud while few honest customers are asked back; clerks work down a ranked list, so how well "
        "payments are ranked counts: the area under the ROC curve."
    )
    modality = "table, one payment a row"
    unit = "raw: euro, seconds, kilometres, counts and shares; prepared: logarithms and shares, centred and scaled"
    primary = "eval/auc"
    classes = 2
    families = ("linear", "mlp")
    main = "mlp"
    stresses = ("amount_noise", "no_terminal_risk")
    personal_data = True  # rows stand for people, though none of them lives
    affects_people = True
    drift_weeks = transactions.SALE_WEEKS
    window_weeks = WINDOW_WEEKS
    recipe = Recipe(epochs=14, patience=4, batch_size=256, learning_rate=2e-3, weight_decay=1e-3)
    ablations = {"dropout": 0.2, "depth": 1}
    peak_tps = 10_000.0

    def __init__(self, setting: Setting | None = None) -> None:
        """Another setting gives other customers, as the benchmark over several seeds needs."""
        self.setting = setting or Setting()
        self.source = source(self.setting)

    @property
    def sample(self) -> Sample:
        return sample(self.setting)

    def between(self, begin: float, end: float, *, part: int = 0, name: str = "") -> Data:
        """The kept payments of a part from one place in the calendar up to another."""
        return _between(self.setting, begin, end, part, name or f"week{begin:g}to{end:g}")

    def known(self, week: float, *, weeks: float = WINDOW_WEEKS) -> Data:
        """What can be learned from in a week: payments of so many weeks whose chargebacks have had time to come."""
        end = week - DELAY_DAYS / 7
        return self.between(end - weeks, end, name=f"training{week:.1f}")

    def training(self, week: float) -> Data:
        return self.known(week)

    def validation(self) -> Data:
        return self.between(*VALIDATION_WEEKS, part=1, name="validation")

    def test(self) -> Data:
        return self.between(*TEST_WEEKS, part=2, name="test")

    def stream(self, week: int) -> Data:
        return self.between(week, week + 1, name=f"stream{week}")

    def build(self, family: str = "", **factors: object) -> nn.Module:
        if (family or self.main) == "linear":
            return nn.Sequential(_Chosen(RULE), nn.Linear(len(RULE), self.classes))
        width = max(2, round(64 * float(str(factors.get("width", 1.0)))))
        layers: list[nn.Module] = [nn.Linear(len(FEATURES), width), nn.ReLU()]
        for _ in range(int(str(factors.get("depth", 2))) - 1):
            layers += [nn.Dropout(float(str(factors.get("dropout", 0.0)))), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, self.classes))

    def score(self, y: Classes, logits: Rows) -> float:
        return auc(y, logits[:, 1] - logits[:, 0])

    def features(self, x: Rows) -> dict[str, Values]:
        """The scaled inputs whose shift means something: what is paid, when, where, and how often."""
        watched = ("amount_eur", "distance_km", "hour_sin", "customer_count_7d", "terminal_count_7d")
        return {name: x[:, FEATURES.index(name)].astype(np.float64) for name in watched}

    def stressed(self, stress: str) -> Data:
        test = self.test()
        x = test.x.copy()
        if stress == "amount_noise":
            x[:, 0] += np.random.default_rng(0).normal(0, 0.5, len(x)).astype(np.float32)
        else:
            missing = [FEATURES.index(name) for name in FEATURES if name.startswith("terminal_risk")]
            x[:, missing] = scaled(np.zeros((1, len(FEATURES))))[0, missing]
        return Data(f"fraud/test-{stress}", x, test.y, test.slices, test.groups, test.until, test.source, test.schema)

    def prepare(self, raw: Rows) -> Rows:
        return scaled(raw)

    def raw(self, rows: int) -> Rows:
        all_rows, (begin, end) = self.sample, TEST_WEEKS
        picked = np.flatnonzero((all_rows.part == 2) & (all_rows.week >= begin) & (all_rows.week < end))
        return all_rows.raw[picked[:rows]]

    def fingerprint(self) -> str:
        generator = [transactions.VERSION, repr(self.setting), SHARE_OF_GENUINE, WINDOW_WEEKS]
        return json.dumps([super().fingerprint(), generator])


@lru_cache(maxsize=256)
def _between(setting: Setting, begin: float, end: float, part: int, name: str) -> Data:
    known = sample(setting)
    rows = np.flatnonzero((known.part == part) & (known.week >= begin) & (known.week < end))
    raw, y = known.raw[rows], known.y[rows]
    older = known.payments.older[known.payments.customer[known.rows[rows]]]
    groups = {"age_under_45": ~older, "age_45_and_over": older}
    return Data(f"fraud/{name}", known.x[rows], y, _slices(raw, y), groups, end, source(setting), _SCHEMA)


def source(setting: Setting) -> str:
    """Where the rows come from, in words."""
    kept = f"every fraud and {SHARE_OF_GENUINE:.0%} of the genuine payments kept"
    return f"own generator of synthetic card payments, version {transactions.VERSION}, seed {setting.seed}; {kept}"


class _Chosen(nn.Module):
    """Some columns of the rows."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor([FEATURES.index(name) for name in names]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.index_select(x, 1, self.get_buffer("columns"))


def _slices(raw: Rows, y: Classes) -> dict[str, Flags]:
    """Payments of interest. Hard cases: frauds of an amount usual for the customer, genuine ones far from usual."""
    column = {name: raw[:, number] for number, name in enumerate(FEATURES)}
    hour = np.arctan2(column["hour_sin"], column["hour_cos"]) * 12 / np.pi % 24
    times = column["amount_eur"] / np.maximum(column["customer_mean_eur_30d"], 1.0)
    usual = (times > 0.5) & (times < 2.0)
    return {
        "night": (hour < 6) | (hour >= 22),
        "small_amount": column["amount_eur"] < 15,
        "far_from_home": column["distance_km"] > 15,
        "hard_cases": np.where(y == 1, usual, times > 4.0),
    }


def auc(y: Classes, scores: Values | Rows) -> float:
    """Area under the ROC curve, ties counted half; NaN when a class is missing."""
    genuine, fraud = np.sort(scores[y == 0]), scores[y == 1]
    if not len(genuine) or not len(fraud):
        return float("nan")
    below = np.searchsorted(genuine, fraud, "left") + np.searchsorted(genuine, fraud, "right")
    return float(below.mean() / (2 * len(genuine)))


STORY = Fraud()
