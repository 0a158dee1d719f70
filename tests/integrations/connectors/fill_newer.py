"""Fills an MLflow 3 server with traces, a dataset for evaluation, a metric history and documents; prints what it put.

python -m tests.integrations.connectors.fill_newer http://127.0.0.1:PORT
"""

from __future__ import annotations

import json
import logging
import sys
import warnings

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Metric

SECRET = "the question of a customer"
CARD = "---\nlicense: mit\n---\n# Purpose\n\nSECRET\n\nLimits\n======\n\n```\n# not a heading\n```\n"


def traces() -> dict[str, object]:
    """Nine traces: four name nothing, three a model, two a model and a version; one was reviewed, one judged."""
    key = mlflow.set_experiment("newer-traces").experiment_id
    model = mlflow.create_external_model(name="agent").model_id
    for _ in range(4):
        with mlflow.start_span("ask") as span:
            span.set_inputs({"question": SECRET})
            span.set_outputs({"answer": SECRET})
    mlflow.set_active_model(model_id=model)
    ids = []
    for number in range(5):
        with mlflow.start_span("ask") as span:
            if number >= 3:
                mlflow.update_current_trace(tags={"dlemm.model_version": "newer agent/1"})
            ids.append(span.trace_id)
    mlflow.flush_trace_async_logging()
    person, judge = AssessmentSource("HUMAN", "ann"), AssessmentSource("LLM_JUDGE", "judge")
    mlflow.log_feedback(trace_id=ids[0], name="good", value=True, source=person)
    mlflow.log_feedback(trace_id=ids[1], name="good", value=True, source=judge)
    from_a_run = {"mlflow.assessment.sourceRunId": "r"}
    mlflow.log_feedback(trace_id=ids[3], name="good", value=True, source=person, metadata=from_a_run)
    client = MlflowClient()
    client.create_registered_model("newer agent")
    client.create_model_version("newer agent", f"models:/{model}", model_id=model)
    client.set_registered_model_alias("newer agent", "champion", "1")
    return {"experiment": key, "model": model}


def run(client: MlflowClient) -> dict[str, object]:
    """A finished run with a history of utilisation and documents, and one without."""
    mlflow.set_experiment("newer-runs")
    with mlflow.start_run() as made:
        busy = [
            Metric("system/gpu_0_utilization_percentage", float(n % 101), 1_700_000_000_000 + n, n) for n in range(202)
        ]
        client.log_batch(made.info.run_id, busy)
        client.log_batch(made.info.run_id, [Metric("system/gpu_0_utilization_percentage", float("nan"), 1, 300)])
        mlflow.log_text(CARD, "technical_file/intended_use.md")
        mlflow.log_text("# weights", "model_card.bin")
    with mlflow.start_run():
        mlflow.log_metric("system/cpu_utilization_percentage", 3)
    return {"run": made.info.run_id}


def main(url: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    mlflow.set_tracking_uri(url)
    filled = {"traces": traces(), **run(MlflowClient(url))}
    experiment = str(filled["traces"]["experiment"])
    golden = mlflow.genai.datasets.create_dataset(name="newer golden", experiment_id=experiment)
    golden.merge_records([{"inputs": {"question": SECRET}, "expectations": {"answer": SECRET}}])
    print("\n" + json.dumps({**filled, "dataset": golden.dataset_id}))


if __name__ == "__main__":
    main(sys.argv[1])
