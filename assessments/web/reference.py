"""The reference pipeline of a demonstration: climb it to a level, and see the pictures and documents it left.

Everything shown lies in the organisation's own ladder folder and was written there by the pipeline; names that come in
by an address are looked up in what is there, never put together to a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from markdown_it import MarkdownIt

from assessments.jobs.models import Job
from assessments.jobs.work import request as ask
from assessments.organisations.models import Organisation
from assessments.ratings.ladder import STEPS, climbed, folder_of
from assessments.web.access import editable_organisation_of, may_change, organisation_of
from maturity.schema import load_model

OUTLAST = {
    1: gettext_lazy("half a minute"),
    2: gettext_lazy("two minutes"),
    3: gettext_lazy("four minutes"),
    4: gettext_lazy("ten minutes"),
    5: gettext_lazy("fifteen minutes"),
}
"""The most a step takes on two cores."""


SHOWN = {
    "learning_curve": gettext_lazy("Learning curve"),
    "augmentations": gettext_lazy("Augmentations: gain against time"),
    "optimisation_matrix": gettext_lazy("Optimisation matrix"),
    "pareto_front": gettext_lazy("Pareto front of the search"),
    "integrated_gradients": gettext_lazy("Explanation: integrated gradients"),
    "grad_cam": gettext_lazy("Explanation: Grad-CAM"),
    "canary": gettext_lazy("Shadow test and its decision"),
    "drift": gettext_lazy("Drift by week"),
    "update_modes": gettext_lazy("Ways to update, compared"),
}
"""What the pictures show, by file name, in the order of the life cycle."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a run: file name, the run's key, and what it shows in words."""

    file: str
    run: str
    shows: object


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one project left: pictures, and documents by practice with the practice's name. ``title`` is empty for the
    organisation as a whole."""

    project: str
    title: str
    pictures: tuple[Picture, ...]
    documents: tuple[tuple[str, object], ...]


def page(request: HttpRequest, key: str) -> HttpResponse:
    """The steps to climb, the one climbed last, and what it left."""
    organisation = _demonstration(request, key)
    context = {
        "organisation": organisation,
        "steps": [(level, OUTLAST[level.number]) for level in load_model().levels if level.number in STEPS],
        "climbed": climbed(organisation),
        "shelves": list(_shelves(_papers(organisation))),
        "may_change": may_change(request, organisation),
        "open": Job.objects.open().filter(organisation=organisation, kind="ladder").first(),
        "last": Job.objects.filter(organisation=organisation, kind="ladder").first(),
    }
    return render(request, "pages/reference.html", context)


@require_POST
def climb(request: HttpRequest, key: str) -> HttpResponse:
    """Ask for the pipeline at a step; shows the job that is open already when there is one."""
    organisation = editable_organisation_of(request, key)
    step = request.POST.get("step", "")
    if not organisation.demo or step not in {str(number) for number in STEPS}:
        raise Http404
    by = request.user if request.user.is_authenticated else None
    job = ask(organisation, "ladder", by=by, options={"step": int(step)})
    return redirect("job", organisation.key, job.pk)


def picture(request: HttpRequest, key: str, project: str, name: str) -> FileResponse:
    """One picture."""
    return FileResponse(_file(_demonstration(request, key), "figures", project, name).open("rb"))


def document(request: HttpRequest, key: str, project: str, practice: str) -> HttpResponse:
    """One document, as a page."""
    organisation = _demonstration(request, key)
    text = _file(organisation, "documents", project, f"{practice}.md").read_text("utf-8")
    context = {"organisation": organisation, "project": project, "practice": practice, "content": _rendered(text)}
    return render(request, "pages/reference_document.html", context)


def _rendered(text: str) -> SafeString:
    html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return mark_safe(html)  # noqa: S308 - the renderer escapes HTML


def _demonstration(request: HttpRequest, key: str) -> Organisation:
    organisation = organisation_of(request, key)
    if not organisation.demo:
        raise Http404
    return organisation


def _papers(organisation: Organisation) -> Path:
    return folder_of(organisation) / "papers"


def _file(organisation: Organisation, *names: str) -> Path:
    """A file that is there, found name by name. Raises ``Http404`` for every other."""
    place = _papers(organisation)
    for name in names:
        found = [child for child in _children(place) if child.name == name]
        if not found:
            raise Http404
        place = found[0]
    if not place.is_file():
        raise Http404
    return place


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _shelves(papers: Path) -> Iterator[Shelf]:
    practices, titles = load_model().practices, _titles(papers)
    names = {child.name for kind in ("figures", "documents") for child in _children(papers / kind)}
    for project in sorted(names, key=lambda name: (name not in titles, name)):
        documents = [child.stem for child in _children(papers / "documents" / project)]
        yield Shelf(
            project,
            titles.get(project, ""),
            tuple(_pictures(child.name for child in _children(papers / "figures" / project))),
            tuple((key, practices[key].name) for key in documents if key in practices),
        )


def _titles(papers: Path) -> dict[str, str]:
    """Names of the projects by their keys; none while the papers are just being written."""
    try:
        told = json.loads((papers / "organisation.json").read_text("utf-8"))
        return {str(row["key"]): str(row["name"]) for row in told["projects"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _pictures(files: Iterable[str]) -> list[Picture]:
    """The last of each kind: ``rollout-7-canary.png`` shows the canary and belongs to the run ``rollout-7``."""
    last: dict[str, tuple[str, str]] = {}
    for file in sorted(files, key=lambda name: (len(name), name)):
        run, _, name = Path(file).stem.rpartition("-")
        last[name] = file, run
    order = [name for name in SHOWN if name in last] + sorted(last.keys() - SHOWN.keys())
    return [Picture(*last[name], SHOWN.get(name, name.replace("_", " "))) for name in order]
