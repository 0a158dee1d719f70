"""A look at the ladder while working on it: ``python -m tests.integrations.reference.ladder.look STEP [...]``.

Prints level and gaps of every capability at a step, and with ``--broken`` what each broken rung of the step does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", type=int)
    parser.add_argument("--stories", nargs="+", default=["digits"])
    parser.add_argument("--without", nargs="+", default=[])
    parser.add_argument("--only", nargs="+", default=[], help="capabilities to tell of")
    parser.add_argument("--broken", action="store_true", help="try every practice of the step (and of --only)")
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("LADDER_WORK", "/tmp/ladder-work")))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    from integrations.reference.ladder.calendar import Calendar
    from integrations.reference.ladder.rungs import level_of
    from maturity.schema import load_model
    from tests.integrations.reference.ladder.facts import today

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
    for key in options.stories:
        work = Workshop(
            options.work, "look" + find_story(key).fingerprint(), lambda text: print("   ", text, file=sys.stderr)
        )
        scenes[key] = tell_project(key, rungs, calendar, work, commit="0" * 40)
    whole = tell_organisation(rungs, calendar, scenes)
    books = {"": whole.book, **{key: scene.book for key, scene in scenes.items()}}
    return score(books, calendar)


def _show(card, options) -> None:
    findings = {(f.indicator, f.project): f for f in card.findings}
    for capability in card.capabilities:
        if options.only and capability.capability not in options.only:
            continue
        print(capability.capability, "level", capability.level.rated if capability.level else None)
        for result in capability.practices:
            level = int(result.practice.split(".")[1])
            if level > options.step + 1 or not result.values or float(result.values.rated) >= 1:
                if not (level > options.step and result.values and float(result.values.rated) >= 1):
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
