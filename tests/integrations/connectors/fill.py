"""Fills an MLflow server through MLflow's own client and prints, as JSON, what that client says is there.

    python -m tests.integrations.connectors.fill http://127.0.0.1:PORT

A program of its own, because the client keeps its settings process-wide.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import httpx
import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

TIED = 1_700_000_000_000
YEAR_2099 = 4_070_908_800_000


def times(client: MlflowClient) -> dict[str, object]:
    """Runs at awkward moments: seven at once, one at zero, one in the future, one deleted, spread over years."""
    key = client.create_experiment("conn-times", tags={"team": "blue"})
    runs = [client.create_run(key, start_time=TIED, run_name=f"tied-{i}") for i in range(7)]
    runs += [client.create_run(key, start_time=TIED + 86_400_000 * i, run_name="twin") for i in (1, 400)]
    runs += [client.create_run(key, start_time=start) for start in (5, YEAR_2099)]
    # The client takes a start of zero for "now"; other writers do not.
    question = {"experiment_id": key, "start_time": 0, "run_name": "at zero"}
    httpx.post(f"{client.tracking_uri}/api/2.0/mlflow/runs/create", json=question).raise_for_status()
    deleted = client.create_run(key, start_time=TIED - 5)
    client.delete_run(deleted.info.run_id)
    client.set_terminated(runs[0].info.run_id, "FAILED", end_time=TIED + 10)
    return {"experiment": key, "deleted_run": deleted.info.run_id}


def gone(client: MlflowClient) -> dict[str, object]:
    """An experiment that was deleted with its run."""
    key = client.create_experiment("conn-gone")
    run = client.create_run(key, start_time=TIED)
    client.delete_experiment(key)
    return {"experiment": key, "run": run.info.run_id}


def model(client: MlflowClient) -> dict[str, object]:
    """A run with everything: parameters, odd metrics, long tags, dataset inputs, files, a model and its versions."""
    key = mlflow.set_experiment("conn-model").experiment_id
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    with mlflow.start_run(run_name="rich") as run:
        mlflow.log_params({"seed": 7, "none": None})
        mlflow.log_metrics({"loss": 0.5, "nan": float("nan"), "inf": float("-inf")}, step=3)
        mlflow.log_metric("loss", 0.25, step=4)
        mlflow.set_tags({"long": "é" * 5000, "mlflow.source.git.repoURL": "https://me:hunter2@git.example/x.git"})
        mlflow.log_input(mlflow.data.from_pandas(frame, source="s3://b/train", name="t"), context="training")
        mlflow.log_input(mlflow.data.from_pandas(frame[:2], source="s3://b/t", name="v"), "test", tags={"v": "9"})
        for path in ("top.txt", "reports/eval.json", "explain/cam/a.txt", "plots/p.txt"):
            mlflow.log_text("{}", path)
        fitted = LogisticRegression().fit(frame, [0, 0, 1, 1])
        logged = mlflow.sklearn.log_model(
            fitted,
            name="classifier",
            signature=infer_signature(frame, fitted.predict(frame)),
            input_example=frame[:1],
            registered_model_name="conn fraud",
            pip_requirements=["scikit-learn", "pandas==3.0.0"],
        )
    bare = mlflow.initialize_logged_model(name="bare", source_run_id=run.info.run_id)
    client.create_model_version("conn fraud", f"runs:/{run.info.run_id}/x", run.info.run_id)
    client.set_registered_model_alias("conn fraud", "champion", "1")
    client.set_registered_model_tag("conn fraud", "owner", "ann")
    client.update_registered_model("conn fraud", "what it is for")
    client.set_model_version_tag("conn fraud", "1", "validation_status", "approved")
    mlflow.genai.register_prompt(name="conn-prompt", template="Say {{it}}")
    ids = {"logged_model": logged.model_id, "bare_model": bare.model_id}
    return {"experiment": key, "run": run.info.run_id, **ids}


def truth(client: MlflowClient, experiments: list[str]) -> dict[str, object]:
    """Every run of the experiments as MLflow's client tells it."""
    runs = client.search_runs(experiments, run_view_type=ViewType.ALL, max_results=1000)
    return {
        run.info.run_id: {
            "start_at": run.info.start_time,
            "end_at": run.info.end_time,
            "status": run.info.status,
            "lifecycle": run.info.lifecycle_stage,
            "name": run.info.run_name,
            "params": run.data.params,
            "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
            "tags": run.data.tags,
        }
        for run in runs
    }


def main(url: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    filled = {"times": times(client), "gone": gone(client), "model": model(client), "at": time.time()}
    experiments = [str(filled[name]["experiment"]) for name in ("times", "gone", "model")]
    print("\n" + json.dumps({**filled, "runs": truth(client, experiments)}))


if __name__ == "__main__":
    main(sys.argv[1])
