"""What is asked of an MLflow database: the tables and columns needed, and every statement.

Statements are plain SQL that PostgreSQL, MySQL (with ANSI quotes) and SQLite understand alike; ``{mine}`` stands for
the condition that keeps to a workspace, ``{ids}`` for the runs asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from integrations.connectors.mlflow_sql_databases import Kinds

NEEDED: Mapping[str, frozenset[str]] = {
    table: frozenset(columns.split())
    for table, columns in {
        "alembic_version": "version_num",
        "experiments": "experiment_id name lifecycle_stage creation_time",
        "experiment_tags": "experiment_id key value",
        "runs": "run_uuid experiment_id name status lifecycle_stage start_time end_time user_id",
        "params": "run_uuid key value",
        "tags": "run_uuid key value",
        "latest_metrics": "run_uuid key value is_nan timestamp step",
        "inputs": "input_uuid source_id destination_type destination_id",
        "input_tags": "input_uuid name value",
        "datasets": "dataset_uuid name digest dataset_source_type dataset_source dataset_schema",
        "registered_models": "name description creation_time",
        "registered_model_tags": "name key value",
        "registered_model_aliases": "name alias version",
        "model_versions": "name version creation_time description user_id current_stage source run_id status",
        "model_version_tags": "name version key value",
    }.items()
}
"""What is read, of MLflow 2.4 and later. A database that has it all is understood, whatever its revision."""
LOGGED_MODEL_COLUMNS = frozenset(
    {"model_id", "experiment_id", "name", "status", "lifecycle_stage", "source_run_id", "creation_timestamp_ms"}
)
"""Of MLflow 3; a database without them is older."""

_RUNS: Kinds = {
    "run": "text",
    "experiment": "whole",
    "name": "text",
    "status": "text",
    "lifecycle": "text",
    "start_at": "whole",
    "end_at": "whole",
    "user": "text",
}
_PAIR_KINDS: Kinds = {"run": "text", "key": "text", "value": "text"}
_METRIC_KINDS: Kinds = {
    "run": "text",
    "key": "text",
    "value": "number",
    "is_nan": "whole",
    "at": "whole",
    "step": "whole",
}
_INPUT_KINDS: Kinds = dict.fromkeys(
    ("run", "dataset", "name", "digest", "source_type", "source", "schema", "key", "value"), "text"
)
_PAIRS = 'SELECT run_uuid, "key", value FROM {table} WHERE run_uuid {ids}'
OF_RUNS: Mapping[str, tuple[str, Kinds]] = {
    "runs": (
        """
        SELECT run_uuid, experiment_id, name, status, lifecycle_stage, start_time, end_time, user_id
        FROM runs WHERE run_uuid {ids}""",
        _RUNS,
    ),
    "run_params": (_PAIRS.replace("{table}", "params"), _PAIR_KINDS),
    "run_metrics": (
        """
        SELECT run_uuid, "key", value, CASE WHEN is_nan THEN 1 ELSE 0 END, "timestamp", step
        FROM latest_metrics WHERE run_uuid {ids}""",
        _METRIC_KINDS,
    ),
    "run_tags": (_PAIRS.replace("{table}", "tags"), _PAIR_KINDS),
    # texts without a bound: as much as is kept (64 KiB), and as much of a schema as tells whether it is empty
    "run_inputs": (
        """
        SELECT i.destination_id, d.dataset_uuid, d.name, d.digest, d.dataset_source_type,
            substr(d.dataset_source, 1, 65536), substr(d.dataset_schema, 1, 4096), t.name, t.value
        FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
        LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid
        WHERE i.destination_type = 'RUN' AND i.destination_id {ids}""",
        _INPUT_KINDS,
    ),
}
"""Fact table → question and kinds of the columns it gives."""

RUN_IDS = """
    SELECT run_uuid, start_time FROM runs
    WHERE experiment_id IN (SELECT experiment_id FROM experiments WHERE {mine})"""
EXPERIMENTS = """
    SELECT experiment_id, name, lifecycle_stage, creation_time FROM experiments WHERE {mine} ORDER BY experiment_id"""
EXPERIMENT_TAGS = """
    SELECT experiment_id AS owner, "key", value FROM experiment_tags
    WHERE experiment_id IN (SELECT experiment_id FROM experiments WHERE {mine})"""
MODELS = "SELECT name, description, creation_time AS creation_timestamp FROM registered_models WHERE {mine}"
MODEL_TAGS = 'SELECT name AS owner, "key", value FROM registered_model_tags WHERE {mine}'
ALIASES = "SELECT name, alias, version FROM registered_model_aliases WHERE {mine}"
VERSIONS = """
    SELECT name, version, creation_time AS creation_timestamp, description, user_id, current_stage, source, run_id,
        status
    FROM model_versions WHERE (current_stage IS NULL OR current_stage <> 'Deleted_Internal') AND {mine}"""
VERSION_TAGS = 'SELECT name AS owner, version AS number, "key", value FROM model_version_tags WHERE {mine}'
LOGGED_MODELS = """
    SELECT model_id, name, status, source_run_id, creation_timestamp_ms FROM logged_models
    WHERE lifecycle_stage <> 'deleted' AND experiment_id IN (SELECT experiment_id FROM experiments WHERE {mine})
    ORDER BY creation_timestamp_ms DESC, model_id"""
