"""Recorded answers of a server: kept as JSON, and given again by a stub to the same questions.

Takes a file that ``record_old_server`` wrote; gives a running stub and what the recording says was on the server. A
question that was never recorded gets status 599, which fails the collection rather than looking like an empty answer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integrations.servers import Answer, Stub, stub_server

FOLDER = Path(__file__).parent / "recordings"
PAGE_SIZES = (4, 1000)
"""Collections are recorded with both, so that lists come in several pages and in one."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was put on a server (``told``), when (seconds since 1970), and its answers by question."""

    told: dict[str, Any]
    at: float
    answers: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, name: str) -> Recording:
        return cls(**json.loads((FOLDER / name).read_text()))

    @contextlib.contextmanager
    def server(self) -> Iterator[Stub]:
        """A stub that gives the recorded answers."""
        with stub_server(lambda line, body, _: self._answer(line, body)) as stub:
            yield stub

    def _answer(self, line: str, body: bytes) -> Answer:
        found = self.answers.get(question(line, body))
        if found is None:
            return Answer(599, f"never recorded: {question(line, body)}".encode())
        return Answer(found["status"], found["body"].encode(), tuple(tuple(pair) for pair in found["headers"]))


def question(line: str, body: bytes) -> str:
    """The key of a question: method, path and body."""
    return f"{line} {body.decode()}".strip()
