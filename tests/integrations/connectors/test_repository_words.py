"""Roles, marks, secrets, imports and reviews: what single paths and texts are taken for."""

from __future__ import annotations

import pytest

from integrations.connectors.repository_copy import Commit
from integrations.connectors.repository_history import change_rows, commit_rows
from integrations.connectors.repository_imports import imports, transform_marks
from integrations.connectors.repository_marks import marks_of
from integrations.connectors.repository_roles import Role, role_of
from integrations.connectors.repository_secrets import sightings


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("datasheet.md", Role.DATASHEET),
        ("docs/ct-datasheet.md", Role.DATASHEET),
        (".github/workflows/ci.yml", Role.CI),
        (".gitlab-ci.yml", Role.CI),
        (".pre-commit-config.yaml", Role.HOOKS),
        (".github/settings.yml", Role.PROTECTION),
        ("CODEOWNERS", Role.OWNERS),
        (".copier-answers.yml", Role.TEMPLATE),
        ("component_usage.json", Role.USAGE),
        ("coverage.xml", Role.COVERAGE),
        ("out/junit-1.xml", Role.TEST_RESULT),
        ("dvc.yaml", Role.PIPELINE),
        ("dags/nightly.py", Role.PIPELINE),
        ("cases/ct/notes.md", Role.CASE),
        ("tests/cases/a.json", Role.OTHER),
        ("gx/expectations/a.json", Role.EXPECTATION),
        ("data/schema.yaml", Role.EXPECTATION),
        ("tests/test_train.py", Role.TEST),
        ("uv.lock", Role.LOCK),
        ("dvc.lock", Role.DATA_LOCK),
        ("data/raw.dvc", Role.DATA_LOCK),
        ("requirements-dev.txt", Role.DEPENDENCIES),
        ("deploy/Dockerfile", Role.CONTAINER),
        ("src/preprocess.py", Role.PREPROCESS),
        ("src/train_unet.py", Role.TRAIN),
        ("src/trainer_of_dogs.py", Role.CODE),
        ("serving/app.py", Role.SERVE),
        ("src/transforms/crop.py", Role.TRANSFORM),
        ("src/data_loader.py", Role.LOADER),
        ("src/evaluate.py", Role.EVALUATE),
        ("src/losses.py", Role.MODEL),
        ("README.md", Role.README),
        ("a.ipynb", Role.NOTEBOOK),
        ("a.png", Role.OTHER),
        ("x/" * 600 + "train.py", Role.OTHER),
    ],
)
def test_a_path_has_one_role(path: str, role: Role) -> None:
    assert role_of(path) is role


@pytest.mark.parametrize(
    ("role", "text", "marks"),
    [
        (Role.DATASHEET, "## Source\nlicence: none\n", {"source"}),
        (Role.DATASHEET, "# 数据来源\n## 许可\n## 允许用途\n", {"source", "licence", "permitted_use"}),
        (Role.CI, "on:\n  schedule:\n    - cron: x\njobs: {a: make reproduce}", {"schedule", "reproduction"}),
        (Role.CI, "test:\n  script: [pytest, python train.py --smoke]\n", {"tests", "smoke_training"}),
        (Role.CI, "build:\n  script: echo hello\n", set()),
        (Role.PROTECTION, "required_status_checks: [tests]\n", {"required_checks", "tests"}),
        (Role.CONTAINER, "FROM a@sha256:1 AS b\nFROM b\n", {"digest"}),
        (Role.CONTAINER, "FROM a@sha256:1 AS b\nFROM c\n", set()),
        (Role.DEPENDENCIES, "a==1\nb>=2\n", set()),
        (Role.DEPENDENCIES, "# note\na==1 --hash=sha256:0\n", {"pinned", "hashes"}),
        (Role.DEPENDENCIES, "acme_ml==1\n", {"pinned", "shared:acme-ml"}),
        (Role.DEPENDENCIES, "acme-ml-extra==1\n", {"pinned"}),
        (Role.CODE, "from acme_ml.loaders import x\n", {"shared:acme-ml"}),
        (Role.CODE, "from acme_mlx import x\n", set()),
        (Role.COVERAGE, '<?xml?><coverage branch-rate="0" line-rate="0.839">', {"line_rate:83"}),
        (Role.COVERAGE, '{"totals": {"covered_lines": 1, "percent_covered": 57.0}}', {"line_rate:57"}),
        (Role.COVERAGE, "LF:10\nLH:5\n", {"line_rate:50"}),
        (Role.COVERAGE, "nothing", set()),
        (Role.TEST_RESULT, '<testsuite tests="3" failures="0" errors="0">', {"passed"}),
        (Role.TEST_RESULT, '<testsuite tests="3" failures="1" errors="0">', {"failed"}),
        (Role.PIPELINE, "stages:\n  a:\n    cmd: x\n  b:\n    cmd: y\n", {"steps"}),
        (Role.PIPELINE, "stages:\n  a:\n    cmd: x\n", set()),
    ],
)
def test_a_text_has_the_marks_that_are_written_in_it(role: Role, text: str, marks: set[str]) -> None:
    assert marks_of(role, text, ("acme-ml",)) == marks


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("-----BEGIN RSA " + "PRIVATE KEY-----", "private_key"),
        ("k = AKIA" + "ABCDEFGHIJKLMNOP", "aws_access_key"),
        ("ghp_" + "a1" * 18, "github_token"),
        ("glpat-" + "a1b2c3d4e5" * 2, "gitlab_token"),
        ("xoxb-" + "123456789012-abc", "slack_token"),
        ("api_key = '" + "q9Zx81LmPp02Vv7Trs5" + "'", "assigned_secret"),
        ("postgres://me:" + "hunter22@db.org/x", "address_with_password"),
    ],
)
def test_what_looks_like_a_secret_is_seen_on_its_line(line: str, rule: str) -> None:
    assert list(sightings(f"first\n{line}\n")) == [(2, rule)]


