"""DO1, registry and release: versions, approval by a second look, release by pipeline, shadow test, policy.

Every release becomes one version of the registered model, in order. What earlier acts found out about a release (gate,
declarations, formats) is written on its version here.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from integrations.reference import canary, export, pictures
from integrations.reference.engine import Fitted
from integrations.reference.errors import PipelineError
from integrations.reference.ladder.acts import governance
from integrations.reference.ladder.book import Ref, Run, Version
from integrations.reference.ladder.packages import digest_of, program
from integrations.reference.ladder.scene import APPROVER, RELEASER, TRAINER, Campaign, Scene, Whole
from integrations.reference.lifecycle import load_lifecycle
from integrations.reference.stories.base import Classes, Rows

ALIAS = "champion"
SHADOW_WEEKS = 2
"""Weeks of traffic before a release that champion and candidate both answer."""
PATH_POINTS = 300
"""Points at most of the picture of a test."""
AGREED = 1e-6
"""Largest difference between the metric that was claimed and the one found at the second look."""


class ReleaseStoppedError(PipelineError):
    """A step of a release did not go well, so the version does not go into service."""


def perform(scene: Scene) -> None:
    """Register every release, put it into service, and retire the one before."""
    for campaign in scene.campaigns:
        version = _register(scene, campaign)
        if "DO1.2.2" in scene.rungs:
            _approve(scene, campaign, version)
        if "DO1.3.2" in scene.rungs:
            _shadow(scene, campaign, version)
        if "DO1.3.1" in scene.rungs:
            _release_by_pipeline(scene, campaign, version)
        if "DO1.1.1" in scene.rungs:
            version.tags["dlemm.deployed_at"] = scene.calendar.text(campaign.week)
    if "DO1.1.1" in scene.rungs:
        _retire(scene)
        _name_the_service(scene)
    if "DO1.2.1" in scene.rungs:
        versions = list(scene.book.versions.values())
        versions[-1].aliases = (*versions[-1].aliases, ALIAS)
    if "DO1.4.1" in scene.rungs:
        governance.keep_inventory(scene)
    if "DO1.5.1" in scene.rungs:
        governance.follow_policy(scene)


def perform_once(whole: Whole) -> None:
    """Release health and the review of the policy, over all projects."""
    if "DO1.4.1" in whole.rungs:
        governance.report_health(whole)
    if "DO1.5.1" in whole.rungs:
        governance.review_policy(whole)


def _register(scene: Scene, campaign: Campaign) -> Version:
    version = scene.book.version(campaign.key, campaign.run.key, tags={"dlemm.project": scene.story.key})
    version.tags |= scene.shared.get("declared", {})
    version.tags |= scene.shared.get("gates", {}).get(campaign.key, {})
    version.tags |= campaign.notes.get("version_tags", {})
    campaign.version = version
    return version


def _run(scene: Scene, campaign: Campaign, what: str, name: str, user: str, *, hours: float) -> Run:
    """A run of the release, so many hours before it goes live."""
    start = scene.calendar.at(campaign.week, hours=-hours)
    run = scene.book.run(f"{what}-{campaign.number}", name, start_at=start, end_at=start + 120_000)
    run.tags |= {"dlemm.stage": what, "dlemm.model_version": Ref("version", campaign.key), "mlflow.user": user}
    return run


def _approve(scene: Scene, campaign: Campaign, version: Version) -> None:
    """The approver judges the packaged file again; only when it gives what the trainer claims, it is approved."""
    campaign.run.tags.setdefault("mlflow.user", TRAINER)
    claimed = scene.score(campaign.fitted, scene.test)
    files = campaign.run.package.files if campaign.run.package else {}
    found = scene.work.once(
        f"second-look/{digest_of(campaign.fitted)}",
        lambda: scene.story.score(scene.test.y, export.load_program(files[export.PROGRAM])(scene.test.x)),
    )
    run = _run(scene, campaign, "approve", f"second look at version {campaign.number}", APPROVER, hours=6)
    run.inputs.append(scene.use(scene.test, "test"))
    run.metrics({"approval/claimed": claimed, "approval/found": found, "approval/abs_diff": abs(found - claimed)})
    if abs(found - claimed) > AGREED:
        run.tags["dlemm.approval"] = "refused"
        return
    run.tags["dlemm.approval"] = "given"
    version.tags["dlemm.approved_by"] = APPROVER
    version.tags["dlemm.approved_at"] = scene.calendar.text(campaign.week, hours=-5)


def _shadow(scene: Scene, campaign: Campaign, version: Version) -> None:
    """The candidate answers the traffic beside the version in service; a sequential test decides."""
    weeks = _weeks_before(campaign.week)
    both = [digest_of(one) for one in (_incumbent(scene, campaign), campaign.fitted)]
    name = f"shadow/{'-'.join(both)}-{-weeks[0]}"
    seen = scene.work.once(name, lambda: shadow(scene, campaign, weeks))
    verdict = canary.Verdict(**seen["verdict"])
    if verdict.decision == "rollback":
        raise ReleaseStoppedError(f"the shadow test of version {campaign.number} of {scene.story.key} says: worse")
    run = _run(
        scene, campaign, "rollout", f"shadow test of version {campaign.number} on recorded traffic", RELEASER, hours=4
    )
    run.inputs += [scene.use(scene.story.stream(week), "eval") for week in weeks]
    before = scene.campaigns[campaign.number - 2].key if campaign.update else "baseline"
    run.param(kind="shadow", against=before, alpha=verdict.alpha, margin=verdict.margin, answered=seen["answered"])
    run.metrics({**verdict.metrics(), "rollout/answered": seen["answered"], "rollout/detectable": seen["detectable"]})
    run.tags["dlemm.rollout.decision"] = verdict.decision
    run.artifacts["figures/canary.png"] = scene.picture(
        pictures.canary_decision,
        seen["path"]["requests"],
        seen["path"]["worse"],
        harmless=seen["path"]["safe"],
        bound=1 / verdict.alpha,
        decision=verdict.decision,
        title=f"Shadow test of version {campaign.number}",
    )
    version.tags["dlemm.rollout"] = "shadow"
    campaign.notes["rollout"] = verdict
    campaign.notes["action"] = load_lifecycle().action(verdict)


def _weeks_before(week: float) -> list[int]:
    last = int(np.floor(week)) - 1
    return [last - number for number in reversed(range(SHADOW_WEEKS))]


def shadow(scene: Scene, campaign: Campaign, weeks: list[int]) -> dict[str, Any]:
    """Both programs answer the same recorded requests, without rows that one of them was trained on; their losses go to
    the test in the order of the traffic."""
    incumbent = _incumbent(scene, campaign)
    champion, candidate = (export.load_program(program(scene, one)) for one in (incumbent, campaign.fitted))
    losses: list[list[canary.Losses]] = [[], []]
    known = set(campaign.training.row_hashes()) | set(_training_of(scene, campaign))
    for week in weeks:
        traffic = scene.story.stream(week)
        traffic = traffic.take(np.array([digest not in known for digest in traffic.row_hashes()]))
        for kept, predict in zip(losses, (champion, candidate), strict=True):
            kept.append(_losses(predict(traffic.x), traffic.y))
    old, new = (np.concatenate(one) for one in losses)
    verdict = canary.decide(old, new)
    wrong = float(np.mean(old >= 0.25))  # a wrong answer to a question of two classes loses at least a quarter
    found = canary.detectable(len(old), min(wrong, 0.5))
    worse, safe = canary.evidence(old, new, margin=verdict.margin)
    shown = np.unique(np.linspace(0, verdict.requests - 1, PATH_POINTS, dtype=int))
    path = {"requests": (shown + 1).tolist(), "worse": worse[shown].tolist(), "safe": safe[shown].tolist()}
    return {
        "path": path,
        "verdict": {name: getattr(verdict, name) for name in canary.Verdict.__slots__},
        "answered": len(old),
        "detectable": found,
    }


def _training_of(scene: Scene, campaign: Campaign) -> list[str]:
    """Hashes of the rows that the network in service before was trained on."""
    before = scene.campaigns[campaign.number - 2].training if campaign.update else scene.shared["fits"]["baseline"][2]
    hashes: list[str] = before.row_hashes()
    return hashes


def _incumbent(scene: Scene, campaign: Campaign) -> Fitted:
    """The network in service before; before the first release that is the simple baseline."""
    if campaign.update:
        return scene.campaigns[campaign.number - 2].fitted
    baseline: Fitted = scene.shared["fits"]["baseline"][0]
    return baseline


def _losses(logits: Rows, y: Classes) -> canary.Losses:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return canary.brier(shifted / shifted.sum(axis=1, keepdims=True), y)


def _release_by_pipeline(scene: Scene, campaign: Campaign, version: Version) -> None:
    """Every step of the release is taken by the pipeline and looked at; one that fails stops it."""
    begin = time.perf_counter()
    steps = _steps(scene, campaign, version)
    failed = [name for name, good in steps.items() if not good]
    if failed:
        raise ReleaseStoppedError(f"the release of version {campaign.number} stopped at: {', '.join(failed)}")
    run = _run(scene, campaign, "release", f"release version {campaign.number}", RELEASER, hours=1)
    run.param(steps=", ".join(steps))
    run.metrics({"release/steps_passed": len(steps), "release/duration_s": time.perf_counter() - begin})
    version.tags["dlemm.release.actor"] = "ci"
    version.tags["dlemm.release.pipeline"] = Ref("run", run.key)


def _steps(scene: Scene, campaign: Campaign, version: Version) -> dict[str, bool]:
    """What the pipeline did, and whether it went well. Gate and approval are asked where they are practised."""
    files = campaign.run.package.files if campaign.run.package else {}
    stored = files.get(export.PROGRAM, b"")
    made = hashlib.sha256(program(scene, campaign.fitted)).hexdigest()
    steps = {"package unchanged": hashlib.sha256(stored).hexdigest() == made}
    if "MD4.3.1" in scene.rungs and "dlemm.gate.status" in version.tags:
        steps["gate passed"] = version.tags["dlemm.gate.status"] == "passed"
    if "DO1.2.2" in scene.rungs:
        steps["approved by a second person"] = version.tags.get("dlemm.approved_by") == APPROVER
    answer = export.load_program(stored)(scene.test.x[:8])
    steps["loaded and answered"] = answer.shape == (8, scene.story.classes) and bool(np.isfinite(answer).all())
    return steps


def _retire(scene: Scene) -> None:
    for earlier, later in zip(scene.campaigns, scene.campaigns[1:], strict=False):
        scene.book.versions[earlier.key].tags["dlemm.retired_at"] = scene.calendar.text(later.week)


def _name_the_service(scene: Scene) -> None:
    """The list of services: which version each one runs, and since when."""
    campaign = scene.champion
    stored = campaign.run.package.files[export.PROGRAM] if campaign.run.package else b""
    scene.book.document(
        "DO1.1.1",
        dated=scene.calendar.at(campaign.week, hours=30),
        facts={
            "service": scene.story.title,
            "model": scene.book.model,
            "number": campaign.number,
            "since": scene.calendar.day(campaign.week),
            "digest": hashlib.sha256(stored).hexdigest()[:16],
            "bytes": len(stored),
        },
        evidence=(f"version:{campaign.key}#dlemm.deployed_at",),
    )
