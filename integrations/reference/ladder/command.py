"""The commands of the ladder: ``ladder STEP``, ``run PROJECT``, ``verify``, and ``work PROJECT STEP``, which a ladder
starts for each of its projects."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from integrations.reference.errors import PipelineError, StoppedError, explain, require_libraries
from integrations.reference.ladder.rungs import STEPS, Rungs, level_of
from integrations.reference.orphans import end_with_parent
from integrations.reference.stories import KEYS

FOLDER = Path("var") / "reference"


def add_to(commands: Any, prefix: Any) -> None:
    """Add both commands to a parser's sub-commands; ``prefix`` checks the name prefix of experiments."""
    ladder = commands.add_parser("ladder", help="do everything that a level of the model asks, and leave its traces")
    ladder.add_argument("step", type=int, choices=STEPS, help="the level to climb to")
    _add_climbing(ladder, prefix)
    run = commands.add_parser("run", help="the same for one project alone")
    run.add_argument("project", choices=KEYS)
    run.add_argument("--step", type=int, choices=STEPS, default=3, help="the level to climb to (%(default)s)")
    _add_climbing(run, prefix)
    verify = commands.add_parser("verify", help="is what a ladder published still there, and does it still hold?")
    verify.add_argument("--tracking-uri", required=True, help="address of the MLflow server, http(s)://...")
    verify.add_argument("--folder", type=Path, default=FOLDER, help="folder of the ladder (%(default)s)")
    work = commands.add_parser("work")  # started by ladder, not by people: no help
    work.add_argument("story", choices=KEYS)
    work.add_argument("step", type=int, choices=STEPS)
    work.add_argument("--folder", type=Path, required=True)
    work.add_argument("--now", type=int, required=True)
    work.add_argument("--without", nargs="*", type=_practice, default=[])


def _add_climbing(parser: Any, prefix: Any) -> None:
    parser.add_argument("--tracking-uri", required=True, help="address of the MLflow server, http(s)://...")
    parser.add_argument(
        "--experiment-prefix",
        type=prefix,
        default="reference-ladder",
        help="experiments are PREFIX/PROJECT, and what an earlier ladder left there is replaced (%(default)s)",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where work and papers are kept (%(default)s)")
    parser.add_argument("--without", nargs="*", type=_practice, default=[], metavar="PRACTICE", help="broken rungs")
    parser.add_argument("--json", action="store_true", help="one JSON line for each piece of news")


def _practice(text: str) -> str:
    try:
        level_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def climb(options: argparse.Namespace) -> int:
    """Run ``ladder`` or ``run``; whatever happens becomes one sentence and an exit code."""
    from integrations.reference.ladder.display import pick

    begin = time.perf_counter()
    with pick(as_json=options.json) as display:
        try:
            message = _climb(options, display.say)
        except (Exception, KeyboardInterrupt) as error:
            known = explain(error, tracking_uri=options.tracking_uri)
            if known is None:
                raise
            state = "interrupted" if isinstance(known, StoppedError) else "failed"
            return _failed(display, options, state, known, time.perf_counter() - begin)
        display.close("finished", message, time.perf_counter() - begin)
    return 0


def _failed(display: Any, options: argparse.Namespace, state: str, known: PipelineError, seconds: float) -> int:
    kept = f" Work done so far is kept in {options.folder}; the same command goes on."
    if options.json:
        display.close(state, f"{known}{kept}", seconds)
    else:
        print(f"{known}{kept}", file=sys.stderr)
    return known.exit_code


def _climb(options: argparse.Namespace, say: Any) -> str:
    require_libraries()
    prepare()
    from integrations.reference.ladder.climb import climb as go
    from integrations.reference.tracking import quiet_libraries

    rungs = Rungs.to(options.step, options.without)
    with quiet_libraries():
        done = go(
            rungs,
            tracking_uri=options.tracking_uri,
            prefix=options.experiment_prefix,
            folder=options.folder.resolve(),
            now=round(time.time() * 1000),
            stories=[options.project] if options.command == "run" else KEYS,
            say=say,
        )
    parts = ", ".join(f"{name} {spent:.0f} s" for name, spent in done.seconds.items())
    return (
        f"Step {options.step} is on {options.tracking_uri}: {done.runs} runs and {done.versions} versions under "
        f"{options.experiment_prefix}/ ({parts}). Documents and records: {done.folder}"
    )


def verify(options: argparse.Namespace) -> int:
    """Run ``verify``: 0 when everything holds, 1 with a line for each fault."""
    try:
        require_libraries()
        prepare()
        from integrations.reference.ladder.verify import faults
        from integrations.reference.tracking import client_of, quiet_libraries

        with quiet_libraries():
            found = list(faults(options.folder / "papers", client_of(options.tracking_uri)))
    except (Exception, KeyboardInterrupt) as error:
        known = explain(error, tracking_uri=options.tracking_uri)
        if known is None:
            raise
        print(known, file=sys.stderr)
        return known.exit_code
    print("\n".join(found) if found else "Everything that was published is there, unchanged, and the champions answer.")
    return 1 if found else 0


def work(options: argparse.Namespace) -> int:
    """Run ``work``: do what takes time in one project and keep it; a line on standard output for each piece."""
    end_with_parent()
    prepare()
    from integrations.reference.ladder.calendar import Calendar
    from integrations.reference.ladder.climb import workshop
    from integrations.reference.ladder.tell import tell_project
    from integrations.reference.tracking import quiet_libraries

    try:
        with quiet_libraries():
            shop = workshop(options.folder, options.story, lambda text: print(text, flush=True))
            tell_project(options.story, Rungs.to(options.step, options.without), Calendar(options.now), shop)
    except (Exception, KeyboardInterrupt) as error:
        known = explain(error)
        if known is None:
            raise
        print(known, file=sys.stderr)
        return known.exit_code
    return 0


def prepare() -> None:
    """One thread a process, set before torch is imported: small models are slower on several."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
