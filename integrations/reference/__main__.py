"""The command: ``python -m integrations.reference``, then list, ladder, run, verify, explain or new.

Exit codes: 0 done; 1 something that was published does not hold any more; 2 a fault that one sentence explains;
130 interrupted.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from integrations.reference import skeleton
from integrations.reference.errors import MissingLibraryError
from integrations.reference.ladder import command

PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    options = _parser().parse_args(arguments)
    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "explain": _explain,
        "new": skeleton.run,
        "ladder": command.climb,
        "run": command.climb,
        "verify": command.verify,
        "work": command.work,
    }
    with _interruptible():
        return handlers[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integrations.reference", description="The reference pipeline.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the projects there are")
    command.add_to(commands, _prefix)
    explains = commands.add_parser("explain", help="how the ladder does a practice: code, trace, document")
    explains.add_argument("practice", help="id such as DG2.3.1")
    skeleton.add_to(commands)
    return parser


def _prefix(text: str) -> str:
    if not PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} may hold letters, digits, dots, dashes and underscores only")
    return text


def _list(options: argparse.Namespace) -> int:
    from integrations.reference.stories import KEYS, find_story

    try:
        for key in KEYS:
            story = find_story(key)
            print(f"{key:<10} {story.title}: {story.goal}")
    except ModuleNotFoundError as error:
        missing = MissingLibraryError.of(error)
        print(missing, file=sys.stderr)
        return missing.exit_code
    return 0


def _explain(options: argparse.Namespace) -> int:
    from integrations.reference.ladder.explain import UnknownPracticeError, explained

    try:
        print(explained(options.practice), end="")
    except UnknownPracticeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt the work once; while it tidies up, further ones are ignored."""
    stops = (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in stops:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(each, interrupt) for each in stops]
    try:
        yield
    finally:
        for each, handler in zip(stops, before, strict=True):
            signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main())
