"""The story, told once: data, training, evaluation, package, gate, release, service, watch, retraining, rollback.

Takes a case and a tracking server, gives the id of the story's run. Every trace on the server is the outcome of
having done the thing; a step that found no reason to act says so and is skipped.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from integrations.reference.case import Disturbance, Fit
from integrations.reference.data import Split, check, disturb, load_splits
from integrations.reference.endpoint import Endpoint
from integrations.reference.errors import AlreadyRunningError, StoryStoppedError
from integrations.reference.evaluate import PRIMARY_METRIC, accuracy, duel
from integrations.reference.experiment import (
    Candidate,
    Evaluation,
    Setting,
    evaluate_candidate,
    record_data_check,
    train_candidate,
)
from integrations.reference.gate import load_policy
from integrations.reference.operation import Accepted, Watched, benchmark, drill_rollback, put_in_service, watch
from integrations.reference.progress import Display, Telling, Timed, telling
from integrations.reference.release import ALIAS, Version, gate, package, release
from integrations.reference.steps import StepKey
from integrations.reference.tracking import Run, Tracker, tells_live


@dataclass(frozen=True, slots=True)
class Told:
    """A story that is finished: the id of its outermost run, and how long it took."""

    story: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Trainings:
    """The networks of the training step that go on."""

    baseline: Candidate
    best: Candidate
    undertrained: Candidate


def run_story(tracker: Tracker, display: Display, *, force: bool = False) -> Told:
    """Tell the story, whatever is there already; earlier stories of the case are marked as replaced.

    ``force`` also overrules a process that seems to be telling it right now. Raises ``AlreadyRunningError`` for such
    a process, ``StoryStoppedError`` when the data check failed or no candidate passed; any error leaves the open
    runs ended and the serving process stopped.
    """
    begin = time.perf_counter()
    earlier = tracker.stories()
    if not force and any(tells_live(story) for story in earlier):
        raise AlreadyRunningError(f"Another process is telling {tracker.case.pipeline} on {tracker.uri} right now.")
    try:
        with tracker.open_story() as run:
            for story in earlier:
                tracker.supersede(story)
            _tell(tracker, display, run)
    except KeyboardInterrupt:
        if tracker.story:  # a run may have been created in the very moment of the interruption
            tracker.close_leftovers(tracker.story)
        raise
    return Told(run.id, time.perf_counter() - begin)


def _tell(tracker: Tracker, outer: Display, run: Run) -> None:
    display = Timed(outer)
    run.params({"case": tracker.case.key, "split_seed": tracker.case.split_seed, "threads": torch.get_num_threads()})
    setting = _check_data(tracker, display)
    trainings = _train(setting, display)
    evaluations = _evaluate(setting, trainings, display)
    first = _package_and_gate(setting, evaluations, display)
    with telling(display, StepKey.RELEASE) as step:
        release(setting, first)
        step.conclude(f"version {first.number} of {tracker.model} is {ALIAS}")
    with tempfile.TemporaryDirectory(prefix="reference-pipeline-") as folder, Endpoint(Path(folder)) as endpoint:
        _operate(setting, first, endpoint, Path(folder), display)
    run.metrics({f"story/{key.value}_s": seconds for key, seconds in display.seconds.items()})


def _check_data(tracker: Tracker, display: Display) -> Setting:
    with telling(display, StepKey.DATA) as step:
        splits = load_splits(tracker.case)
        report = check(splits)
        record_data_check(tracker, splits, report)
        if report.failed:
            names = ", ".join(expectation.name for expectation in report.failed)
            raise StoryStoppedError(f"The data check failed ({names}); nothing was trained.")
        step.conclude(f"{len(report.expectations)} expectations hold, {report.train_eval_overlap} shared images")
    return Setting(tracker.case, load_policy(tracker.case.policy_file), tracker, splits, report)


def _train(setting: Setting, display: Display) -> _Trainings:
    """Baseline, study, repeats, one repetition to prove reproducibility, one under-trained candidate."""
    case, tracker = setting.case, setting.tracker
    with telling(display, StepKey.TRAIN) as step:
        baseline = train_candidate(
            setting, case.baseline, note="Linear baseline: what a network must beat.", tags={"dlemm.role": "baseline"}
        )
        note = "Optimisation techniques compared on the same model, data and seed."
        with tracker.run("optimisation study", stage="optimisation", note=note) as study:
            members = [_train_member(setting, fit, study, step) for fit in case.study]
        candidates = [members[0]]
        for fit in case.repeats:
            step.say(fit.name)
            candidates.append(train_candidate(setting, fit, note=f"The same model with seed {fit.seed}."))
        _reproduce(setting, members[0], step)
        undertrained = train_candidate(setting, case.undertrained, note="Stopped far too early, to see the gate hold.")
        best = max(candidates, key=lambda candidate: candidate.validation_accuracy)
        step.conclude(
            f"{len(candidates) + len(members) + 2} runs, best {best.trained.fit.name} "
            f"with {best.validation_accuracy:.1%} on validation"
        )
    return _Trainings(baseline, best, undertrained)


def _train_member(setting: Setting, fit: Fit, study: Run, step: Telling) -> Candidate:
    step.say(fit.name)
    role = {"dlemm.role": "control"} if fit.technique == "none" else {}
    return train_candidate(setting, fit, note=f"Technique {fit.technique}.", parent=study.id, tags=role)


def _reproduce(setting: Setting, original: Candidate, step: Telling) -> None:
    """Train the first candidate again from nothing and write down whether the weights came out the same."""
    fit = replace(original.trained.fit, name=f"{original.trained.fit.name}-again")
    step.say(fit.name)
    again = train_candidate(
        setting, fit, note="The same training once more.", tags={"dlemm.reproduces": original.run_id}
    )
    same = again.trained.weights_sha256 == original.trained.weights_sha256
    setting.tracker.reopened(again.run_id).metrics({"repro/same_weights": same})


def _evaluate(setting: Setting, trainings: _Trainings, display: Display) -> tuple[Evaluation, Evaluation]:
    """Baseline first, then the two candidates against it: the best, and the under-trained one."""
    with telling(display, StepKey.EVALUATE) as step:
        baseline = evaluate_candidate(setting, trainings.baseline, tags={"dlemm.role": "baseline"})
        best, undertrained = (
            evaluate_candidate(setting, candidate, extra=_against(baseline, candidate))
            for candidate in (trainings.best, trainings.undertrained)
        )
        step.conclude(
            f"{best.candidate.trained.fit.name} {best.metrics[PRIMARY_METRIC]:.1%} "
            f"[{best.metrics['eval/primary_ci_low']:.1%}, {best.metrics['eval/primary_ci_high']:.1%}], "
            f"baseline {baseline.metrics[PRIMARY_METRIC]:.1%}"
        )
    return best, undertrained


def _against(baseline: Evaluation, candidate: Candidate) -> dict[str, float]:
    return {"eval/delta_vs_baseline": candidate.test_accuracy - baseline.metrics[PRIMARY_METRIC]}


def _package_and_gate(setting: Setting, evaluations: tuple[Evaluation, Evaluation], display: Display) -> Version:
    """Register both candidates and judge them; raises ``StoryStoppedError`` when the best one does not pass."""
    with telling(display, StepKey.PACKAGE) as step:
        packages = []
        for evaluation in evaluations:
            step.say(evaluation.candidate.trained.fit.name)
            packages.append(package(setting, evaluation))
        step.conclude(f"versions {', '.join(made.number for made in packages)} of {setting.tracker.model}")
    with telling(display, StepKey.GATE) as step:
        best, undertrained = (gate(setting, made) for made in packages)
        if not best.verdict.passed:
            raise StoryStoppedError(f"No candidate passed the gate ({'; '.join(best.verdict.broken)}).")
        refused = "; ".join(undertrained.verdict.broken) or "passed as well"
        step.conclude(f"version {best.number} passed; version {undertrained.number}: {refused}")
    return best


def _operate(setting: Setting, first: Version, endpoint: Endpoint, folder: Path, display: Display) -> None:
    """Everything that needs the serving process."""
    disturbance, (fresh, second, third) = setting.case.disturbance, setting.splits.windows
    with telling(display, StepKey.SERVE) as step:
        put_in_service(setting, first, endpoint, folder)
        measured = benchmark(setting, first, endpoint)
        step.conclude(
            f"p50 {measured.latency_p50_ms:.1f} ms, p95 {measured.latency_p95_ms:.1f} ms, "
            f"{measured.throughput_rps:.0f} requests/s"
        )
    current = disturb(second, disturbance, name=f"{second.name}-disturbed")
    with telling(display, StepKey.MONITOR) as step:
        accepted = Accepted(setting.splits.train, first.metrics[PRIMARY_METRIC])
        before = watch(setting, first, accepted, endpoint, fresh, Disturbance())
        after = watch(setting, first, accepted, endpoint, current, disturbance)
        step.conclude(f"fresh: {_seen(before)}; disturbed: {_seen(after)}")
    with telling(display, StepKey.RETRAIN) as step:
        challenger = _challenge(setting, first, current, step) if after.retrain else None
        if challenger is None:
            step.skip("the watch saw no reason to retrain")
        elif challenger.verdict.passed:
            release(setting, challenger)
            put_in_service(setting, challenger, endpoint, folder)
            benchmark(setting, challenger, endpoint)
            later = disturb(third, disturbance, name=f"{third.name}-disturbed")
            accepted = Accepted(current, accuracy(challenger.evaluation.candidate.trained.model, current))
            seen = watch(setting, challenger, accepted, endpoint, later, disturbance)
            step.conclude(f"version {challenger.number} replaced version {first.number}; {_seen(seen)}")
        else:
            step.conclude(f"version {challenger.number} refused: {'; '.join(challenger.verdict.broken)}")
    with telling(display, StepKey.ROLLBACK) as step:
        if challenger is None or not challenger.verdict.passed:
            step.skip("there is one release only, nothing to roll back to")
        else:
            drill = drill_rollback(setting, challenger, first, endpoint, folder)
            step.conclude(f"back in {drill.rollback_minutes * 60:.2f} s, forward in {drill.forward_minutes * 60:.2f} s")


def _challenge(setting: Setting, champion: Version, current: Split, step: Telling) -> Version:
    """Retrain for the drift and let the result meet the champion on the labelled rows of current traffic."""
    tags = {"dlemm.trigger": "drift", "dlemm.challenger_of": champion.reference(setting.tracker)}
    step.say(setting.case.retrain.name)
    candidate = train_candidate(
        setting,
        setting.case.retrain,
        note="Retrained because the stream had drifted and the accuracy had fallen.",
        stage="retrain",
        tags=tags,
        params={"update.mode": "full"},
    )
    step.say("duel")
    old, new = champion.evaluation.candidate, candidate
    met = duel(new.trained.model, old.trained.model, current=current, frozen=setting.splits.test)
    baseline = champion.metrics["eval/delta_vs_baseline"] + new.test_accuracy - old.test_accuracy
    extra = met.metrics() | {"eval/delta_vs_baseline": baseline}
    setting.tracker.reopened(candidate.run_id).metrics(met.metrics())
    evaluation = evaluate_candidate(setting, candidate, extra=extra, current=current)
    return gate(setting, package(setting, evaluation), challenger=True)


def _seen(window: Watched) -> str:
    alert = ", alert" if window.alert else ""
    return f"accuracy {window.accuracy:.1%}, drift {window.drift_max:.2f}{alert}"
