"""The project skeleton: what it refuses, that its own tests pass, and what its first pipeline run scores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mlflow")

from integrations.connectors.git import GitConnector, parse
from integrations.reference import skeleton
from integrations.reference.__main__ import main
from integrations.reference.skeleton import RefusedProjectError, write
from maturity import pack
from maturity.answers import Answers
from maturity.facts import TABLES, Part
from maturity.schema import load_model
from tests.integrations.connectors.recorder import Recorder, collected

pytestmark = pytest.mark.torch

PROJECT = "shop-digits"
MET = frozenset(
    {
        *("DG1.1.1", "DG1.2.1", "DG1.3.1", "DG1.3.2", "DG2.1.1", "DG2.2.1", "DG2.2.2", "DG2.3.1", "DG4.1.1", "DG4.2.1"),
        *("DG4.3.1", "DG5.3.2", "DO1.2.1", "DO1.2.2", "DO1.3.1", "DO1.3.2", "DO2.2.1", "DO2.2.2", "DO4.2.2", "DO4.3.2"),
        *("DO5.2.1", "DO6.2.2", "MD1.2.2", "MD1.3.1", "MD2.2.1", "MD2.2.2", "MD3.2.1", "MD4.2.2", "MD4.3.1"),
        *("MD4.3.2", "MD5.2.1"),
    }
)
"""Practices that the first run of the pipeline meets without any person or calendar week."""
HALF = {
    "DG1.4.1": "every version has its lineage, nobody has drilled it",
    "DG1.2.2": "the datasheet is there, nobody has reviewed the licence",
    "DG2.3.2": "the share of subgroups is logged, nobody has judged the coverage",
    "DG4.3.2": "contract tests and manifest are there, nobody has dated the loader standard",
    "MD4.2.1": "the primary metric is measured, nobody has said why it serves the goal",
    "MD6.3.1": "continuous integration is configured and has not run yet",
}
"""Practices that are met by half: a machine shows its part, a person has not yet."""
GAPS = {
    "DO3.2.1": "no week of service yet",
    "DO4.2.1": "no full week of drift metrics yet",
    "MD2.3.1": "no ablation",
    "MD6.2.1": "no merged change yet",
    "MD3.2.2": "one network was logged, five are asked for",
}
"""The honest rest, by example: what a folder of files cannot have done."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A skeleton under git, with the identity of whoever made it."""
    made = tmp_path_factory.mktemp("skeleton") / PROJECT
    assert main(["new", PROJECT, "--folder", str(made)]) == 0
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        identity = ["-c", "user.name=trainer", "-c", "user.email=trainer@example.invalid"]
        subprocess.run(["git", *identity, *command], cwd=made, check=True)
    return made


def child(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the skeleton with nothing of this process but where programs are."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", **settings}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "shop_digits", "../shop", "shop--x", "a" * 61, "shop\n"])
def test_a_bad_name_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(RefusedProjectError, match="no name of a project"):
        write(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_is_refused_and_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert main(["new", "shop", "--folder", str(tmp_path)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["new", "shop", "--folder", str(tmp_path / "file" / "x")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_no_placeholder_is_left(folder):
    for path, _ in skeleton.templates():
        text = (folder / path).read_text("utf-8")
        assert "$project" not in text
        assert "$lock" not in text


def test_every_requirement_has_an_exact_version(folder):
    lines = (folder / "requirements.lock").read_text("utf-8").split()
    assert {line.partition("==")[0] for line in lines} >= {"mlflow", "numpy", "torch", "scikit-learn", "pytest"}
    assert all(line.partition("==")[2] for line in lines)


def test_its_own_tests_pass(folder):
    done = child(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "24 passed" in done.stdout


def scored(url: str, folder: Path) -> dict[str, float]:
    """Rating of every practice: server and repository collected, measured and scored by the ordinary road."""
    sink, statement = collected(url)
    parts = [Part("mlflow", statement, {name: sink.frame(name) for name, rows in sink.tables.items() if rows})]
    sink = Recorder()
    settings = {"base_url": str(folder), "name": PROJECT, "project": PROJECT}
    read = GitConnector(parse(settings, folders=[str(folder)])).collect(sink)
    parts.append(Part("git", read, {name: sink.frame(name) for name, rows in sink.tables.items() if rows}))
    project = {"project": PROJECT, "name": PROJECT, "idea_at": None, "started_at": None}
    project |= {"experiments": f'["{PROJECT}"]', "models": f'["{PROJECT}"]'}
    card = pack.compute(
        pack.Inputs(
            model=load_model(),
            parts=tuple(parts),
            projects=TABLES["projects"].frame([project]),
            answers=Answers(),
            parameters=pack.Parameters(as_of=max(statement.finished_at, read.finished_at)),
        )
    )
    practices = [result for capability in card.capabilities for result in capability.practices]
    return {result.practice: float(result.values.rated) for result in practices if result.values}


@pytest.mark.server
def test_its_first_run_shows_the_expected_practices_and_the_honest_rest(folder, mlflow_server):
    waiting = child(folder, "run.py", MLFLOW_TRACKING_URI=mlflow_server.url)
    assert waiting.returncode == 0, waiting.stderr[-3000:]
    assert "waits for --approved-by" in waiting.stdout
    for step in ("release.py", "monitor.py"):
        done = child(folder, step, MLFLOW_TRACKING_URI=mlflow_server.url, APPROVED_BY="second person")
        assert done.returncode == 0, done.stderr[-3000:]
    rated = scored(mlflow_server.url, folder)
    assert {name: rated[name] for name in MET if rated[name] < 0.85} == {}
    assert {name: rated[name] for name in HALF if not 0.15 < rated[name] < 0.85} == {}
    assert {name: rated[name] for name in GAPS if rated[name] > 0.15} == {}
    above = [name for name in rated if int(name.split(".")[1]) > 3 and rated[name] >= 0.85]
    assert above == []
