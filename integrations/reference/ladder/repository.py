"""The repository of the ladder: a real git repository with the code that runs and what each rung asks of it.

Takes the rungs and the calendar; writes commits and merges dated by the calendar, in the name of role accounts. Before
a change is merged it is checked out and its jobs are run (``repository_checks``). Files of practices that are not done
are left out.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import version
from pathlib import Path
from string import Template

from integrations.reference.errors import PipelineError
from integrations.reference.ladder.calendar import Calendar
from integrations.reference.ladder.repository_checks import Checks, Job, kept_folder
from integrations.reference.ladder.repository_history import Commit, Tree, write
from integrations.reference.ladder.rungs import Rungs
from integrations.reference.stories import KEYS, find_story

NAME = "reference-projects"
SHARED = "reference-components"
"""The package of the shared components as dependency lists name it; its modules are imported as ``components``."""
TRAINER, APPROVER = (
    ("reference-trainer", "trainer@reference.invalid"),
    ("reference-approver", "approver@reference.invalid"),
)
TEMPLATES = Path(__file__).parent / "repository_tree"
ROOT = Path(__file__).parents[3]

TOGETHER = 2
"""Jobs of one change that run at once."""

DONE_BY: Mapping[str, str] = {
    "components/transforms.py": "DG4.1.1",
    "projects/*/preprocess.py": "DG4.1.1",
    "components/serving.py": "DG4.2.1",
    "projects/*/serve.py": "DG4.2.1",
    "tests/test_serving.py": "DG4.2.1",
    "projects/*/datasheet.md": "DG1.2.2",
    "projects/*/expectations/*": "DG2.2.1",
    "projects/*/pipeline.yaml": "DG4.3.1",
    "tests/test_transforms_edges.py": "DG4.3.1",
    "tests/test_loader.py": "DG4.3.2",
    "components/secret_scan.py": "DG5.3.2",
    "tests/test_secret_scan.py": "DG5.3.2",
    ".github/workflows/secrets.yml": "DG5.3.2",
    "cases/*": "MD1.5.1",
    "library/*": "MD1.5.1",
    ".github/workflows/reproduction.yml": "MD1.5.1",
    "tests/test_transforms.py": "MD6.2.2",
    "tests/test_loss.py": "MD6.2.2",
    "results/*": "MD6.2.2",
    ".github/workflows/tests.yml": "MD6.3.1",
    ".github/branch-protection.yaml": "MD6.3.1",
    "components/smoke.py": "MD6.3.1",
    "projects/*/.project-template": "MD6.3.2",
    "projects/*/pyproject.toml": "MD6.3.2",
    "components/pyproject.toml": "MD6.3.2",
    "tests/test_template.py": "MD6.3.2",
    "quality-targets.yaml": "MD6.4.1",
    "components/usage.py": "MD6.5.1",
    "component-usage.json": "MD6.5.1",
}
"""Which practice puts a file into the repository; the rest is there at every step."""
_COUNTS_AS: Mapping[str, str] = {
    "*expectation*.py": "DG2.2.1",
    "*schema*.py": "DG2.2.1",
    "*augment*.py": "DG4.1.1",
    "*features.py": "DG4.1.1",
    "*transform*.py": "DG4.1.1",
    "*prepar*.py": "DG4.1.1",
    "*/cases/*": "MD1.5.1",
}
"""Program files of the product that would pass for the work of a practice, by their names; left out with it."""
CHANGES = (
    (-24.4, "Train the projects by shared components"),
    (-11.0, "Order the steps of the pipelines and test them at their edges"),
    (-7.0, "Serve by the transform of training, scan for secrets"),
    (-2.0, "Keep cases, component usage and targets"),
)
"""Weeks and titles of the merged changes; what they bring says ``_change_of``."""
_BROUGHT_BY: Mapping[int, tuple[str, ...]] = {
    0: ("integrations/*", "README.md", "pyproject.toml", "requirements.lock"),
    2: ("projects/*/pipeline.yaml", "tests/test_transforms_edges.py", "tests/test_loader.py"),
    3: ("*serv*", "*secret*"),
    4: ("cases/*", "library/*", "*reproduction*", "*usage*", "quality-targets.yaml", "results/*"),
}


class ChangeRefusedError(PipelineError):
    """A change whose jobs do not pass, so it is not merged and there is no repository."""


def build(
    folder: Path, rungs: Rungs, calendar: Calendar, *, projects: Sequence[str] = KEYS, kept: Path | None = None
) -> str:
    """Write the repository into an empty folder; gives the commit that the trainings ran from.

    ``kept`` keeps what the jobs gave, by content; it is the folder's name with ``-checks`` unless told otherwise.
    Raises ``ChangeRefusedError`` when a job of a change fails, since such a change is not merged.
    """
    checks = Checks(kept or kept_folder(folder), folder)
    commits = list(_commits(rungs, calendar, files(rungs, projects), checks))
    if "MD6.1.1" not in rungs:
        commits = [Commit("Import the code of the projects", TRAINER, commits[0].at, commits[-1].tree)]
    hashes = write(folder, commits)
    checks.keep(hashes)
    return hashes[min(2, len(hashes) - 1)]


def ci_jobs(folder: Path) -> list[Job]:
    """Every job that was run for the changes of a repository, oldest first."""
    return Checks(kept_folder(folder), folder).jobs()


def sources(folder: Path, projects: Sequence[str] = KEYS) -> dict[str, dict[str, str]]:
    """Settings of the git sources that read the repository, by name: one for each project that lives in it."""
    return {
        f"git-{project}": {"base_url": str(folder), "name": NAME, "project": project, "shared_packages": SHARED}
        for project in projects
    }


def practices() -> frozenset[str]:
    """Every practice that decides what the repository holds."""
    return frozenset({*DONE_BY.values(), *_COUNTS_AS.values(), "MD6.1.1", "MD6.2.1"})


def files(rungs: Rungs, projects: Sequence[str]) -> Tree:
    """Every file of the repository but the results of its own tests, by path."""
    tree = {path: content for path, content in _templates(rungs, projects) if _wanted(path, rungs)}
    for path in sorted(_program_files()):
        name = path.relative_to(ROOT).as_posix()
        if all(practice in rungs for pattern, practice in _COUNTS_AS.items() if fnmatch(name, pattern)):
            tree[name] = path.read_bytes()
    return tree


def asked_by(path: str) -> frozenset[str]:
    """The practices that put a file into the repository; none for what is always there."""
    return frozenset(practice for pattern, practice in DONE_BY.items() if fnmatch(path, pattern))


def _wanted(path: str, rungs: Rungs) -> bool:
    return all(practice in rungs for practice in asked_by(path))


def _templates(rungs: Rungs, projects: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    whole = {"first": projects[0], "projects": ", ".join(projects), "lock": _lock()}
    for file in sorted(TEMPLATES.rglob("*.tmpl")):
        name = file.relative_to(TEMPLATES).as_posix().removesuffix(".tmpl")
        text = _of_rungs(file.read_text(encoding="utf-8"), rungs)
        if "_project_" not in name:
            yield name, Template(text).safe_substitute(whole).encode()
            continue
        for project in projects:
            facts = {**whole, **_facts(project)} if "$" in text else {}
            yield name.replace("_project_", project), Template(text).safe_substitute(facts).encode()


def _of_rungs(text: str, rungs: Rungs) -> str:
    """Lines marked ``#@PRACTICE`` stay where it is done, those marked ``#@!PRACTICE`` where it is not."""
    kept = []
    for line in text.splitlines(keepends=True):
        body, mark, practice = line.rstrip("\n").partition("  #@")
        if not mark:
            kept.append(line)
        elif (practice.removeprefix("!") in rungs) is not practice.startswith("!"):
            kept.append(body + "\n")
    return "".join(kept)


