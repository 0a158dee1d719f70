"""The MLflow side of the pipeline: runs with their tags, inputs and metrics; stories found again; registered versions.

Takes plain values of the other modules and writes them to one tracking server. Every run carries the same common
tags, and a run never stays open: an error ends it as FAILED, an interruption as KILLED, both with the reason.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from types import TracebackType

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from integrations.reference.case import Case
from integrations.reference.data import Split
from integrations.reference.errors import DeletedExperimentError, ServerUnreachableError, explain

PACKAGE = Path(__file__).parent
STORY_STAGE = "pipeline"
PINNED = ("torch", "numpy", "mlflow")  # what an exported model needs to be loaded
USED = (*PINNED, "scikit-learn", "fastapi", "uvicorn", "pyyaml")  # what a training run stands on
_CONNECT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}


def now() -> str:
    """This moment as ISO 8601 in UTC with milliseconds, the form of every time tag."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def pinned(packages: tuple[str, ...] = PINNED) -> list[str]:
    """Exact requirements as installed here; a local build label such as ``+cpu`` is left off."""
    return [f"{name}=={installed_version(name).partition('+')[0]}" for name in packages]


def code_sha256() -> str:
    """SHA-256 over the pipeline's own source and threshold files, names included."""
    digest = hashlib.sha256()
    for file in sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".yaml"}):
        digest.update(file.relative_to(PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep MLflow, torch and their friends from talking over the display; the process is as before afterwards."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "torch", "git", "urllib3")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), _environment(_QUIET):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Run:
    """One open run. As a context manager it ends by itself, with the status that fits how the block was left."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.id = run_id

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.client.set_terminated(self.id, RunStatus.to_string(RunStatus.FINISHED))
            return
        try:
            self.fail(error)
        except MlflowException as unsaid:  # the first error is the one to be told
            error.add_note(f"the run {self.id} could not be ended: {unsaid}")

    def fail(self, error: BaseException) -> None:
        """End the run as KILLED for an interruption, as FAILED for anything else, with the reason."""
        killed = isinstance(error, KeyboardInterrupt)
        reason = "interrupted" if killed else f"{type(error).__name__}: {error}"[:500]
        self.tags({"dlemm.failure_reason": reason})
        self.client.set_terminated(self.id, RunStatus.to_string(RunStatus.KILLED if killed else RunStatus.FAILED))

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log numbers, all at this moment."""
        at = round(time.time() * 1000)  # milliseconds since 1970, UTC
        self.client.log_batch(self.id, metrics=[Metric(key, float(value), at, step) for key, value in values.items()])

    def series(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        """Log numbers per step, such as the epochs of a training."""
        at = round(time.time() * 1000)
        points = [Metric(key, float(value), at, step) for step, row in steps.items() for key, value in row.items()]
        self.client.log_batch(self.id, metrics=points)

    def params(self, values: Mapping[str, object]) -> None:
        self.client.log_batch(self.id, params=[Param(key, str(value)) for key, value in values.items()])

    def tags(self, values: Mapping[str, str]) -> None:
        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in values.items()])

    def inputs(self, source: str, **contexts: Split) -> None:
        """Declare datasets by their context: name, digest, source, schema and size."""
        self.client.log_inputs(self.id, [_dataset_input(split, context, source) for context, split in contexts.items()])

    def text(self, file: str, content: str) -> None:
        """Store a small text file as an artifact of the run."""
        self.client.log_text(self.id, content, file)


def _dataset_input(split: Split, context: str, source: str) -> DatasetInput:
    tags = {"loader": source, "sha256": split.sha256, "split": split.name}
    dataset = from_numpy(
        split.images, source=CodeDatasetSource(tags), targets=split.labels, name=split.name, digest=split.digest
    )
    labels = [InputTag("mlflow.data.context", context), InputTag("dlemm.dataset.labelled", "true")]
    return DatasetInput(Dataset(**dataset.to_dict()), labels)


class Tracker:
    """One story on one tracking server: its experiment, its common tags, its registered model."""

    def __init__(self, tracking_uri: str, *, case: Case, project: str, prefix: str) -> None:
        """Connect; raises ``PipelineError`` when the server cannot be reached or refuses."""
        self.uri, self.case, self.project = tracking_uri, case, project
        self.experiment = f"{prefix}/{case.key}"
        self.model = f"{prefix}-{project}".replace("/", "-")
        self.fingerprint = case.fingerprint()
        self.story = ""
        require_server(tracking_uri)
        mlflow.set_tracking_uri(tracking_uri)
        self.client = MlflowClient(tracking_uri)

    @cached_property
    def experiment_id(self) -> str:
        """Id of the experiment, created when it is not there."""
        found = self.client.get_experiment_by_name(self.experiment)
        if found and found.lifecycle_stage == "deleted":
            raise DeletedExperimentError(
                f"The experiment {self.experiment} is deleted on {self.uri}; restore it there or choose another "
                "--experiment-prefix."
            )
        if found:
            return str(found.experiment_id)
        tags = {"dlemm.origin": "reference", "dlemm.project": self.project}
        return str(self.client.create_experiment(self.experiment, tags=tags))

    @cached_property
    def _common_tags(self) -> dict[str, str]:
        """What every run carries: who and where from (MLflow's own), what for (ours), which code."""
        tags = {
            **resolve_tags({}),  # mlflow.user, mlflow.source.*, and the commit where git tells one
            "dlemm.origin": "reference",
            "dlemm.project": self.project,
            "dlemm.pipeline": self.case.pipeline,
            "dlemm.code.sha256": code_sha256(),
        }
        if "mlflow.source.git.commit" in tags and (dirty := _is_dirty()) is not None:
            tags["mlflow.source.git.dirty"] = str(dirty).lower()
        return tags

    def run(self, name: str, *, stage: str, note: str, parent: str = "", tags: Mapping[str, str] | None = None) -> Run:
        """Open a run below ``parent`` (the story when not given); use it in a ``with`` block."""
        own = {**self._common_tags, "dlemm.stage": stage, "mlflow.note.content": note, **(tags or {})}
        if above := parent or self.story:
            own["mlflow.parentRunId"] = above
        if self.story:
            own["dlemm.story"] = self.story
        created = self.client.create_run(self.experiment_id, tags=own, run_name=name)
        return Run(self.client, created.info.run_id)

    def reopened(self, run_id: str) -> Run:
        """A run that has ended, to add what became known later; it keeps its status and end."""
        return Run(self.client, run_id)

    # Stories, found again by the tags of their outermost run.

    def open_story(self) -> Run:
        """The outermost run of a new story; every further run is tagged with its id."""
        tags = {"dlemm.story.fingerprint": self.fingerprint, "dlemm.story.process": _this_process()}
        run = self.run(f"story {self.case.pipeline}", stage=STORY_STAGE, note=self.case.title, tags=tags)
        self.story = run.id
        return run

    def stories(self) -> list[MlflowRun]:
        """The stories of this case and project that no later one has replaced, newest first."""
        filter_string = f"tags.`dlemm.stage` = '{STORY_STAGE}' and tags.`dlemm.project` = '{self.project}'"
        runs = self.client.search_runs([self.experiment_id], filter_string, order_by=["attributes.start_time DESC"])
        return [run for run in runs if "dlemm.story.superseded_by" not in run.data.tags]

    def finished_story(self) -> str:
        """Id of a finished story with the same configuration, thresholds and version; empty when there is none."""
        for run in self.stories():
            if run.info.status == "FINISHED" and run.data.tags.get("dlemm.story.fingerprint") == self.fingerprint:
                return str(run.info.run_id)
        return ""

    def supersede(self, story: MlflowRun) -> None:
        """Mark an earlier story as replaced by this one and end whatever it left open."""
        self.client.set_tag(story.info.run_id, "dlemm.story.superseded_by", self.story)
        self.close_leftovers(story.info.run_id, reason=f"interrupted; told again by story {self.story}")

    def close_leftovers(self, story: str, *, reason: str = "interrupted") -> int:
        """End the still open runs of a story, itself included, as KILLED; returns how many there were."""
        open_runs = self.client.search_runs(
            [self.experiment_id], f"attributes.status = 'RUNNING' and tags.`dlemm.story` = '{story}'"
        )
        ids = [run.info.run_id for run in open_runs]
        if self.client.get_run(story).info.status == "RUNNING":
            ids.append(story)
        for run_id in ids:
            self.client.set_tag(run_id, "dlemm.failure_reason", reason)
            self.client.set_terminated(run_id, "KILLED")
        return len(ids)


def tells_live(story: MlflowRun) -> bool:
    """Whether the process that opened a story on this very machine is still alive."""
    return story.info.status == "RUNNING" and _is_alive(story.data.tags.get("dlemm.story.process", ""))


def require_server(tracking_uri: str) -> None:
    """Raise ``PipelineError`` when the address is no tracking server that answers and lets us in."""
    if not tracking_uri.startswith(("http://", "https://")):
        raise ServerUnreachableError(f"{tracking_uri!r} is no address of a tracking server; it begins with http(s)://")
    try:
        with _environment(_CONNECT):
            MlflowClient(tracking_uri).search_experiments(max_results=1)
    except MlflowException as error:
        if known := explain(error, tracking_uri=tracking_uri):
            raise known from error
        first_line = str(error).splitlines()[0][:200]
        raise ServerUnreachableError(f"{tracking_uri} is not a usable MLflow tracking server: {first_line}") from error


def _is_dirty() -> bool | None:
    """Whether the code that runs, this package, differs from the commit; None when git cannot tell."""
    command = ["git", "-C", str(PACKAGE), "status", "--porcelain", "--", "."]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 -- fixed
    except (OSError, subprocess.TimeoutExpired):
        return None
    return bool(found.stdout.strip()) if found.returncode == 0 else None


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """Start of a process in clock ticks since boot (proc(5), field 22), so that a reused number is told apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _is_alive(process: str) -> bool:
    host, _, number = process.rpartition(":")[0].rpartition(":")
    started = process.rpartition(":")[2]
    if host != socket.gethostname() or not number.isdigit():
        return False
    return bool(started) and _started(int(number)) == started
