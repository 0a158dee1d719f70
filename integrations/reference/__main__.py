"""The command: ``python -m integrations.reference list | run CASE --tracking-uri URL | explain``.

Exit codes: 0 the story is on the server; 1 the pipeline said no (data check or gate); 2 a fault that one sentence
explains; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from integrations.reference import skeleton
from integrations.reference.case import Case, all_cases, find_case
from integrations.reference.errors import InterruptedStoryError, explain, require_libraries
from integrations.reference.ladder import command
from integrations.reference.progress import Display, StoryDone, pick_display
from integrations.reference.steps import GAPS, STEPS

# Small models are slower on several threads, and a fixed number is part of what makes a run repeatable. Both must be
# set before torch is imported.
THREADS = "1"
PROJECT_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        return _list()
    if options.command == "new":
        return skeleton.run(options)
    if options.command == "explain":
        return _explain(options.practice)
    if options.command in ("ladder", "verify", "work"):
        with _interruptible():
            return {"ladder": command.climb, "verify": command.verify, "work": command.work}[options.command](options)
    return _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integrations.reference", description="The reference pipeline.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the cases there are")
    explains = commands.add_parser("explain", help="how the ladder does a practice: code, trace, document")
    explains.add_argument("practice", nargs="?", help="id such as DG2.3.1; without it, the steps of the cases")
    skeleton.add_to(commands)
    run = commands.add_parser("run", help="tell the story of a case on a tracking server")
    run.add_argument("case", help="name of a case, see list")
    run.add_argument("--tracking-uri", required=True, help="address of the MLflow server, http(s)://...")
    run.add_argument("--project", type=_matching(PROJECT_KEY), help="project key for dlemm.project (default: the case)")
    run.add_argument(
        "--experiment-prefix",
        type=_matching(PREFIX),
        default="reference",
        help="the experiment is PREFIX/CASE, the registered model PREFIX-PROJECT (default: %(default)s)",
    )
    run.add_argument("--force", action="store_true", help="tell it again although a finished story is there")
    run.add_argument("--json", action="store_true", help="one JSON line per step, for a parent process")
    command.add_to(commands, _matching(PREFIX))
    return parser


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise argparse.ArgumentTypeError(f"{text!r} may hold letters, digits, dots, dashes and underscores only")
        return text

    return parse


def _list() -> int:
    for case in all_cases():
        print(f"{case.key:<14} {case.title}")
    return 0


def _explain(practice: str | None) -> int:
    if practice:
        from integrations.reference.ladder.explain import UnknownPracticeError, explained

        try:
            print(explained(practice), end="")
        except UnknownPracticeError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        return 0
    for number, step in enumerate(STEPS, start=1):
        print(f"{number}. {step.title} ({step.key.value})\n   {step.does}")
        print("".join(f"   - {trace}\n" for trace in step.leaves))
    print("Left out on purpose:")
    print("\n".join(f"   - {gap}" for gap in GAPS))
    return 0


def _run(options: argparse.Namespace) -> int:
    """Set the process up, run, and turn whatever happens into one sentence and an exit code."""
    display = pick_display(as_json=options.json)
    begin = time.perf_counter()
    try:
        with _interruptible():
            case = find_case(options.case)
            require_libraries()
            return _tell(options, case, display, begin)
    except (Exception, KeyboardInterrupt) as error:
        known = explain(error, tracking_uri=options.tracking_uri)
        if known is None:
            raise
        state = "interrupted" if isinstance(known, InterruptedStoryError) else "failed"
        if options.json:
            display.close(StoryDone(state, "", str(known), time.perf_counter() - begin))
        else:
            print(known, file=sys.stderr)
        return known.exit_code


def _tell(options: argparse.Namespace, case: Case, display: Display, begin: float) -> int:
    """Look whether the story is there before torch is imported, so that a second call takes seconds."""
    os.environ.setdefault("OMP_NUM_THREADS", THREADS)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    from integrations.reference.tracking import Tracker, quiet_libraries

    with quiet_libraries():
        tracker = Tracker(
            options.tracking_uri, case=case, project=options.project or case.key, prefix=options.experiment_prefix
        )
        if not options.force and (finished := tracker.finished_story()):
            message = f"A finished story of {case.pipeline} is already there (run {finished}); nothing to do."
            display.close(StoryDone("already finished", finished, message, time.perf_counter() - begin))
            return 0
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        from integrations.reference.pipeline import run_story

        told = run_story(tracker, display, force=options.force)
    message = f"Story {told.story} of {case.pipeline} is on {tracker.uri}, told in {told.seconds:.1f} s."
    display.close(StoryDone("finished", told.story, message, time.perf_counter() - begin))
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt the story once; while it tidies up, further ones are ignored."""
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