@pytest.mark.parametrize(
    "line",
    ['password = "your-password-goes-here1"', "token = os.environ['A_TOKEN_NAME']", 'secret = "aaaaaaaaaaaaaaaa1"', ""],
)
def test_placeholders_are_no_secrets(line: str) -> None:
    assert list(sightings(line)) == []


def test_endless_blanks_are_no_import_and_end() -> None:
    assert imports("from" + " " * 1_000_000) == []


def test_imports_of_every_form_are_found() -> None:
    text = "import a.b as c, d\nfrom e import (\n  f,  # why\n  g,\n)\nfrom . import h\nfrom ..i import j as k\n"
    assert set(imports(text)) == {"a.b", "d", "e.f", "e.g", "e", ".h", "..i.j", "..i"}


def test_training_and_serving_share_a_transform_through_any_number_of_steps_and_circles() -> None:
    files = {
        "src/p/train.py": (Role.TRAIN, imports("from p import data")),
        "src/p/data.py": (Role.LOADER, imports("from .transforms import x\nfrom . import data")),
        "src/p/transforms.py": (Role.TRANSFORM, imports("from p.data import y")),
        "src/p/serve.py": (Role.SERVE, imports("import acme_ml.transforms.crop")),
    }
    marks = transform_marks(files, ("acme-ml",))
    assert marks["src/p/train.py"] == {"transform:src/p/transforms.py"}
    assert marks["src/p/serve.py"] == {"transform:acme_ml.transforms"}
    assert transform_marks(files)["src/p/serve.py"] == set()


def commit(oid: str, message: str, *parents: str, author: str = "a@x") -> Commit:
    return Commit(oid, parents, ("A", author), 1000, message)


@pytest.mark.parametrize(
    ("message", "parents", "number"),
    [
        ("Merge pull request #12 from x/y", ("p", "q"), "12"),
        ("Merge branch 'x'\n\nSee merge request g/p!34", ("p", "q"), "34"),
        ("Merged in x (pull request #5)", ("p", "q"), "5"),
        ("Merged PR 6: text", ("p",), "6"),
        ("Text (#7)", ("p",), "7"),
        ("Text\n\nSee merge request g/p!8", ("p",), "8"),
    ],
)
def test_a_change_request_is_known_by_the_words_of_its_host(
    message: str, parents: tuple[str, ...], number: str
) -> None:
    [row] = change_rows("r", [commit("m", message, *parents)])
    assert row["number"] == number


def test_a_commit_that_names_no_change_request_is_none() -> None:
    assert change_rows("r", [commit("m", "Fix #7", "p"), commit("n", "Merge branch 'x'", "p", "q")]) == []


def test_only_others_than_the_authors_count_as_reviewers() -> None:
    trailers = "Reviewed-by: A <A@X>\nReviewed-by: B <b@x>\nApproved-by: B <b@x>\nAcked-by: C <c@x>\n"
    one = commit("m", f"Text (#1)\n\n{trailers}Co-authored-by: C <c@x>\n", "p")
    assert commit_rows("r", [one])[0]["reviewers"] == 1
    assert change_rows("r", [one])[0]["approvals"] == 1
    alone = commit("n", "Text (#2)\n\nReviewed-by: A <a@x>\n", "p")
    assert change_rows("r", [alone])[0]["approvals"] == 0


def test_an_approval_that_the_history_cannot_tell_is_missing_and_not_nought() -> None:
    [row] = change_rows("r", [commit("m", "Text (#1)", "p")])
    assert row["approvals"] is None


@pytest.mark.parametrize("bomb", [" ", "\n", " \n", "only: ", "FROM a ", "<coverage ", "from a import (", "a:b@"])
def test_no_pattern_runs_away_on_a_text_made_to_slow_it(bomb: str) -> None:
    text = bomb * (256 * 1024 // len(bomb))
    found = {mark for role in Role for mark in marks_of(role, text, ("acme-ml",))}
    assert found <= {"passed", "pinned", "steps", "coverage"}
    assert list(sightings(text)) == []
