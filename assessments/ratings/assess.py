"""assess: what the collected facts and the given answers mean, as of a time.

Takes an organisation and a time; gives an ``Assessment`` whose result, pack and page data are all drawn from one
scorecard. Nothing is decided here: the engine in ``maturity`` decides, this keeps what it said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from assessments.evidence import store
from assessments.evidence.facts import collections_in_force, parts_of, project_table
from assessments.evidence.models import Collection
from assessments.organisations.models import Organisation, names_of
from assessments.ratings import browsing
from assessments.ratings.gathering import gathered
from assessments.ratings.models import AnswerSet, Assessment, CapabilityResult
from assessments.ratings.results import shorten
from maturity import canonical, pack
from maturity.answers import Answers
from maturity.contributions import outcomes
from maturity.facts import Facts, Part
from maturity.gaps import Gap, gaps
from maturity.schema import load_model
from maturity.scorecard import CapabilityLevel, Scorecard
from maturity.signals import signals

GAP_IDS = 3
SIGNAL_IDS = 50


class NothingToAssess(Exception):
    """The organisation has no project, so there is nothing a level could be about."""


def assess(organisation: Organisation, *, as_of: datetime) -> Assessment:
    """Measure and score everything known at ``as_of`` and keep the result. Raises ``NothingToAssess``."""
    if not organisation.projects.exists():
        raise NothingToAssess(f"{organisation.key} has no project in scope; add one with add_organisation --project")
    collections = collections_in_force(organisation, until=as_of)
    stored = parts_of(collections)
    answers = organisation.answer_sets.filter(given_at__lte=as_of).first()
    inputs = pack.Inputs(
        model=load_model(),
        parts=tuple(one.part for one in stored),
        projects=project_table(organisation),
        answers=Answers.from_json(answers.content) if answers else Answers(),
        parameters=pack.Parameters(
            as_of=int(as_of.timestamp() * 1000), include_reference=organisation.demo, names=names_of(organisation)
        ),
    )
    facts = inputs.facts
    scorecard = pack.compute(inputs, facts)
    content = pack.write(inputs, scorecard, {one.part.source: one.content for one in stored})
    summary = {
        **_summary(scorecard, gaps(inputs.model, scorecard), collections),
        **_for_pages(organisation, inputs, facts, scorecard),
    }
    return _keep(organisation, as_of, inputs, scorecard, content, summary, collections, answers)


@transaction.atomic
def _keep(
    organisation: Organisation,
    as_of: datetime,
    inputs: pack.Inputs,
    scorecard: Scorecard,
    content: bytes,
    summary: dict[str, object],
    collections: Sequence[Collection],
    answers: AnswerSet | None,
) -> Assessment:
    assessment = Assessment.objects.create(
        organisation=organisation,
        as_of=as_of,
        model_version=inputs.model.version,
        model_digest=inputs.model.digest,
        result_sha256=store.keep_bytes(organisation.pk, scorecard.to_bytes(), "json"),
        pack_sha256=store.keep_bytes(organisation.pk, content, "dlemm"),
        pack_id=pack.pack_id(content),
        answers=answers,
        summary=summary,
    )
    assessment.collections.set(collections)
    short = (shorten(finding).finding for finding in scorecard.findings)
    experiments = _experiments(inputs.parts, (key for one in short for key in (*one.passing, *one.failing)))
    CapabilityResult.objects.bulk_create(
        CapabilityResult(
            assessment=assessment, capability=capability.capability, detail=_detail(capability, scorecard, experiments)
        )
        for capability in scorecard.capabilities
    )
    return assessment


def _experiments(parts: Sequence[Part], shown: Iterable[str]) -> dict[str, str]:
    """The experiment of each run that is shown, both written ``source:id``, for links to the run's page."""
    asked, found = set(shown), {}
    for part in parts:
        if "runs" in part.tables:
            frame = part.tables["runs"]
            start = f"{part.source}:"
            rows = frame[frame["run"].isin({key.removeprefix(start) for key in asked if key.startswith(start)})]
            pairs = zip(rows["run"], rows["experiment"], strict=True)
            found.update({start + run: f"{start}{experiment}" for run, experiment in pairs})
    return found


def _summary(scorecard: Scorecard, blocking: Sequence[Gap], collections: Sequence[Collection]) -> dict[str, object]:
    """The scorecard without practices and findings, the gaps with the first ids, and what each source said it read.

    The statements are kept here too, so that a report stays what it was when a source is removed.
    """
    dimensions = tuple(
        replace(dimension, capabilities=tuple(replace(c, practices=()) for c in dimension.capabilities))
        for dimension in scorecard.dimensions
    )
    slim = replace(scorecard, dimensions=dimensions, findings=())
    return {
        "scorecard": slim.to_json(),
        "gaps": [canonical.encode(_short_gap(gap)) for gap in blocking],
        "statements": {one.source.key: one.statement for one in collections if one.statement},
    }


def _for_pages(
    organisation: Organisation, inputs: pack.Inputs, facts: Facts, scorecard: Scorecard
) -> dict[str, object]:
    """What pages show beside the result: the file to browse facts in, the signals with first ids, and outcomes."""
    read = sum(len(part.tables["runs"]) for part in inputs.parts if "runs" in part.tables)
    noticed = signals(inputs.model, facts, inputs.parameters.as_of, reference_left_out=read - len(facts["runs"]))
    cited = {one for signal in noticed for one in signal.ids[:SIGNAL_IDS]}
    experiments = _experiments(inputs.parts, cited)
    return {
        "browsing": store.keep_bytes(organisation.pk, gathered(facts, scorecard.findings), browsing.SUFFIX),
        "signals": [
            {"kind": one.kind.value, "ids": one.ids[:SIGNAL_IDS], "n": one.n, "detail": dict(one.detail)}
            for one in noticed
        ],
        "signal_experiments": {one: experiments[one] for one in sorted(cited & experiments.keys())},
        "outcomes": outcomes(scorecard),
    }


def _short_gap(gap: Gap) -> Gap:
    return replace(gap, shortfalls=tuple(replace(s, failing=s.failing[:GAP_IDS]) for s in gap.shortfalls))


def _detail(capability: CapabilityLevel, scorecard: Scorecard, experiments: Mapping[str, str]) -> dict[str, object]:
    cited = {
        (leaf.finding.indicator, leaf.finding.project)
        for practice in capability.practices
        for rating in practice.ratings
        for leaf in rating.leaves
        if leaf.finding
    }
    shown = [shorten(f) for f in scorecard.findings if (f.indicator, f.project) in cited]
    ids = {fact for short in shown for fact in (*short.finding.passing, *short.finding.failing)}
    return {
        "capability": canonical.encode(capability),
        "findings": [canonical.encode(short) for short in shown],
        "experiments": {fact: experiments[fact] for fact in sorted(ids & experiments.keys())},
    }