def _facts(project: str) -> dict[str, str]:
    story = find_story(project)
    return {
        "project": project,
        "title": story.title,
        "source": story.source,
        "modality": story.modality,
        "unit": story.unit,
        "shape": json.dumps(list(story.shape)),
        "classes": str(story.classes),
        "last_class": str(story.classes - 1),
        "licence": story.licence,
        "personal": "personal data" if story.personal_data else "data about nobody",
    }


def _lock() -> str:
    names = ("coverage", "mlflow", "numpy", "pytest", "scikit-learn", "torch")
    return "\n".join(f"{name}=={version(name)}" for name in names)


@cache
def _program_files() -> frozenset[Path]:
    """The product's own program files that tell the stories: engine, stories and ladder, and all they import."""
    base = ROOT / "integrations" / "reference"
    waiting = [base / "engine.py", *(base / "stories").glob("*.py"), *(base / "ladder").rglob("*.py")]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file)
    return frozenset(found)


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("integrations"):
            for name in (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)):
                parts = name.split(".")
                modules = [ROOT.joinpath(*parts).with_suffix(".py")]
                modules += [ROOT.joinpath(*parts[:end]) / "__init__.py" for end in range(1, len(parts) + 1)]
                yield from (module for module in modules if module.is_file())


def _change_of(path: str) -> int:
    """The change that brings a file; 0 is the first commit."""
    found = (number for number, patterns in _BROUGHT_BY.items() if any(fnmatch(path, one) for one in patterns))
    return next(found, 1)


