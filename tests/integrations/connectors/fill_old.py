"""Fills an MLflow 2 server through the client of the same age and prints, as JSON, what was put there.

    OLD/bin/python tests/integrations/connectors/fill_old.py http://127.0.0.1:PORT

Run by ``record_old_server`` with the interpreter of an old installation, so it imports nothing of this project.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

START = 1_700_000_000_000
DAY = 86_400_000


def runs(client: MlflowClient) -> dict[str, object]:
    """Ten runs, a day apart but for three at once; one failed, one deleted, one with a parent."""
    key = client.create_experiment("old-runs", tags={"team": "blue"})
    made = [client.create_run(key, start_time=START, run_name=f"tied-{n}") for n in range(3)]
    made += [client.create_run(key, start_time=START + n * DAY, run_name=f"day-{n}") for n in range(1, 6)]
    parent = made[0].info.run_id
    made.append(client.create_run(key, start_time=START + DAY, tags={"mlflow.parentRunId": parent}))
    for run in made[:-1]:
        client.set_terminated(run.info.run_id, "FINISHED", end_time=run.info.start_time + 1000)
    client.set_terminated(made[1].info.run_id, "FAILED", end_time=START + 10)
    client.delete_run(made[2].info.run_id)
    told = [client.get_run(run.info.run_id) for run in made]
    return {
        run.info.run_id: {
            "name": run.info.run_name,
            "status": run.info.status,
            "lifecycle": run.info.lifecycle_stage,
            "start_at": run.info.start_time,
            "end_at": run.info.end_time,
        }
        for run in told
    }


def gone(client: MlflowClient) -> str:
    """An experiment that was deleted."""
    key = client.create_experiment("old-gone")
    client.delete_experiment(key)
    return key


def model(client: MlflowClient) -> dict[str, object]:
    """A run with parameters, odd metrics, datasets, a model card, a history, and a registered model."""
    mlflow.set_experiment("old-model")
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    with mlflow.start_run(run_name="rich") as run:
        key = run.info.run_id
        mlflow.log_params({"seed": 7, "none": None})
        mlflow.log_metrics({"loss": 0.25, "nan": float("nan")})
        busy = [Metric("system/gpu_0_utilization_percentage", float(n), START + n, n) for n in range(101)]
        client.log_batch(key, busy)
        mlflow.log_input(mlflow.data.from_numpy(features, source="s3://b/train", name="t"), context="training")
        mlflow.log_text("# Purpose\n\nNone.\n\n## Limits\n", "reports/model_card.md")
        fitted = LogisticRegression().fit(features, [0, 0, 1, 1])
        mlflow.sklearn.log_model(
            fitted,
            "classifier",
            signature=infer_signature(features, fitted.predict(features)),
            input_example=features[:1],
            registered_model_name="old fraud",
            pip_requirements=["scikit-learn==1.5.0"],
        )
    client.set_registered_model_alias("old fraud", "champion", "1")
    client.set_model_version_tag("old fraud", "1", "validation_status", "approved")
    client.transition_model_version_stage("old fraud", "1", "Production")
    return {"run": key, "digest": client.get_run(key).inputs.dataset_inputs[0].dataset.digest}


def main(url: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    filled = {"version": mlflow.__version__, "runs": runs(client), "gone": gone(client), "model": model(client)}
    print("\n" + json.dumps(filled))


if __name__ == "__main__":
    main(sys.argv[1])
