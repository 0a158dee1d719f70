"""A look at the ladder while working on it: ``python -m tests.integrations.reference.ladder.look STEP [...]``.

Prints level and gaps of every capability at a step, and with ``--broken`` what each broken rung of the step does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", type=int)
    parser.add_argument("--stories", nargs="+", default=["digits"])
    parser.add_argument("--without", nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[], help="capabilities to tell of")
    parser.add_argument("--acts", nargs="+", default=[], help="tell these acts alone, in the order of the ladder")
    parser.add_argument("--broken", action="store_true", help="try every practice of the step (and of --only)")
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("LADDER_WORK", "/tmp/ladder-work")))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    from integrations.reference.ladder import tell
    from integrations.reference.ladder.calendar import Calendar
    from integrations.reference.ladder.rungs import level_of
    from maturity.schema import load_model
    from tests.integrations.reference.ladder.facts import today

    tell.ACTS = tuple(act for act in tell.ACTS if not options.acts or act in options.acts)
    calendar, model = Calendar(today()), load_model()
    begin = time.perf_counter()
    card = _scored(options, calendar, options.without)
    print(f"told and scored in {time.perf_counter() - begin:.1f} s")
    _show(card, options)
    if not options.broken:
        return
    whole = {c.capability: c.level.rated for c in card.capabilities if c.level}
    for practice in model.practices.values():
        wanted = not options.only or practice.capability in options.only
        if level_of(practice.id) == options.step and wanted:
            broken = _scored(options, calendar, [practice.id])
            levels = {c.capability: c.level.rated for c in broken.capabilities if c.level}
            moved = {key: levels.get(key) for key in whole if levels.get(key) != whole[key]}
            good = moved == {practice.capability: options.step - 1}
            print("good" if good else "BAD ", practice.id, moved)


def _scored(options, calendar, without):
    from integrations.reference.ladder.rungs import Rungs
    from integrations.reference.ladder.tell import tell_organisation, tell_project
    from integrations.reference.ladder.workshop import Workshop
    from integrations.reference.stories import find_story
    from tests.integrations.reference.ladder.facts import score

    rungs = Rungs.to(options.step, without)
    scenes = {}
    folder, commit, parts = _repository(options, rungs, calendar)
    for key in options.stories:
        work = Workshop(
            options.work, "look" + find_story(key).fingerprint(), lambda text: print("   ", text, file=sys.stderr)
        )
        scenes[key] = tell_project(key, rungs, calendar, work, commit=commit)
    whole = tell_organisation(rungs, calendar, scenes, repository=folder)
    books = {"": whole.book, **{key: scene.book for key, scene in scenes.items()}}
    return score(rungs, books, calendar, parts)


def _repository(options, rungs, calendar):
    """Folder, commit and facts of the repository, built once for the rungs that it depends on; nothing of it where
    only capabilities are looked at that it says nothing of."""
    from integrations.reference.ladder.repository import build, practices
    from tests.integrations.reference.ladder.facts import repository_parts

    asked = sorted(practices())
    if options.only and not {practice[:3] for practice in asked} & {one[:3] for one in options.only}:
        return None, "0" * 40, ()
    key = (rungs.step > 1, *(practice for practice in asked if practice in rungs))
    if key not in _BUILT:
        name = hashlib.sha256(repr((key, options.stories)).encode()).hexdigest()[:8]
        folder = options.work / f"repository-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        kept = options.work / "repository-kept"
        commit = build(folder, rungs, calendar, projects=options.stories, kept=kept)
        _BUILT[key] = folder, commit, repository_parts(folder, options.stories, calendar.now)
    return _BUILT[key]


_BUILT = {}


def _show(card, options) -> None:
    findings = {(f.indicator, f.project): f for f in card.findings}
    for capability in card.capabilities:
        if options.only and capability.capability not in options.only:
            continue
        print(capability.capability, "level", capability.level.rated if capability.level else None)
        for result in capability.practices:
            level = int(result.practice.split(".")[1])
            full = bool(result.values) and float(result.values.rated) >= 1
            if (level > options.step + 1 or not result.values or full) and not (level > options.step and full):
                continue
            print(f"    {result.practice} rated {float(result.values.rated):.2f}  {result.rule}")
            for rating in result.ratings:
                for leaf in rating.leaves:
                    value = float(leaf.values.rated) if leaf.values else None
                    finding = findings.get((leaf.finding.indicator, leaf.finding.project)) if leaf.finding else None
                    more = "" if finding is None else f"{finding.value} n={finding.n} failing={finding.failing[:3]}"
                    if value is None or value < 1 or level > options.step:
                        print(f"        {leaf.check} {leaf.project} {value} {leaf.rule} {more}")


if __name__ == "__main__":
    main()
