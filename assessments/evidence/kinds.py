"""kinds: what a person is asked for when adding a source of each kind.

Data alone: the fields of a form, in order, with their labels; the page draws them and the command takes the same names.
What is right and wrong in a field is said by the connector of the kind, so no rule stands twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Form(StrEnum):
    """How a field is written and kept."""

    TEXT = "text"
    URL = "url"
    NUMBER = "number"
    JSON = "json"
    SECRET = "secret"  # noqa: S105 - the name of a form, no secret
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a kind: its name in the configuration, what a person sees, and how it is written."""

    name: str
    label: str | Promise
    help: str | Promise = ""
    form: Form = Form.TEXT
    required: bool = False
    choices: tuple[str, ...] = ()
    rare: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of source: its name, what it is good for, its settings. ``uploads``: it also takes a file."""

    key: str
    name: str | Promise
    purpose: str | Promise
    settings: tuple[Setting, ...] = field(default=())
    streams: tuple[str, ...] = ()
    uploads: bool = False

    def setting(self, name: str) -> Setting | None:
        """The setting of this name, or None."""
        return next((one for one in self.settings if one.name == name), None)


class Unreadable(ValueError):
    """A value that is not written as its setting asks."""


def value_of(setting: Setting, text: str) -> Any:
    """A setting as its text means it; None for an empty one. Raises ``Unreadable``."""
    text = text.strip()
    if not text:
        return None
    if setting.form is Form.NUMBER:
        try:
            number = float(text)
        except ValueError as error:
            raise Unreadable(_("must be a number")) from error
        if number != number or number in (float("inf"), float("-inf")):
            raise Unreadable(_("must be a number"))
        return int(number) if number == int(number) else number
    if setting.form is Form.JSON:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(_("is not valid JSON")) from error
    return text


_TOKEN = Setting("token", _("Token"), _("Bearer token that may read and nothing else."), Form.SECRET)
_USER = Setting("username", _("User name"), _("For basic authentication, instead of a token."), Form.SECRET)
_PASSWORD = Setting("password", _("Password"), "", Form.SECRET)
_CA = Setting("ca_path", _("Own certificate authority"), _("A file on the machine of this installation."), rare=True)
_WEB = Setting("web_url", _("Address for links"), _("If people reach the server elsewhere."), Form.URL, rare=True)
_TIMEOUT = Setting("timeout", _("Longest wait (seconds)"), "", Form.NUMBER, rare=True)
_BYTES = Setting("max_bytes", _("Most bytes"), "", Form.NUMBER, rare=True)
_PROJECT = Setting("project", _("Project"), _("Key of the project it belongs to; empty when it serves all."))
_SIGN_IN = (_TOKEN, _USER, _PASSWORD)


def _address(help_text: str | Promise = "", *, required: bool = True) -> Setting:
    return Setting("base_url", _("Address"), help_text, Form.URL, required)


_REPOSITORY = (
    _address(_("https address of the repository, or a folder that the operator lets sources read.")),
    Setting("branch", _("Branch"), _("Empty: the repository's own.")),
    Setting("name", _("Name shown")),
    _PROJECT,
    *_SIGN_IN,
    _WEB,
    Setting("shared_packages", _("Own shared packages"), _("Names with commas between them."), rare=True),
    Setting("template_marker", _("File that marks your template"), "", rare=True),
    _CA,
    _TIMEOUT,
    _BYTES,
)
_MLFLOW = (
    _address(_("Such as https://mlflow.example:5000")),
    *_SIGN_IN,
    _WEB,
    Setting("workspace", _("Workspace"), "", rare=True),
    Setting("headers", _("Extra headers"), _('JSON, such as {"X-Team": "blue"}.'), Form.SECRET, rare=True),
    _CA,
    _TIMEOUT,
    Setting("page_size", _("Runs per answer"), "", Form.NUMBER, rare=True),
    Setting("connections", _("Connections at once"), "", Form.NUMBER, rare=True),
    Setting("artifact_lookups", _("Most artifact lists"), "", Form.NUMBER, rare=True),
    Setting("traces_per_experiment", _("Most traces of an experiment"), "", Form.NUMBER, rare=True),
    Setting("history_lookups", _("Most metric histories"), "", Form.NUMBER, rare=True),
    Setting("requests_per_second", _("Most requests per second"), _("0: no limit."), Form.NUMBER, rare=True),
    _BYTES,
)
_MLFLOW_STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry", "traces", "metric_history")
_FILE_TABLES = ("incidents", "change_requests", "ci_runs", "comparisons", "service_levels")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.key: kind
        for kind in (
            Kind(
                "mlflow",
                _("MLflow server"),
                _("Experiments, runs, models and traces, over the server's own interface."),
                _MLFLOW,
                _MLFLOW_STREAMS,
            ),
            Kind(
                "mlflow-sql",
                _("MLflow database"),
                _("The same as an MLflow server, read directly from its database; for very many runs."),
                (
                    Setting("base_url", _("Address"), _("Such as postgresql://db.example/mlflow"), required=True),
                    _USER,
                    _PASSWORD,
                    _WEB,
                    Setting("workspace", _("Workspace"), "", rare=True),
                    _CA,
                    _TIMEOUT,
                ),
                _MLFLOW_STREAMS,
            ),
            Kind(
                "git",
                _("Git repository"),
                _("Files by what they are, history, merged changes; nothing in it is run."),
                _REPOSITORY,
                ("repository", "reviews"),
            ),
            Kind("dvc", _("Data versions (DVC)"), _("Which data is tracked, with hash and size."), _REPOSITORY,
                 ("data_versions",)),
            Kind(
                "reports",
                _("Reports of pipelines"),
                _("Reports in the published format, from a folder or a list at an address."),
                (
                    _address(_("Address of the list, or a folder that the operator lets sources read.")),
                    _TOKEN,
                    _CA,
                    _TIMEOUT,
                    Setting("most_files", _("Most files"), "", Form.NUMBER, rare=True),
                ),
                ("reports",),
            ),
            Kind(
                "quality",
                _("Results of data quality tools"),
                _("Great Expectations, pandera and Evidently."),
                (
                    _address(_("An address, or a folder that the operator lets sources read.")),
                    Setting("files", _("Files"), _("Paths below the address, with spaces between them.")),
                    _PROJECT,
                    Setting("dataset", _("Dataset"), _("For files that name none.")),
                    *_SIGN_IN,
                    _CA,
                    _TIMEOUT,
                    _BYTES,
                ),
                ("quality",),
            ),
            Kind(
                "tables",
                _("Spreadsheet"),
                _("A CSV or Excel file that people keep, such as the list of incidents."),
                (
                    Setting("table", _("What it lists"), "", Form.CHOICE, choices=_FILE_TABLES),
                    Setting(
                        "columns",
                        _("Columns"),
                        _('JSON: column of the table to your heading, such as {"incident": "Ticket"}.'),
                        Form.JSON,
                        True,
                    ),
                    Setting("fixed", _("Fixed values"), _('JSON, such as {"kind": "model"}.'), Form.JSON),
                    Setting("values", _("Translated values"),
                            _('JSON, such as {"severity": {"P1": "high"}}.'), Form.JSON),
                    Setting("timezone", _("Time zone"), _("Such as Europe/Paris; empty: UTC.")),
                    Setting("time_format", _("Form of the times"), _("Empty: ISO 8601.")),
                    _address(_("Instead of uploading a file."), required=False),
                    Setting("file", _("File on this installation's machine"), "", rare=True),
                    Setting("sheet", _("Sheet"), _("Empty: the first."), rare=True),
                    Setting("decimal", _("Decimal sign"), "", rare=True),
                    Setting("encoding", _("Encoding"), _("Such as gb18030; empty: utf-8."), rare=True),
                    Setting("delimiter", _("Delimiter"), "", rare=True),
                    _TOKEN,
                    _CA,
                ),
                ("incidents", "reviews", "ci", "delivery", "service_levels"),
                uploads=True,
            ),
            Kind(
                "openlineage",
                _("Lineage (OpenLineage)"),
                _("Which datasets jobs read and wrote, from files of events."),
                (
                    Setting("folder", _("Folder"), _("A folder on the machine of this installation, or an address.")),
                    _address(_("Address of one file of events, instead of a folder."), required=False),
                    _TOKEN,
                    _CA,
                    _BYTES,
                ),
                ("lineage",),
                uploads=True,
            ),
            Kind(
                "prometheus",
                _("Monitoring (Prometheus)"),
                _("Availability, error rates, latencies and drift, one value a day."),
                (
                    _address(_("With its path prefix if it has one.")),
                    Setting(
                        "queries",
                        _("Queries"),
                        _('JSON list, such as [{"name": "availability", "query": "avg_over_time(up[1d])"}].'),
                        Form.JSON,
                        True,
                    ),
                    Setting("days", _("Days"), _("Whole days to read; empty: 180."), Form.NUMBER),
                    *_SIGN_IN,
                    _CA,
                    _TIMEOUT,
                    _BYTES,
                ),
                ("service_levels",),
            ),
            Kind("push", _("Facts that programs send"),
                 _("Pipelines and CI send their facts with a token; nothing is asked for."),
                 (), ("reports", "ci", "incidents", "reviews", "quality")),
        )
    }
)  # fmt: skip
"""Every kind by its key, in the order in which a person is offered them."""
