"""The library for teams: what a plain training script scores, and the same script with a few lines more."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("sklearn")

from integrations import traces
from integrations.connectors.report_files import report_rows
from maturity import pack
from maturity.answers import Answers
from maturity.facts import TABLES, Part
from maturity.schema import load_model
from tests.integrations.connectors.recorder import collected

FILE = Path(traces.__file__)

PLAIN = """
import sys
import mlflow
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import scale

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(sys.argv[2])
x, y = load_breast_cancer(return_X_y=True)
x = scale(x)
train, test = slice(0, 400), slice(400, None)
for strength in (0.01, 0.1, 1.0, 10.0, 100.0):
    with mlflow.start_run():
        mlflow.log_param("C", strength)
        model = LogisticRegression(C=strength, max_iter=300).fit(x[train], y[train])
        mlflow.log_metric("train/loss", log_loss(y[train], model.predict_proba(x[train])))
        right = model.predict(x[test]) == y[test]
        mlflow.log_metric("eval/accuracy", right.mean())
        if strength == 100.0:
            logged = mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"])
mlflow.register_model(logged.model_uri, sys.argv[2])
"""
_ADDED = {
    "import mlflow\n": "import traces\n",
    "        mlflow.log_param": """
        traces.pin(seed=7)
        traces.use("cancer/train", x[train], "training", source="sklearn.datasets", schema={"x": "float64"})
        traces.use("cancer/test", x[test], "test", source="sklearn.datasets", schema={"x": "float64"})
        traces.overlap(x[train], x[test])
        traces.check_data({"every value is a number": lambda: not (x != x).any(), "two classes": set(y) == {0, 1}})
""",
    "        if strength": """
        groups = {"small": right[::3], "middle": right[1::3], "large": right[2::3]}
        noisy = {"dim": model.score(x[test] * 0.5, y[test]), "shift": model.score(x[test] + 0.1, y[test])}
        mean, low, _ = traces.evaluation("eval/accuracy", right, slices=groups, stresses=noisy)
""",
}
_AFTER = """
policy = {"id": "release", "version": 1, "rules": [{"metric": "eval/accuracy", "at_least": 0.9}]}
traces.gate(sys.argv[2], "1", {"eval/accuracy": mean}, policy)
traces.approve(sys.argv[2], "1", "second reader")
traces.release(sys.argv[2], "1", actor="ci", pipeline="ci/7", rollout="shadow", comparison={"agreement": low})
with traces.monitor("cancer", sys.argv[2], "1", owner="on-call", skew=0.0) as look:
    look({"radius": list(x[train, 0])}, {"radius": list(x[test, 0])}, live=mean)
