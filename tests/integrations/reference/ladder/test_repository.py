"""The repository of the ladder: a real history, files by rung, and checks that really ran."""

import json
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("torch")

from integrations.connectors.repository_roles import role_of
from integrations.reference.ladder import repository
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.repository import (
    APPROVER,
    CHANGES,
    DONE_BY,
    ChangeRefusedError,
    build,
    ci_jobs,
    files,
)
from integrations.reference.ladder.repository_checks import Checks
from integrations.reference.ladder.repository_history import Commit, write
from integrations.reference.ladder.rungs import Rungs
from tests.integrations.reference.ladder.facts import repository_parts

pytestmark = pytest.mark.torch

CALENDAR = Calendar(1_790_500_000_000)
PROJECTS = ("digits",)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit(tree: dict[str, bytes], **more: object) -> Commit:
    return Commit("Begin", ("a", "a@example.invalid"), 1_790_000_000_000, tree, **more)


def test_the_same_step_gives_the_same_commits(tmp_path):
    first, second = (build(tmp_path / name, Rungs.to(1), CALENDAR, projects=PROJECTS) for name in ("one", "two"))
    assert first == second
    assert git(tmp_path / "one", "rev-parse", "main") == git(tmp_path / "two", "rev-parse", "main")
    assert git(tmp_path / "one", "cat-file", "-t", first) == "commit"
    assert git(tmp_path / "one", "status", "--porcelain") == ""


def test_the_history_is_dated_by_the_calendar_and_merges_name_their_number(tmp_path):
    build(tmp_path / "repository", Rungs.to(1), CALENDAR, projects=PROJECTS)
    merges = git(tmp_path / "repository", "log", "--merges", "--reverse", "--format=%ct %an %s").splitlines()
    assert len(merges) == len(CHANGES)
    for number, (line, (week, _)) in enumerate(zip(merges, CHANGES, strict=True), start=1):
        assert line.startswith(f"{CALENDAR.at(week, hours=8.0) // 1000} {APPROVER[0]} Merge pull request #{number} ")


def test_without_version_control_there_is_no_history(tmp_path):
    build(tmp_path / "repository", Rungs.to(1, ["MD6.1.1"]), CALENDAR, projects=PROJECTS)
    assert git(tmp_path / "repository", "rev-list", "--count", "main") == "1"


@pytest.mark.parametrize("practice", sorted(repository.practices() - {"MD6.1.1", "MD6.2.1"}))
def test_a_practice_that_is_not_done_leaves_out_its_files_and_no_others(practice):
    whole, without = files(Rungs.to(5), PROJECTS), files(Rungs.to(5, [practice]), PROJECTS)
    gone = whole.keys() - without.keys()
    assert without.keys() < whole.keys()
    assert {path for path in gone if not path.startswith("integrations/")} == {
        path for path in whole if practice in repository.asked_by(path)
    }


def test_every_pattern_of_a_practice_fits_a_file():
    whole = files(Rungs.to(5), PROJECTS).keys() | {"results/junit.xml", "component-usage.json"}
    assert not [pattern for pattern in DONE_BY if not any(repository.fnmatch(path, pattern) for path in whole)]


def test_the_code_that_runs_is_the_code_that_is_kept():
    tree = files(Rungs.to(1), PROJECTS)
    own = Path(repository.__file__)
    assert tree["integrations/reference/ladder/repository.py"] == own.read_bytes()
    assert tree["integrations/reference/engine.py"] == (own.parents[1] / "engine.py").read_bytes()
    assert role_of("projects/digits/train.py") == "train"


def test_no_program_of_the_product_passes_for_a_practice_that_is_not_done():
    for practice, roles in {
        "DG2.2.1": {"expectation"},
        "DG4.1.1": {"transform", "preprocess"},
        "MD1.5.1": {"case"},
        "DG4.3.1": {"pipeline"},
    }.items():
        tree = files(Rungs.to(5, [practice]), PROJECTS)
        assert [path for path in tree if role_of(path) in roles] == []


def test_a_line_of_another_rung_is_left_out():
    training = "components/training.py"
    assert b"import transform" in files(Rungs.to(1), PROJECTS)[training]
    without = files(Rungs.to(1, ["DG4.1.1"]), PROJECTS)[training]
    assert b"transform" not in without
    compile(without, training, "exec")


def test_a_job_that_fails_stops_the_merge(tmp_path, monkeypatch):
    broken = {"tests/test_bad.py": b"def test_bad():\n    assert False\n", "pyproject.toml": b"[project]\nname = 'x'\n"}
    monkeypatch.setattr(repository, "files", lambda rungs, projects: dict(broken))
    with pytest.raises(ChangeRefusedError, match="job tests of change 1 failed"):
        build(tmp_path / "repository", Rungs.to(2), CALENDAR, projects=PROJECTS)
    assert not (tmp_path / "repository").exists()


def test_equal_files_are_checked_once_and_other_files_anew(tmp_path):
    tree = {"components/__init__.py": b"", "components/secret_scan.py": b"print('nothing')\n"}
    checks = Checks(tmp_path / "kept", tmp_path / "repository")
    one = checks.run("secrets_scan", tree, place=1, at=0)
    two = checks.run("secrets_scan", {**tree, "README.md": b"told"}, place=3, at=1)
    assert (one.passed, one.said) == (True, "nothing\n")
    assert two.seconds == one.seconds
    other = checks.run("secrets_scan", {**tree, "components/secret_scan.py": b"raise SystemExit(1)\n"}, place=3, at=1)
    assert not other.passed
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_folder_that_holds_something_is_no_place_for_a_repository(tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileExistsError):
        write(tmp_path, [commit({"a": b"1"})])


def test_the_checks_of_a_change_are_told_by_its_merge(tmp_path):
    """Step 2 with its real jobs: tests of every change in a child process, reviewed, results committed."""
    folder = tmp_path / "repository"
    build(folder, Rungs.to(2), CALENDAR, projects=PROJECTS)
    jobs = ci_jobs(folder)
    assert [job.name for job in jobs] == ["tests"] * len(CHANGES)
    assert all(job.passed and job.tests >= 6 for job in jobs)
    messages = git(folder, "log", "--merges", "--format=%B")
    assert messages.count(f"Reviewed-by: {APPROVER[0]} <{APPROVER[1]}>") == len(CHANGES)
    assert f"tests passed ({jobs[-1].tests} tests)" in messages
    assert 'failures="0"' in (folder / "results" / "junit.xml").read_text("utf-8")
    assert jobs[-1].coverage is not None
    assert jobs[-1].coverage > 0.5
    [part] = repository_parts(folder, PROJECTS, CALENDAR.now)
    rows = part.tables["repository_files"]
    marks = dict(zip(rows["path"], rows["marks"], strict=True))
    assert marks["results/junit.xml"] == "passed"
    sightings = part.tables.get("secret_sightings", [])
    seen = [] if len(sightings) == 0 else [p for p in sightings["path"] if not p.startswith("integrations/")]
    assert seen == []
    assert json.loads((tmp_path / "repository-checks" / "jobs.json").read_text("utf-8"))[0]["commit"]
