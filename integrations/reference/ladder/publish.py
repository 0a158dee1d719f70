"""Publishing: books put on a tracking server, all of it or nothing that could be taken for whole.

Takes books and the address of a server; gives the ids that runs and versions got there. What an earlier attempt left
is used again when it is the same, and removed when it is not, so a publication that broke off goes on where it was.
Runs come first and stay open, then versions, which name their runs; what names a version comes last, and only then
is a run ended. A version that could not be finished is deleted. While it lasts, a tag on every experiment says who
publishes, so that two publications do not remove each other's runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, LoggedModelStatus, Metric, Param, RunTag
from mlflow.entities import Run as ServerRun
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from integrations.reference.errors import DeletedExperimentError, explain
from integrations.reference.ladder.book import Book, Ref, Run, Text, Use, Version
from integrations.reference.ladder.hold import held

KEY, MARK, DONE = "dlemm.ladder.key", "dlemm.ladder.sha256", "dlemm.ladder.complete"
"""Tags by which a later attempt knows what is there: whose run it is, of which content, and that all of it is there."""
PARENT = "mlflow.parentRunId"
_TOGETHER = 4  # requests at once
_BATCH = 900  # metrics of one request; the server takes 1000
_INPUTS = threading.Lock()
"""Inputs are logged one run at a time: two requests that declare the same new dataset at once break the server's
unique key."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where everything is: (project, key) to run id, and to ``name/number``; and how much was there already."""

    runs: Mapping[tuple[str, str], str]
    versions: Mapping[tuple[str, str], str]
    kept: int


@dataclass
class _Project:
    """One book on its way to the server."""

    book: Book
    name: str  # of its experiment
    experiment: str  # its id
    model: str
    runs: dict[str, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)  # ids of runs opened by this attempt
    whole: dict[str, Mapping[str, str]] = field(default_factory=dict)  # tags of runs that were there, complete
    versions: dict[str, str] = field(default_factory=dict)  # key to number
    models: dict[str, str] = field(default_factory=dict)  # key of a run to the id of its logged model
    pending: list[str] = field(default_factory=list)  # ids of logged models whose files are not all there


def publish(
    books: Mapping[str, Book], client: MlflowClient, *, prefix: str, say: Callable[[str], None] = lambda text: None
) -> Published:
    """Put all books on the server; experiments are ``prefix/project``, registered models ``prefix-project``.

    Any error, an interruption included, ends the runs this attempt opened and deletes the versions it had not finished.
    Raises ``AlreadyRunningError``, with nothing changed, while another process publishes to one of the experiments.
    """
    projects = {key: _opened(client, key, book, prefix) for key, book in books.items()}
    with held(client, {project.name: project.experiment for project in projects.values()}):
        try:
            _put(client, projects, say)
        except BaseException as error:
            _give_up(client, projects.values(), error)
            raise
    return Published(
        {(key, name): run for key, project in projects.items() for name, run in project.runs.items()},
        {(key, v): f"{p.model}/{number}" for key, p in projects.items() for v, number in p.versions.items()},
        sum(len(project.whole) for project in projects.values()),
    )