"""
MET = frozenset(
    {
        *("DG1.2.1", "DG2.2.2", "DO1.2.1", "DO1.2.2", "DO1.3.1", "DO1.3.2", "DO4.2.2", "DO4.3.2", "DO5.2.1", "DO6.2.2"),
        *("MD1.2.2", "MD1.3.1", "MD4.2.2", "MD4.3.1", "MD4.3.2"),
    }
)
"""Practices that machines alone prove and that the lines added must meet in whole."""


def traced() -> str:
    script = PLAIN.replace(
        "with mlflow.start_run():",
        'with traces.run("cancer", "train", f"C {strength}", pipeline="train.py", user="a"):',
    )
    for line, added in _ADDED.items():
        assert line in script
        script = script.replace(line, added + line if line.startswith(" ") else line + added, 1)
    return script + _AFTER


def ran(script: str, url: str, name: str, folder: Path) -> None:
    """Run the script as a team would: in a folder under git, with the one file beside it."""
    (folder / "train.py").write_text(script)
    shutil.copy(FILE, folder / "traces.py")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        as_nobody = ["-c", "user.name=trainer", "-c", "user.email=trainer@example.invalid"]
        subprocess.run(["git", *as_nobody, *command], cwd=folder, check=True)
    done = subprocess.run(
        [sys.executable, "train.py", url, name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def rated(url: str, name: str) -> dict[str, float]:
    """Rating of every practice as the ordinary road gives it: collected, measured, scored."""
    sink, statement = collected(url)
    project = {"project": "cancer", "name": "cancer", "idea_at": None, "started_at": None}
    project |= {"experiments": json.dumps([name]), "models": json.dumps([name])}
    tables = {table: sink.frame(table) for table, rows in sink.tables.items() if rows}
    card = pack.compute(
        pack.Inputs(
            model=load_model(),
            parts=(Part("mlflow", statement, tables),),
            projects=TABLES["projects"].frame([project]),
            answers=Answers(),
            parameters=pack.Parameters(as_of=statement.finished_at),
        )
    )
    return {
        result.practice: float(result.values.rated)
        for capability in card.capabilities
        for result in capability.practices
        if result.values
    }


@pytest.mark.server
def test_a_few_lines_more_meet_practices_that_the_plain_script_does_not(mlflow_server, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "traced").mkdir()
    ran(PLAIN, mlflow_server.url, "traces-plain", tmp_path / "plain")
    before = rated(mlflow_server.url, "traces-plain")
    ran(traced(), mlflow_server.url, "traces-traced", tmp_path / "traced")
    after = rated(mlflow_server.url, "traces-traced")
    assert {name: after[name] for name in MET if after[name] < 0.85} == {}
    assert {name: before[name] for name in MET if before[name] > 0.15} == {}
    assert after["DO4.3.1"] > before["DO4.3.1"]


def test_every_public_function_names_practices_and_traces_that_there_are():
    model = load_model()
    tree = ast.parse(FILE.read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert len(functions) > 12
    for function in functions:
        text = ast.get_docstring(function) or ""
        [served] = re.findall(r"^Serves .*", text, re.MULTILINE | re.DOTALL)
        named = re.findall(r"\b(?:DG|MD|DO)\d\.\d\.\d\b", served)
        assert named, function.name
        assert set(named) <= model.practices.keys(), function.name
        for indicator in re.findall(r"\b[A-Z]{2,4}-\d\d\b", served):
            asked = [p.id for p in model.practices.values() if any(c.indicator == indicator for c in p.checks)]
            assert set(asked) & set(named), f"{function.name}: {indicator} serves {asked}"


def test_the_file_needs_the_standard_library_and_mlflow_alone():
    tree = ast.parse(FILE.read_text("utf-8"))
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert found - sys.stdlib_module_names == {"mlflow"}
    at_once = {getattr(node, "module", None) or node.names[0].name for node in tree.body if hasattr(node, "names")}
    assert "mlflow" not in at_once


@pytest.fixture
def local(tmp_path):
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    mlflow.create_experiment("traces", artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment("traces")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


def test_a_failed_run_keeps_its_reason(local):
    with pytest.raises(ZeroDivisionError), traces.run("p", "train", "fails") as active:
        print(1 / 0)
    found = local.get_run(active.info.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["dlemm.failure_reason"] == "ZeroDivisionError: division by zero"


def test_broken_data_stops_the_run_and_leaves_the_count(local):
    with pytest.raises(traces.DataCheckFailed, match="no age is missing"), traces.run("p", "train", "bad") as active:
        traces.check_data({"no age is missing": False, "raises": lambda: 1 / 0, "held": True})
    data = local.get_run(active.info.run_id).data
    assert (data.metrics["dq/expectations_passed"], data.metrics["dq/expectations_failed"]) == (1.0, 2.0)
    assert data.tags["dlemm.dq.status"] == "blocked"
    with traces.run("p", "train", "waived"):
        assert traces.check_data({"held": True, "known": False}, waived=["known"]) == ["known"]


def test_a_shared_row_is_counted_and_stops(local):
    with pytest.raises(traces.DataCheckFailed, match="1 evaluation rows"), traces.run("p", "train", "leaks"):
        traces.overlap([(1, 2), (3, 4)], [(3, 4), (5, 6)])


def test_a_report_is_read_as_the_format_says(local, tmp_path):
    with traces.run("p", "evaluate", "drifts") as active:
        assert traces.drift({"a": list(range(100))}, {"a": list(range(60, 160))}) == ["a"]
    path = local.download_artifacts(active.info.run_id, "reports/drift.json", str(tmp_path))
    parsed = report_rows(Path(path).read_bytes(), "reports/drift.json", active.info.run_id)
    assert not parsed.fault
    assert {row["key"] for row in parsed.values} >= {"feature", "statistic", "threshold", "verdict"}


def test_without_a_run_a_function_says_how_to_open_one(local):
    with pytest.raises(traces.TracesError, match=r"with traces\.run"):
        traces.overlap([1], [2])


def test_drift_measures_agree_with_their_definitions():
    same = [float(n) for n in range(1000)]
    assert traces.psi(same, same) == pytest.approx(0.0, abs=1e-12)
    assert traces.ks(same, same) == 0.0
    assert traces.ks([0.0, 1.0], [2.0, 3.0]) == 1.0
    assert traces.ks(same, [value + 250 for value in same]) == pytest.approx(0.25)
    assert traces.psi(same, [value + 400 for value in same]) > traces.PSI_LIMIT


def test_a_metric_that_was_not_measured_or_is_no_number_breaks_its_rule():
    rule = {"metric": "eval/accuracy", "at_least": 0.9}
    assert traces._broken(rule, {}) == "eval/accuracy was not measured"
    assert "below" in traces._broken(rule, {"eval/accuracy": float("nan")})
    assert traces._broken(rule, {"eval/accuracy": 0.9}) == ""