def _commits(rungs: Rungs, calendar: Calendar, whole: Tree, checks: Checks) -> Iterator[Commit]:
    """The first commit, then of each change the change itself and its merge."""
    begun = _until(whole, 0)
    yield Commit("Begin with the training loop and the stories", TRAINER, calendar.at(-24.6), begun)
    for number, (week, title) in enumerate(CHANGES, start=1):
        tree, place = _until(whole, number), 2 * number - 1
        with ThreadPoolExecutor(TOGETHER) as pool:
            begun_jobs = [
                pool.submit(checks.run, job, tree, place=place, at=calendar.at(week, hours=3.0 + hour))
                for hour, job in enumerate(_jobs(rungs, number, tree))
            ]
        jobs = [job.result() for job in begun_jobs]
        if failed := [job for job in jobs if not job.passed]:
            raise ChangeRefusedError(f"job {failed[0].name} of change {number} failed:\n{failed[0].said[-2000:]}")
        if number == len(CHANGES):
            tree |= _written_by_jobs(rungs, tree, jobs, checks)
        yield Commit(title, TRAINER, calendar.at(week), tree, (max(0, place - 1),))
        message = f"Merge pull request #{number} from {TRAINER[0]}/change-{number}\n\n{title}\n"
        yield Commit(message + _review(rungs, jobs), APPROVER, calendar.at(week, hours=8.0), tree, (place - 1, place))


def _until(whole: Tree, number: int) -> Tree:
    """The files that are there after a change, and the list of changes up to it."""
    titles = "".join(f"- {title}\n" for _, title in CHANGES[:number])
    tree = {path: content for path, content in whole.items() if _change_of(path) <= number}
    return tree | {"CHANGELOG.md": f"# Changes\n\n{titles}".encode()}


def _jobs(rungs: Rungs, number: int, tree: Tree) -> list[str]:
    """Jobs that are run for a change."""
    wanted = {
        "tests": rungs.step > 1 and any(path.startswith("tests/") for path in tree),
        "smoke_training": "MD6.3.1" in rungs,
        "secrets_scan": "DG5.3.2" in rungs and number > 2,
        "reproduction": "MD1.5.1" in rungs and number == len(CHANGES),
    }
    return [job for job, run in wanted.items() if run]


def _review(rungs: Rungs, jobs: Sequence[Job]) -> str:
    """What the second role account writes into a merge after the jobs passed."""
    if "MD6.2.1" not in rungs:
        return ""
    told = ", ".join(f"{job.name} passed" + (f" ({job.tests} tests)" if job.tests else "") for job in jobs)
    checked = told or "there is no test yet"
    return f"\nChecked in a clean checkout: {checked}.\n\nReviewed-by: {APPROVER[0]} <{APPROVER[1]}>\n"


def _written_by_jobs(rungs: Rungs, tree: Tree, jobs: Sequence[Job], checks: Checks) -> Tree:
    """Files that programs of the repository write: results of its tests, and how often its components are used."""
    found: Tree = {}
    if "MD6.2.2" in rungs:
        for job in jobs:
            found |= {path: text.encode() for path, text in job.files.items()}
    if "MD6.5.1" in rungs:
        counted = checks.run("usage", tree, place=2 * len(CHANGES) - 1, at=0)
        found["component-usage.json"] = counted.said.encode()
    return found
