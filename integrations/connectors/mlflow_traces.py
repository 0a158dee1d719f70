"""Counts the traces of an MLflow 3 server by day, model and state; their content is dropped as soon as it arrives.

Takes experiment ids and the registered versions of interest; gives rows of ``trace_days``. The server's own counts do
not tell models apart, so the newest traces of each experiment are paged, up to a limit, and counted here. Where there
are more, the server counts the rest, and one by one those of the registered versions, which are thus exact.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from integrations.connectors.base import Reason, Refused
from integrations.connectors.mlflow_api import Api, tokens
from integrations.connectors.mlflow_rows import Row
from integrations.connectors.mlflow_trace_counts import (
    DAY_MS,
    MODEL_KEY,
    STATES,
    TRACES,
    VERSION_KEY,
    Named,
    TraceCounts,
    Versions,
    day_of,
)

DAYS = 180
_PER_PAGE = 500  # the server accepts no more
_EXPERIMENTS_PER_QUESTION = 100
_WHOLE_EXPERIMENTS = 20  # times the limit of one is the most traces that all experiments together may cost
_MOST_VERSIONS = 100
_LONGEST_NAME = 300
_VERSION = re.compile(r"[^/]+/[0-9]+")
_SOURCE_RUN = "mlflow.assessment.sourceRunId"


@dataclass(slots=True)
class _Tally:
    traces: int = 0
    assessed: int = 0
    reviewed: int = 0


Sample = dict[Named, _Tally]


class Traces:
    """Reads the traces of the 180 days before ``now`` (ms). ``limit``: the most traces paged of one experiment.

    ``assessments``: this server shows assessments with traces. ``capped`` counts the experiments with more than was
    paged, ``uncounted`` those of them that the server did not count either. ``read`` may raise ``Refused``; not found
    means that the server is older than MLflow 3.
    """

    def __init__(
        self, api: Api, write: Callable[[str, list[Row]], None], *, now: int, limit: int, assessments: bool
    ) -> None:
        self._api = api
        self._write = write
        self._limit = limit
        self._assessments = assessments
        self._since = (now // DAY_MS - DAYS) * DAY_MS
        self._counts = TraceCounts(api, self._since, (now // DAY_MS + 2) * DAY_MS)
        self._left = limit * _WHOLE_EXPERIMENTS
        self.capped = 0
        self.uncounted = 0

    def read(self, experiments: Sequence[str], versions: Versions) -> None:
        """Write the counts of every experiment."""
        cut: dict[str, Sample] = {}
        for start in range(0, len(experiments), _EXPERIMENTS_PER_QUESTION):
            for experiment in self._with_traces(experiments[start : start + _EXPERIMENTS_PER_QUESTION]):
                sample, whole = self._sample(experiment)
                self._write("trace_days", self._sampled_rows(experiment, sample))
                if not whole:
                    cut[experiment] = sample
        self.capped = len(cut)
        self._count_the_rest(cut, versions)

    def _with_traces(self, experiments: Sequence[str]) -> Iterator[str]:
        """The experiments that have traces, found by halving: on most servers they are few."""
        if not self._api.post(f"{TRACES}/search", self._question(experiments, 1)).get("traces"):
            return
        if len(experiments) == 1:
            yield experiments[0]
            return
        middle = len(experiments) // 2
        yield from self._with_traces(experiments[:middle])
        yield from self._with_traces(experiments[middle:])

    def _question(self, experiments: Sequence[str], size: int) -> dict[str, Any]:
        places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": key}} for key in experiments]
        condition = f"attributes.timestamp_ms >= {self._since}"
        return {"locations": places, "max_results": size, "filter": condition, "order_by": ["timestamp_ms DESC"]}

    def _sample(self, experiment: str) -> tuple[Sample, bool]:
        """Counts of the newest traces, and whether these are all."""
        allowed = min(self._limit, self._left)
        sample: Sample = {}
        if allowed <= 0:
            return sample, False
        question = self._question([experiment], min(_PER_PAGE, allowed + 1))

        def ask(token: str) -> dict[str, Any]:
            return self._api.post(f"{TRACES}/search", {**question, **({"page_token": token} if token else {})})

        done = 0
        for page in tokens(ask, "traces", lambda trace: trace.get("trace_id")):
            for trace in page[: allowed - done]:
                self._add(sample, trace)
            done += len(page)
            if done > allowed:
                self._left -= allowed
                return sample, False
        self._left -= done
        return sample, True

    def _add(self, sample: Sample, trace: Mapping[str, Any]) -> None:
        try:
            given = [one for one in trace.get("assessments", []) if one.get("valid") is not False]
            tally = sample.setdefault(_named(trace), _Tally())
            tally.traces += 1
            tally.assessed += bool(given)
            tally.reviewed += any(_by_a_person(one) for one in given)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise Refused(Reason.GARBAGE, "unexpected content for a trace") from error

    def _sampled_rows(self, experiment: str, sample: Sample) -> list[Row]:
        rows = []
        for key in sorted(sample, key=_order):
            tally = sample[key]
            looked = {"assessed": tally.assessed, "reviewed": tally.reviewed} if self._assessments else {}
            rows.append(_row(experiment, key, tally.traces) | looked)
        return rows

    def _count_the_rest(self, samples: Mapping[str, Sample], versions: Versions) -> None:
        """Write what the server counts beyond the samples, by version where it names a registered one."""
        totals = self._counts.of(list(samples))
        exact = self._counts.of_versions(list(totals), versions[:_MOST_VERSIONS])
        self.uncounted = len(samples) - len(totals)
        for experiment, total in totals.items():
            known = Counter({key: tally.traces for key, tally in samples[experiment].items()})
            beyond = exact[experiment] - known  # traces may vanish between two questions; then nothing is added
            told: Counter[Named] = Counter()
            for key, number in (known + beyond).items():
                told[Named(key.day, key.state)] += number
            beyond += total - told
            self._write("trace_days", [_row(experiment, key, beyond[key]) for key in sorted(beyond, key=_order)])


def _named(trace: Mapping[str, Any]) -> Named:
    tags, metadata = trace.get("tags", {}), trace.get("trace_metadata", {})
    state = trace.get("state")
    version = _name(tags.get(VERSION_KEY)) or _name(metadata.get(VERSION_KEY))
    return Named(
        day_of(trace["request_time"]),
        state if state in STATES else "IN_PROGRESS",
        _name(metadata.get(MODEL_KEY)),
        version if version and _VERSION.fullmatch(version) else None,
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable() else None


def _by_a_person(assessment: Mapping[str, Any]) -> bool:
    """Feedback that a person gave; what an evaluation run brought along is marked with the run."""
    source = assessment.get("source", {}).get("source_type")
    return "feedback" in assessment and source == "HUMAN" and _SOURCE_RUN not in assessment.get("metadata", {})


def _order(key: Named) -> tuple[int, str, str, str]:
    return key.day, key.model or "", key.version or "", key.state


def _row(experiment: str, key: Named, traces: int) -> Row:
    return {
        "experiment": experiment,
        "day": key.day,
        "logged_model": key.model,
        "version": key.version,
        "state": key.state,
        "traces": traces,
    }