def _opened(client: MlflowClient, key: str, book: Book, prefix: str) -> _Project:
    name = f"{prefix}/{key or 'organisation'}"
    return _Project(book, name, _experiment(client, name), f"{prefix}-{key}".replace("/", "-"))


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, created when it is not there."""
    try:
        return str(client.create_experiment(name, tags={"dlemm.origin": "reference"}))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":
        raise DeletedExperimentError(f"The experiment {name} is deleted; restore it or choose another prefix.")
    return str(found.experiment_id)


def _put(client: MlflowClient, projects: Mapping[str, _Project], say: Callable[[str], None]) -> None:
    for project in projects.values():
        _recognise(client, project)
    for key, project in projects.items():
        say(f"{key or 'organisation'}: {len(project.book.runs)} runs")
        _open_runs(client, project)
    for key, project in projects.items():
        _log_models(client, project)
        if project.book.versions:
            say(f"{key}: {len(project.book.versions)} versions")
            _register(client, projects, project)
    for project in projects.values():
        _finish_runs(client, projects, project)
    for project in projects.values():
        _finish_versions(client, projects, project)


# What is there already.


def _recognise(client: MlflowClient, project: _Project) -> None:
    """Use runs, models and versions that are there and the same; remove the others of ours."""
    models = _models(client, project)
    ready = {model.source_run_id: model.model_id for model in models if model.status == LoggedModelStatus.READY}
    for run in _pages(lambda token: client.search_runs([project.experiment], max_results=1000, page_token=token)):
        key = run.data.tags.get(KEY, "")
        if key not in project.runs and _same_run(project.book.runs.get(key), run, ready):
            project.runs[key] = run.info.run_id
            project.whole[key] = run.data.tags
        elif key:
            client.delete_run(run.info.run_id)
    for model in models:
        key = model.tags[KEY]
        if key in project.whole and ready.get(project.runs[key]) == model.model_id:
            project.models[key] = model.model_id
        else:
            client.delete_logged_model(model.model_id)
    for version in client.search_model_versions(f"name = '{project.model}'"):
        key = version.tags.get(KEY, "")
        if _same_version(project, version, key):
            project.versions[key] = str(version.version)
        elif key:
            client.delete_model_version(project.model, str(version.version))


def _models(client: MlflowClient, project: _Project) -> list[LoggedModel]:
    """The logged models of ours."""
    found = _pages(lambda token: client.search_logged_models([project.experiment], page_token=token))
    return [model for model in found if KEY in model.tags]


def _same_run(wanted: Run | None, run: ServerRun, ready: Collection[str]) -> bool:
    """Is a run of the server the one that is wanted, ended as it should be, its model with it?"""
    if wanted is None or run.data.tags.get(MARK) != mark_of(wanted) or not run.data.tags.get(DONE):
        return False
    ended = (run.info.status, run.info.end_time) == (wanted.status, wanted.end_at)
    return ended and (wanted.package is None or run.info.run_id in ready)


def _same_version(project: _Project, version: ModelVersion, key: str) -> bool:
    wanted = project.book.versions.get(key)
    if wanted is None or key in project.versions or not version.tags.get(DONE):
        return False
    return version.tags.get(MARK) == _digest(repr(wanted)) and version.run_id == project.runs.get(wanted.run)


def _pages(search: Callable[[str | None], Any]) -> list[Any]:
    """All pages of a search, read before anything is removed: a page begins at a number of rows."""
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found.extend(page)
    return found


def mark_of(run: Run) -> str:
    """SHA-256 over everything a run will hold."""
    artifacts = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(run.artifacts.items())}
    package = (
        {path: hashlib.sha256(content).hexdigest() for path, content in sorted(run.package.files.items())}
        if (run.package)
        else {}
    )
    parts = (run.name, run.start_at, run.end_at, run.parent, run.status, sorted(run.tags.items()))
    return _digest(repr((parts, sorted(run.params.items()), run.points, run.inputs, artifacts, package)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Runs.


def _open_runs(client: MlflowClient, project: _Project) -> None:
    """Create every run that is not there, parents first, with all that refers to nothing."""
    for generation in _generations(project.book.runs):
        _all(lambda run: _create_run(client, project, run), [r for r in generation if r.key not in project.whole])
    _all(
        lambda run: _fill(client, project.runs[run.key], run),
        [run for run in project.book.runs.values() if run.key not in project.whole],
    )


def _generations(runs: Mapping[str, Run]) -> Iterator[list[Run]]:
    """Runs without a parent, then their children, and so on."""
    waiting, placed = list(runs.values()), set[str]()
    while waiting:
        ready = [run for run in waiting if not run.parent or run.parent in placed]
        if not ready:
            raise ValueError(f"runs without an end of parents: {', '.join(run.key for run in waiting)}")
        yield ready
        placed.update(run.key for run in ready)
        waiting = [run for run in waiting if run.key not in placed]


def _create_run(client: MlflowClient, project: _Project, run: Run) -> None:
    tags = {key: value for key, value in run.tags.items() if isinstance(value, str)}
    tags |= {KEY: run.key, MARK: mark_of(run)}
    if run.parent:
        tags[PARENT] = project.runs[run.parent]
    made = client.create_run(project.experiment, start_time=run.start_at, tags=tags, run_name=run.name)
    project.open.append(made.info.run_id)
    project.runs[run.key] = made.info.run_id


def _fill(client: MlflowClient, run_id: str, run: Run) -> None:
    params = [Param(key, value) for key, value in run.params.items()]
    metrics = [Metric(point.key, point.value, point.at, point.step) for point in run.points]
    if params or metrics:
        client.log_batch(run_id, metrics=metrics[:_BATCH], params=params)
    for begin in range(_BATCH, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + _BATCH])
    if run.inputs:
        with _INPUTS:
            client.log_inputs(run_id, [_dataset_input(use) for use in run.inputs])
    if run.artifacts:
        with _folder(run.artifacts) as folder:
            client.log_artifacts(run_id, str(folder))


def _dataset_input(use: Use) -> DatasetInput:
    dataset = use.dataset
    source = json.dumps({"tags": {"mlflow.source.name": dataset.source}}) if dataset.source else ""
    tags = [InputTag("mlflow.data.context", use.context)] if use.context else []
    tags += [InputTag(key, value) for key, value in use.tags.items()]
    return DatasetInput(Dataset(dataset.name, dataset.digest, "code", source, dataset.schema or None), tags)


@contextlib.contextmanager
def _folder(files: Mapping[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dlemm-ladder-") as root:
        for path, content in files.items():
            file = Path(root) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        yield Path(root)


def _finish_runs(client: MlflowClient, projects: Mapping[str, _Project], project: _Project) -> None:
    def finish(run: Run) -> None:
        run_id = project.runs[run.key]
        named = {key: _resolved(projects, project, value) for key, value in run.tags.items() if isinstance(value, Ref)}
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in {**named, DONE: "true"}.items()])
        client.set_terminated(run_id, run.status, run.end_at)
        with contextlib.suppress(ValueError):
            project.open.remove(run_id)

    for run in project.book.runs.values():
        if run.key in project.whole:
            _renew(client, projects, project, run)
    _all(finish, [run for run in project.book.runs.values() if run.key not in project.whole])


def _renew(client: MlflowClient, projects: Mapping[str, _Project], project: _Project, run: Run) -> None:
    """Let a run that was there name the versions, runs and parent that stand now in the place of those it named."""
    there = project.whole[run.key]
    named = {key: _resolved(projects, project, value) for key, value in run.tags.items() if isinstance(value, Ref)}
    if run.parent:
        named[PARENT] = project.runs[run.parent]
    if changed := {key: value for key, value in named.items() if there.get(key) != value}:
        client.log_batch(project.runs[run.key], tags=[RunTag(key, value) for key, value in changed.items()])


def _all(work: Callable[[Run], None], runs: Iterable[Run]) -> None:
    """A few at once; the first error ends it."""
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for _ in pool.map(work, runs):
            pass


# Versions.


def _log_models(client: MlflowClient, project: _Project) -> None:
    """Log the packages of new runs; those of runs that were there were found with them."""

    def log(run: Run) -> None:
        if run.package is None:
            return
        tags = {"dlemm.origin": "reference", KEY: run.key}
        made = client.create_logged_model(
            project.experiment, name="model", source_run_id=project.runs[run.key], tags=tags
        )
        project.pending.append(made.model_id)
        with _folder(run.package.files) as folder:
            client.log_model_artifacts(made.model_id, str(folder))
        client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        project.pending.remove(made.model_id)
        project.models[run.key] = made.model_id

    _all(log, [run for run in project.book.runs.values() if run.key not in project.whole])


def _register(client: MlflowClient, projects: Mapping[str, _Project], project: _Project) -> None:
    """Register the versions that are not there, in the order of the book."""
    if not client.search_registered_models(f"name = '{project.model}'"):
        owned = {"dlemm.origin": "reference", "dlemm.project": project.book.project}
        client.create_registered_model(project.model, owned)
    for version in project.book.versions.values():
        if version.key not in project.versions:
            project.versions[version.key] = _create_version(client, project, version)


def _create_version(client: MlflowClient, project: _Project, version: Version) -> str:
    model = project.models.get(version.run)
    run_id = project.runs[version.run]
    source = f"models:/{model}" if model else f"runs:/{run_id}/model"
    tags = {KEY: version.key, MARK: _digest(repr(version))}
    made = client.create_model_version(
        project.model, source=source, run_id=run_id, tags=tags, description=version.description, model_id=model
    )
    return str(made.version)


def _finish_versions(client: MlflowClient, projects: Mapping[str, _Project], project: _Project) -> None:
    """Tags, then aliases, and the mark of completeness last."""
    for version in project.book.versions.values():
        number = project.versions[version.key]
        there = client.get_model_version(project.model, number)
        for key, value in version.tags.items():
            text = _resolved(projects, project, value)
            if there.tags.get(key) != text:
                client.set_model_version_tag(project.model, number, key, text)
        for alias in version.aliases:
            client.set_registered_model_alias(project.model, alias, number)
        if not there.tags.get(DONE):
            client.set_model_version_tag(project.model, number, DONE, "true")


def _resolved(projects: Mapping[str, _Project], project: _Project, value: Text) -> str:
    if isinstance(value, str):
        return value
    owner = projects[value.project] if value.project else project
    if value.kind == "model":
        return owner.model
    return f"{owner.model}/{owner.versions[value.key]}" if value.kind == "version" else owner.runs[value.key]


# Breaking off.


def _give_up(client: MlflowClient, projects: Iterable[_Project], error: BaseException) -> None:
    """End what is open, delete versions and models that are not finished, as far as the server still answers."""
    known = explain(error)
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else str(known or type(error).__name__)[:500]
    for project in projects:
        with contextlib.suppress(Exception):  # the first error is the one to be told
            for number in list(project.versions.values()):
                if not client.get_model_version(project.model, number).tags.get(DONE):
                    client.delete_model_version(project.model, number)
            for model in list(project.pending):
                client.delete_logged_model(model)
            for run_id in list(project.open):
                client.set_tag(run_id, "dlemm.failure_reason", reason)
                client.set_terminated(run_id, "KILLED")
