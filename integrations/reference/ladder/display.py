"""What is shown while a ladder is climbed: a live table, plain lines, or JSON for a parent."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table


class Display(AbstractContextManager["Display"], Protocol):
    """Where news of a ladder goes; used in a ``with`` block."""

    def say(self, step: str, text: str) -> None:
        """A step (a story, ``tell``, ``publish``) is at this."""

    def close(self, state: str, message: str, seconds: float) -> None:
        """It has ended: ``finished``, ``failed`` or ``interrupted``."""


class LiveDisplay:
    """One row a step with what it does now, how many pieces of work are done, and for how long."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: dict[str, tuple[str, int, float]] = {}
        self.live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> LiveDisplay:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def say(self, step: str, text: str) -> None:
        _, count, begin = self.rows.get(step, ("", 0, time.monotonic()))
        self.rows[step] = (text, count + 1, begin)

    def close(self, state: str, message: str, seconds: float) -> None:
        self.live.stop()
        self.console.print(message, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step, (text, count, begin) in self.rows.items():
            table.add_row(f"[bold]{step}[/bold]", f"{count}", text, f"[dim]{time.monotonic() - begin:.0f} s[/dim]")
        return table


class LineDisplay:
    """JSON objects, one for each piece of news; or lines of text, for each step one in ``EVERY_S`` at the most."""

    EVERY_S = 5.0

    def __init__(self, out: TextIO, *, as_json: bool) -> None:
        self.out, self.as_json = out, as_json
        self.told: dict[str, float] = {}

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def say(self, step: str, text: str) -> None:
        now = time.monotonic()
        if not self.as_json and now < self.told.get(step, -self.EVERY_S) + self.EVERY_S:
            return
        self.told[step] = now
        self._line({"event": "work", "step": step, "doing": text}, f"{step}: {text}")

    def close(self, state: str, message: str, seconds: float) -> None:
        self._line({"event": "end", "state": state, "message": message, "seconds": round(seconds, 1)}, message)

    def _line(self, content: dict[str, object], text: str) -> None:
        self.out.write((json.dumps(content, ensure_ascii=False) if self.as_json else text) + "\n")
        self.out.flush()


def pick(*, as_json: bool) -> Display:
    """JSON when asked for, the live table on a terminal, lines otherwise."""
    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        return LineDisplay(sys.stdout, as_json=as_json)
    return LiveDisplay(console)
