"""What the person at the terminal sees, or the parent process reads, while the story is told.

Three displays of the same events: a live line with a spinner on a terminal, plain lines elsewhere, one JSON object
per line for a parent process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.status import Status

from integrations.reference.steps import STEPS, StepKey
from integrations.reference.steps import step as step_of


@dataclass(frozen=True, slots=True)
class StepDone:
    """The end of one step: state is ``done``, ``skipped``, ``failed`` or ``interrupted``."""

    key: StepKey
    state: str
    seconds: float
    detail: str

    @property
    def number(self) -> int:
        return 1 + [known.key for known in STEPS].index(self.key)


@dataclass(frozen=True, slots=True)
class StoryDone:
    """The end of the story: state is ``finished``, ``already finished``, ``failed`` or ``interrupted``."""

    state: str
    story: str
    message: str
    seconds: float


class Display(Protocol):
    """Where events go."""

    def begin(self, key: StepKey) -> None:
        """A step has begun."""

    def tell(self, text: str) -> None:
        """Something to know within the step."""

    def end(self, done: StepDone) -> None:
        """A step has ended."""

    def close(self, done: StoryDone) -> None:
        """The story has ended."""


class LiveDisplay:
    """A spinner with what is going on, and one lasting line per step; for a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status: Status | None = None
        self.title = ""

    def begin(self, key: StepKey) -> None:
        self.title = step_of(key).title
        self.status = self.console.status(self.title)
        self.status.start()

    def tell(self, text: str) -> None:
        if self.status:
            self.status.update(f"{self.title} [dim]{text}[/dim]")

    def end(self, done: StepDone) -> None:
        if self.status:
            self.status.stop()
        mark = {"done": "[green]✓[/green]", "skipped": "[yellow]–[/yellow]"}.get(done.state, "[red]✗[/red]")
        self.console.print(f"{mark} {step_of(done.key).title:<22} {done.seconds:6.1f} s  {done.detail}", soft_wrap=True)

    def close(self, done: StoryDone) -> None:
        if done.message:
            self.console.print(done.message, soft_wrap=True)


class PlainDisplay:
    """One line per step, no control codes; for a log file or a pipe."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def begin(self, key: StepKey) -> None:
        """Nothing: the line comes with the end."""

    def tell(self, text: str) -> None:
        """Nothing: details come with the end."""

    def end(self, done: StepDone) -> None:
        title = step_of(done.key).title
        self._line(f"{done.number}/{len(STEPS)} {title}: {done.state}, {done.seconds:.1f} s. {done.detail}".rstrip())

    def close(self, done: StoryDone) -> None:
        if done.message:
            self._line(done.message)

    def _line(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()


class JsonDisplay:
    """One JSON object per step and a last one for the story; for a parent process."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def begin(self, key: StepKey) -> None:
        """Nothing: one line per step."""

    def tell(self, text: str) -> None:
        """Nothing: one line per step."""

    def end(self, done: StepDone) -> None:
        self._line(
            event="step",
            step=done.key.value,
            number=done.number,
            of=len(STEPS),
            state=done.state,
            seconds=round(done.seconds, 3),
            detail=done.detail,
        )

    def close(self, done: StoryDone) -> None:
        self._line(
            event="story", state=done.state, story=done.story, message=done.message, seconds=round(done.seconds, 3)
        )

    def _line(self, **content: object) -> None:
        self.out.write(json.dumps(content, ensure_ascii=False) + "\n")
        self.out.flush()


def pick_display(*, as_json: bool) -> Display:
    """JSON lines when asked for, the live display on a terminal, plain lines otherwise."""
    if as_json:
        return JsonDisplay(sys.stdout)
    console = Console(highlight=False)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(sys.stdout)


class Telling:
    """A step under way: ``say`` updates the live line, ``conclude`` and ``skip`` set how it ends."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.state = "done"
        self.detail = ""

    def say(self, text: str) -> None:
        self._display.tell(text)

    def conclude(self, detail: str) -> None:
        self.detail = detail

    def skip(self, reason: str) -> None:
        self.state, self.detail = "skipped", reason


@contextmanager
def telling(display: Display, key: StepKey) -> Iterator[Telling]:
    """Time a step and tell the display how it went; exceptions pass through."""
    story = Telling(display)
    begin = time.perf_counter()
    display.begin(key)
    try:
        yield story
    except KeyboardInterrupt:
        display.end(StepDone(key, "interrupted", time.perf_counter() - begin, ""))
        raise
    except Exception:
        display.end(StepDone(key, "failed", time.perf_counter() - begin, ""))
        raise
    display.end(StepDone(key, story.state, time.perf_counter() - begin, story.detail))


class Timed:
    """A display that also keeps the seconds of every finished step."""

    def __init__(self, inner: Display) -> None:
        self.inner = inner
        self.seconds: dict[StepKey, float] = {}

    def begin(self, key: StepKey) -> None:
        self.inner.begin(key)

    def tell(self, text: str) -> None:
        self.inner.tell(text)

    def end(self, done: StepDone) -> None:
        self.seconds[done.key] = done.seconds
        self.inner.end(done)

    def close(self, done: StoryDone) -> None:
        self.inner.close(done)
