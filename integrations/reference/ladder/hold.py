"""Holding experiments while a ladder is published, so that two publications do not remove each other's runs.

Takes a client and experiments; a tag on each says who publishes to it, and since when.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlflow import MlflowClient

from integrations.reference.errors import AlreadyRunningError

HELD = "dlemm.ladder.held"
"""Tag of an experiment that says who is publishing to it; empty when nobody is."""
_UNSEEN = timedelta(hours=1)  # so long the hold of another machine counts, whose processes cannot be looked at
_SETTLE_S = 0.2


@dataclass(frozen=True, slots=True)
class _Hold:
    """Who publishes: a process of a machine; ``started`` tells it from a later one that got the same number."""

    host: str
    process: int
    started: str
    since: str  # ISO 8601

    @classmethod
    def read(cls, text: str) -> _Hold | None:
        """The hold that a tag says; None when it is empty or nothing a ladder wrote."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            told = json.loads(text)
            since = datetime.fromisoformat(told["since"]).astimezone(UTC).isoformat(timespec="seconds")
            return cls(str(told["host"]), int(told["process"]), str(told["started"]), since)
        return None

    def stands_against(self, other: _Hold) -> bool:
        """Does it keep ``other`` from publishing? Not when it is of the same process, or of one that has ended."""
        if (self.host, self.process, self.started) == (other.host, other.process, other.started):
            return False
        if self.host == other.host and self.started:
            return _started(self.process) == self.started
        return abs(datetime.now(UTC) - datetime.fromisoformat(self.since)) < _UNSEEN


def _started(process: int) -> str:
    """When a process of this machine started, in ticks; empty when it has ended, or where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@contextlib.contextmanager
def held(client: MlflowClient, experiments: Mapping[str, str]) -> Iterator[None]:
    """Hold experiments (id by name), and let go of them however it ends.

    Raises ``AlreadyRunningError`` while another process holds one of them.

    MLflow has no "set this if it is still that", so of two who found an experiment free at the same moment both write
    their hold, and only the later one stands. Each therefore waits for longer than there is between looking and
    writing, then reads what stands, and does not go on unless it is its own.
    """
    host, process = platform.node(), os.getpid()
    mine = _Hold(host, process, _started(process), datetime.now(UTC).isoformat(timespec="seconds"))
    text = json.dumps(asdict(mine))
    try:
        for name, experiment in experiments.items():
            _refuse(name, _Hold.read(_hold_on(client, experiment)), mine)
            client.set_experiment_tag(experiment, HELD, text)
        time.sleep(_SETTLE_S)
        for name, experiment in experiments.items():
            _refuse(name, _Hold.read(_hold_on(client, experiment)), mine)
        yield
    finally:
        with contextlib.suppress(Exception):  # what ended it is to be told; a hold that stays ends with this process
            for experiment in experiments.values():
                if _hold_on(client, experiment) == text:
                    client.set_experiment_tag(experiment, HELD, "")


def _hold_on(client: MlflowClient, experiment: str) -> str:
    return str(client.get_experiment(experiment).tags.get(HELD, ""))


def _refuse(name: str, there: _Hold | None, mine: _Hold) -> None:
    if there is None or not there.stands_against(mine):
        return
    patience = "" if there.host == mine.host else " (an hour at the most, should it have broken off)"
    raise AlreadyRunningError(
        f"Process {there.process} on {there.host} has been publishing to the experiment {name} since "
        f"{there.since}; wait for it{patience}, or give another --experiment-prefix."
    )
