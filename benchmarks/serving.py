"""Scoring card payments, before and after: ``python -m benchmarks.serving [SECONDS]``.

Before: every payment is a request of its own as JSON, and its features are found by filtering the whole past with
pandas. After: features come from state that is brought up to date payment by payment, and payments are sent in
micro-batches as binary rows, at 10 000 a second whether or not answers come. Both score with the same network and give
the same probabilities, which is checked; latency runs from the moment at which a payment was due until its score was
there, features included; before, the next payment waits for the answer, since at the peak it would queue without end.
The service is a process of its own on the loopback of one machine; the load average is printed because a busy machine
widens the tail.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from integrations.reference.engine import fit
from integrations.reference.service import Rows, Service
from integrations.reference.stories.fraud import STORY
from integrations.reference.stories.payment_features import scaled
from integrations.reference.stories.streaming import FeatureHistory, FeatureStream, as_rows, stream
from integrations.reference.stories.transactions import Setting, generate

PEAK, BATCH = 10_000, 100  # payments a second, payments in a micro-batch
ALLOWED_MS = 28.0
ONE_BY_ONE = 150
"""Payments that are scored one after the other, as fast as answers come, in each of the first two ways."""
WARM_UP_S = 0.5
PAST_WEEKS = 9
"""Weeks of payments there are; the last of them are scored. Enough to fill every window."""


def percentiles(milliseconds: Sequence[float]) -> str:
    """p50, p95 and p99 in words."""
    p50, p95, p99 = np.quantile(milliseconds, [0.5, 0.95, 0.99])
    return f"p50 {p50:7.2f} ms, p95 {p95:7.2f} ms, p99 {p99:7.2f} ms"


def one_by_one(score: Callable[[int], Rows], places: Sequence[int]) -> tuple[list[float], Rows]:
    """Latency of each payment, one after the other, and their probabilities."""
    latencies, answers = [], []
    for place in places:
        begin = time.perf_counter()
        answers.append(score(place))
        latencies.append((time.perf_counter() - begin) * 1000)
    return latencies, np.concatenate(answers)


def open_loop(score: Callable[[int], None], seconds: float) -> tuple[list[float], float]:
    """Call ``score`` with 0, 1, … at the pace of the peak; latency of each batch from when it was due, and the rate."""
    interval, latencies = BATCH / PEAK, []
    start = time.perf_counter()
    count = int((WARM_UP_S + seconds) / interval)
    for number in range(count):
        due = start + number * interval
        if (delay := due - time.perf_counter()) > 0:
            time.sleep(delay)
        score(number)
        if number * interval >= WARM_UP_S:
            latencies.append((time.perf_counter() - due) * 1000)
    return latencies, count * BATCH / (time.perf_counter() - start)


class Ladder:
    """The three ways to score the same payments by one network in one service."""

    def __init__(self, service: Service, count: int) -> None:
        payments = generate(Setting(weeks=PAST_WEEKS))
        first = len(payments) - count
        self.service = service
        self.scores: list[Rows] = []
        self.state = FeatureStream()
        self.state.charge_back(np.flatnonzero(payments.fraud).tolist())
        begin = time.perf_counter()
        for payment in stream(payments, 0, first):
            self.state.take(payment)
        print(f"state of {first} payments built at {first / (time.perf_counter() - begin):.0f} a second")
        self.replay = self.state.snapshot()
        self.history, self.coming = FeatureHistory(payments), list(stream(payments, first))

    def naive(self, place: int) -> Rows:
        """The past filtered for one payment, which is sent as JSON."""
        return self.service.predict_one(scaled(as_rows([self.history.row(self.coming[place])]))[0]).probabilities

    def kept_state(self, place: int) -> Rows:
        """The same with state that is brought up to date."""
        row = self.replay.take(self.coming[place]) or []
        return self.service.predict_one(scaled(as_rows([row]))[0]).probabilities

    def batched(self, number: int) -> None:
        """A micro-batch as binary rows."""
        part = self.coming[number * BATCH : (number + 1) * BATCH]
        rows = scaled(as_rows(self.state.take(payment) or [] for payment in part))
        self.scores.append(self.service.predict(rows).probabilities)


def packaged(folder: Path) -> Path:
    """A trained network of the story, exported."""
    training, validation = STORY.training(-11.4), STORY.validation()
    network = fit(STORY.recipe, STORY.build, training.x, training.y, validation.x, validation.y).model.cpu()
    example = torch.zeros(2, *STORY.shape)
    program = torch.export.export(network, (example,), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    torch.export.save(program, folder / "fraud.pt2")
    return folder / "fraud.pt2"


def main(seconds: float = 5.0) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder)) as service:
        service.load(packaged(Path(folder)), "1")
        ladder = Ladder(service, BATCH * int((WARM_UP_S + seconds) * PEAK / BATCH))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        before, expected = one_by_one(ladder.naive, range(ONE_BY_ONE))
        print(
            f"pandas for each payment, JSON one by one   {percentiles(before)}, {1000 / np.mean(before):.0f} a second"
        )
        between, found = one_by_one(ladder.kept_state, range(ONE_BY_ONE))
        print(
            f"kept state, JSON one by one                {percentiles(between)}, {1000 / np.mean(between):.0f} a second"
        )
        spent = time.process_time()
        after, rate = open_loop(ladder.batched, seconds)
        spent = (time.process_time() - spent) / (BATCH * len(ladder.scores))
        print(f"kept state, micro-batches of {BATCH}, binary     {percentiles(after)}, {rate:.0f} a second")
        print(f"of which features and sending take {spent * 1e6:.0f} us of processor time a payment")
        others = (found, np.concatenate(ladder.scores)[:ONE_BY_ONE])
        print(f"largest difference of probabilities: {max(np.abs(expected - other).max() for other in others):.1e}")
        seen = service.load_test(STORY.test().x, rate_per_s=PEAK, seconds=seconds, batch=BATCH)
    told = ", ".join(f"{name} {seen[f'latency_{name}_ms']:7.2f} ms" for name in ("p50", "p95", "p99"))
    print(f"the service alone, rows that are ready     {told}, {seen['sustained_rate_per_s']:.0f} a second", end="")
    print(f", {seen['errors']} errors of {seen['answered'] + seen['errors']} requests")
    p99 = float(np.quantile(after, 0.99))
    reached = max(p99, seen["latency_p99_ms"]) <= ALLOWED_MS and min(rate, seen["sustained_rate_per_s"]) >= 0.99 * PEAK
    print(f"allowed: p99 {ALLOWED_MS:g} ms at {PEAK} a second: {'reached' if reached else 'missed'}; ", end="")
    print(f"before to after: p99 {np.quantile(before, 0.99):.1f} to {p99:.1f} ms")


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:]))
