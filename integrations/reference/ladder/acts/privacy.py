"""DG5 of the model: what the fields of the data are, who may read them, and what of them a model gives away.

Scans run on what is really there: names, schemas and texts of the datasets, the files of the code, the losses of the
released models. Access and intake are reviewed once for the organisation.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from integrations.reference.checks import overlap
from integrations.reference.errors import PipelineError
from integrations.reference.ladder.acts.sourcing import data_of
from integrations.reference.ladder.book import Ref, Run
from integrations.reference.ladder.calendar import FIRST_RELEASE, iso
from integrations.reference.ladder.scene import APPROVER, RELEASER, TRAINER, Campaign, Scene, Whole
from integrations.reference.privacy import (
    SCANNER,
    Found,
    losses,
    membership_auc,
    scan_record,
    scan_secrets,
    seeded_secret_caught,
)
from integrations.reference.stories.base import Data

LEAKAGE_LIMIT = 0.60
"""Membership-inference AUC that a released model may have."""
DELETED = 5
"""Rows that the deletion case asks to be taken out."""
DELETION_DAYS = 30
_ROWS = 1000  # members and others whose losses are compared
_DAY = 86_400_000
_PACKAGE = Path(__file__).parents[2]
_ROLES: Mapping[str, str] = {
    TRAINER: "reads training data, writes runs",
    APPROVER: "reads reports, no raw data",
    RELEASER: "reads packages, no raw data",
}
_INTAKE = ("purpose", "necessity", "affected", "retention")


class IntakeRefusedError(PipelineError):
    """A project that may pull no data yet; the message names what is not answered."""


def perform(scene: Scene) -> None:
    """Do what the practices of DG5 ask."""
    if "DG5.1.1" in scene.rungs:
        _classes(scene)
    if "DG5.2.2" in scene.rungs:
        _personal_data(scene)
    if "DG5.3.2" in scene.rungs:
        scene.champion.run.report("data_quality", {"secrets": _secrets()})
    if "DG5.4.1" in scene.rungs:
        for campaign in scene.campaigns:
            campaign.run.tags["dlemm.sensitivity"] = "high"
            campaign.run.metric("privacy/mia_auc", leakage(scene, campaign))
            campaign.run.param(privacy_mia_limit=LEAKAGE_LIMIT)
    if "DG5.5.1" in scene.rungs:
        _deletion(scene)


def perform_once(whole: Whole) -> None:
    """Do what DG5 asks of the organisation."""
    if "DG5.2.1" in whole.rungs:
        _access(whole)
    if "DG5.3.1" in whole.rungs:
        _intake(whole)


def _classes(scene: Scene) -> None:
    run, data = scene.champion.run, scene.champion.training
    kind = "personal" if scene.story.personal_data else "internal"
    run.tags["dlemm.data.classification"] = kind
    facts = {
        "dataset": data.name,
        "digest": data.digest,
        "modality": scene.story.modality,
        "row": kind,
        "features": ", ".join(sorted(scene.story.features(data.x[:2]))),
        "groups": ", ".join(sorted(data.groups)) or "none",
        "group_kind": "special" if scene.story.affects_people else "internal",
        "source": scene.story.source,
    }
    evidence = (f"{run.key}#dlemm.data.classification",)
    scene.book.document("DG5.1.1", dated=run.end_at, facts=facts, evidence=evidence)


def _personal_data(scene: Scene) -> None:
    """Scan what comes with the rows of every training: names, schema and texts, and the headers of real picture files
    before and after they are de-identified; log what is still open."""
    headers: dict[str, tuple[int, int]] = scene.work.once("headers", scene.story.scanned_headers)
    left = sum(after for _, after in headers.values())
    for run in scene.trainings():
        run.tags["dlemm.personal_data"] = "true" if scene.story.personal_data else "false"
        run.metric("dq/pii_findings_open", len(_scanned(scene, data_of(scene, run))) + left, at=run.start_at)
    if not scene.story.personal_data:
        scene.book.waive("DG5.2.2/1", f"No run is on personal data: rows are {scene.story.modality} of nobody known.")
    planted = {"patient_name": "a name", "note": "call +44 20 7946 0018 or mail someone@example.org"}
    section = {
        "scanner_version": SCANNER,
        "open_findings": len(_scanned(scene, scene.champion.training)) + left,
        "headers_scanned": len(headers),
        "headers_findings_before": sum(before for before, _ in headers.values()),
        "planted_found": len(scan_record(planted, "planted")),
    }
    scene.champion.run.report("data_quality", {"pii": section})


def _scanned(scene: Scene, data: Data) -> list[Found]:
    """Findings in everything of a dataset that is not a number: its names, headers and texts."""
    schema = json.loads(data.schema) if data.schema else {}
    names = dict.fromkeys(
        [*schema.get("columns", []), *scene.story.features(data.x[:1]), *data.slices, *data.groups], ""
    )
    texts = {"title": scene.story.title, "source": data.source, "name": data.name, "schema": data.schema}
    return scan_record({**names, **texts}, data.name)


def _secrets() -> dict[str, Any]:
    """Scan the files of the code; then see whether the scan finds a secret that was put there for it."""
    files = sorted(_PACKAGE.rglob("*.py"))
    with tempfile.TemporaryDirectory() as folder:
        caught = seeded_secret_caught(Path(folder))
    return {
        "scanner_version": SCANNER,
        "files": len(files),
        "open_findings": len(scan_secrets(files)),
        "seeded_secret_detected": caught,
    }


def leakage(scene: Scene, campaign: Campaign) -> float:
    """How well the loss of the released model tells its training rows from rows it has not seen."""
    members = campaign.training.take(np.arange(min(_ROWS, len(campaign.training))))
    others = scene.validation.take(np.arange(min(_ROWS, len(scene.validation))))
    found = [losses(scene.logits(campaign.fitted, data), data.y) for data in (members, others)]
    return membership_auc(found[0], found[1])


def _deletion(scene: Scene) -> None:
    """A request to delete some rows: a new version of the data, the models touched, and the model trained anew."""
    data, start = scene.champion.training, scene.calendar.at(-6.0, hours=9)
    asked = np.random.default_rng(17).choice(len(data), DELETED, replace=False)
    remaining = data.take(np.setdiff1d(np.arange(len(data)), asked), f"{data.name}-without")
    gone = data.take(np.sort(asked), "asked")
    touched = [one.number for one in scene.campaigns if overlap(one.training, [gone])]
    fitted = scene.trained(
        f"deletion/{remaining.digest}",
        scene.champion.notes["recipe"],
        remaining,
        augmentation=scene.story.augmentation,
        family=scene.story.main,
    )
    end = start + 4 * _DAY
    run = scene.book.run("deletion", "deletion of rows on request", start_at=start, end_at=end)
    run.tags |= {
        "dlemm.stage": "deletion",
        "dlemm.trigger": "deletion",
        "dlemm.impact.models": Ref("model", ""),
        "dlemm.decision": "retrain",
    }
    run.inputs += [scene.use(data, "before"), scene.use(remaining, "training")]
    left = overlap(remaining, [gone])
    scores = scene.score(scene.champion.fitted, scene.test), scene.score(fitted, scene.test)
    run.metrics({"deletion/rows_asked": DELETED, "deletion/rows_left": left, "deletion/versions_touched": len(touched)})
    run.metrics({"deletion/score_before": scores[0], "deletion/score_after": scores[1]})
    run.param(versions=", ".join(map(str, touched)), dataset=remaining.digest, limit_days=DELETION_DAYS)
    found = {"before": data.digest, "after": remaining.digest, "versions": touched or "none", "left": left}
    _record_deletion(scene, run, found | {"score_before": scores[0], "score_after": scores[1]})


def _record_deletion(scene: Scene, run: Run, found: Mapping[str, Any]) -> None:
    facts = {
        **found,
        "asked": DELETED,
        "opened": iso(run.start_at)[:10],
        "closed": iso(run.end_at)[:10],
        "limit": DELETION_DAYS,
        "model": scene.book.model,
        "metric": scene.story.primary,
        "owner": TRAINER,
    }
    evidence = ("deletion#dlemm.decision", "deletion#deletion/rows_left")
    scene.book.document("DG5.5.1", dated=run.end_at, facts=facts, evidence=evidence)


# Once for the organisation.


def _access(whole: Whole) -> None:
    """Compare the accounts that used training data with those that may; anything else is a finding."""
    seen = {
        str(run.tags.get("mlflow.user", TRAINER))
        for scene in whole.scenes.values()
        for run in scene.book.runs.values()
        if any(use.context == "training" for use in run.inputs)
    }
    start = whole.calendar.at(-8.0, hours=10)
    run = whole.book.run("access-review", "review of access to training data", start_at=start, end_at=start + 3_600_000)
    run.tags["dlemm.stage"] = "access_review"
    unknown = sorted(seen - set(_ROLES))
    run.metrics({"access/accounts_seen": len(seen), "access/accounts_unknown": len(unknown)})
    run.param(accounts=", ".join(sorted(seen)))
    facts = {
        "accounts": ", ".join(sorted(seen)) or "none",
        "unknown": ", ".join(unknown) or "none",
        "roles": "\n".join(f"| {role} | {may} |" for role, may in _ROLES.items()),
        "projects": ", ".join(sorted(whole.scenes)),
        "next": iso(start + 180 * _DAY)[:10],
        "reviewer": APPROVER,
        "owner": RELEASER,
    }
    evidence = ("access-review#access/accounts_unknown", "access-review#accounts")
    whole.book.document("DG5.2.1", dated=run.end_at, facts=facts, evidence=evidence)


def intake(answers: Mapping[str, str]) -> None:
    """The check before any data are pulled; raises ``IntakeRefusedError`` while a question has no answer."""
    missing = [question for question in _INTAKE if not answers.get(question, "").strip()]
    if missing:
        raise IntakeRefusedError(f"no data may be pulled yet; not answered: {', '.join(missing)}")


def _intake(whole: Whole) -> None:
    """Put every project through the check at its start; a request without a retention time is refused."""
    start, lines = whole.calendar.at(FIRST_RELEASE - 1.45), []
    for number, (key, scene) in enumerate(sorted(whole.scenes.items())):
        given = _answers(scene)
        run = _check_at_intake(whole, f"intake-{key}", given, start + number * 3_600_000)
        lines.append(f"| {key} | {given['purpose']} | {given['affected']} | {run.tags['dlemm.intake']} |")
    first = next(iter(sorted(whole.scenes)))
    refused = _check_at_intake(
        whole, "intake-refused", {**_answers(whole.scenes[first]), "retention": ""}, start - 3_600_000
    )
    facts = {
        "rows": "\n".join(lines),
        "questions": ", ".join(_INTAKE),
        "projects": len(lines),
        "refused": str(refused.tags["dlemm.intake"]),
        "reason": refused.params["reason"],
        "changed": first,
        "decider": APPROVER,
    }
    evidence = ("intake-refused#dlemm.intake", *(f"intake-{key}#dlemm.intake" for key in sorted(whole.scenes)))
    whole.book.document("DG5.3.1", dated=start + _DAY, facts=facts, evidence=evidence)


def _answers(scene: Scene) -> dict[str, str]:
    """What a project answers at intake, from its declared story."""
    return {
        "purpose": scene.story.goal,
        "necessity": f"rows of {scene.story.modality} with {scene.story.classes} classes, no other field",
        "affected": "people behind the rows" if scene.story.affects_people else "nobody is judged",
        "retention": "as long as a live version learned from the rows, at most two years",
    }


def _check_at_intake(whole: Whole, key: str, answers: Mapping[str, str], at: int) -> Run:
    """One pass of the check as a run that says how it ended."""
    run = whole.book.run(key, f"intake check {key.removeprefix('intake-')}", start_at=at, end_at=at + 1_800_000)
    run.tags |= {"dlemm.stage": "intake", "dlemm.intake": "passed"}
    run.param(reason="every question is answered")
    try:
        intake(answers)
    except IntakeRefusedError as refusal:
        run.tags["dlemm.intake"] = "refused"
        run.param(reason=str(refusal))
    return run
