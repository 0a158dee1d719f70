"""MD6 of the model: the repository, its reviews and tests, and what its jobs and imports tell.

Code, reviews and tests lie in the repository (``ladder.repository``), which is written before the stories are told.
Here its jobs become runs, reports and rows of continuous integration, and what is measured is written up.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from statistics import mean, median
from typing import Any

from integrations.reference.ladder.book import Run
from integrations.reference.ladder.repository import NAME, ci_jobs
from integrations.reference.ladder.repository_checks import Job
from integrations.reference.ladder.scene import Scene, Whole

LONGEST_FUNCTION = 40
"""Lines; a longer one is an item of debt."""
COVERAGE_TARGET, PASS_TARGET = 0.7, 0.9
"""As ``quality-targets.yaml`` of the repository says."""
_MONTH_MS = 30 * 86_400_000


def perform(scene: Scene) -> None:
    """A project does nothing of its own here: its part of the repository is there, and its jobs are shared."""


def perform_once(whole: Whole) -> None:
    """Publish what the jobs of the repository gave."""
    if whole.repository is None:
        return
    jobs = ci_jobs(whole.repository)
    if "MD6.3.1" in whole.rungs:
        _smoke(whole, jobs)
    if "MD6.4.1" in whole.rungs:
        _quality(whole, whole.repository, [job for job in jobs if job.name != "usage"])
    if "MD6.5.1" in whole.rungs:
        _reuse(whole, whole.repository)


def _smoke(whole: Whole, jobs: list[Job]) -> None:
    """The newest smoke training of each project as a run with the report that says which job made it."""
    newest = [job for job in jobs if job.name == "smoke_training"][-1]
    results = json.loads(next(line for line in newest.said.splitlines() if line.startswith("{")))
    for project, values in results.items():
        if project in whole.scenes:
            run = _run(whole, project, "ci-smoke", "smoke training", newest.at, newest.seconds)
            run.tags["dlemm.ci.run"] = newest.run
            run.metrics({f"smoke/{name.replace('/', '_')}": value for name, value in values.items()})
            job = {"job": newest.name, "run": newest.run, "commit": newest.commit}
            run.report("eval", {"ci": job, "metrics": values})


def _run(whole: Whole, project: str, key: str, name: str, at: int, seconds: float) -> Run:
    end = min(at + max(2000, round(seconds * 1000)), whole.calendar.now)
    run = whole.scenes[project].book.run(key, name, start_at=at, end_at=end)
    run.tags["dlemm.stage"] = "ci"
    return run


def _quality(whole: Whole, repository: Path, jobs: list[Job]) -> None:
    """Rows of every job that ran, and the report on the last three months."""
    for job in jobs:
        whole.book.ci_runs.append(
            {
                "ci_run": job.run,
                "repository": NAME,
                "project": None,
                "job": job.name,
                "commit": job.commit,
                "status": "passed" if job.passed else "failed",
                "at": job.at,
                "seconds": job.seconds,
                "coverage": job.coverage,
            }
        )
    months = [_month(whole, jobs, number) for number in (2, 1, 0)]
    debt = _debt(repository)
    tests = [job for job in jobs if job.name == "tests"]
    facts = {
        "runs": len(jobs),
        "rate": mean(job.passed for job in jobs),
        "coverage": tests[-1].coverage,
        "tests": tests[-1].tests,
        "seconds": median(job.seconds for job in tests),
        "table": "\n".join(months),
        "debt_count": len(debt),
        "debt": "\n".join(f"- {one}" for one in debt) or "- none",
        "longest": LONGEST_FUNCTION,
        "coverage_target": COVERAGE_TARGET,
        "rate_target": PASS_TARGET,
        "action": _action(tests[-1].coverage or 0.0, debt),
    }
    evidence = tuple(f"ci:{job.run}" for job in tests)
    whole.book.document("MD6.4.1", dated=whole.calendar.at(-1.0), facts=facts, evidence=evidence)


def _month(whole: Whole, jobs: list[Job], ago: int) -> str:
    """One row of the table of months, counted back from now."""
    inside = [job for job in jobs if (whole.calendar.now - job.at) // _MONTH_MS == ago]
    rates = [job.coverage for job in inside if job.coverage is not None]
    passed, coverage = sum(job.passed for job in inside), f"{rates[-1]:.0%}" if rates else "not measured"
    changes = len({job.place for job in inside})
    return f"| {ago * 30} to {ago * 30 + 30} days ago | {changes} | {len(inside)} | {passed} | {coverage} |"


def _debt(repository: Path) -> list[str]:
    """Functions of components, projects and training loop that are longer than agreed."""
    found = []
    files = [*repository.glob("components/*.py"), *repository.glob("projects/*/*.py")]
    for file in sorted([*files, repository / "integrations" / "reference" / "engine.py"]):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef) and (lines := (node.end_lineno or 0) - node.lineno) > LONGEST_FUNCTION:
                found.append(f"{file.relative_to(repository).as_posix()}: {node.name}, {lines} lines")
    return found


def _action(coverage: float, debt: list[str]) -> str:
    if coverage < COVERAGE_TARGET:
        return f"Coverage of {coverage:.0%} misses its target: the next change adds tests of the projects."
    if debt:
        return f"The first item of debt ({debt[0]}) is split in the next change."
    return "No target was missed; the targets stay as they are until the next report."


def _reuse(whole: Whole, repository: Path) -> None:
    """How often each project imports each component, as the repository's own program counted it."""
    counted: dict[str, Any] = json.loads((repository / "component-usage.json").read_text(encoding="utf-8"))
    own, shared = (_lines(repository.glob(pattern)) for pattern in ("projects/*/*.py", "components/*.py"))
    evidence, rows = [], []
    for project, scene in sorted(whole.scenes.items()):
        at = scene.calendar.at(-1.5)
        counts = counted["projects"].get(project, {})
        run = _run(whole, project, "component-usage", "component usage", at, 0.0)
        run.metrics({f"reuse/{name}": float(count) for name, count in counts.items()})
        run.artifacts["component-usage.json"] = json.dumps({project: counts}, indent=1).encode()
        rows.append(f"| {project} | {', '.join(f'{name} {count}' for name, count in counts.items())} |")
        evidence.append(f"{project}/component-usage#component-usage.json")
    facts = {
        "rows": "\n".join(rows),
        "unused": ", ".join(counted["not_imported_by_a_project"]) or "none",
        "own_lines": own,
        "shared_lines": shared,
        "share": shared / (own + shared),
        "days": _days_to_baseline(whole),
    }
    whole.book.document("MD6.5.1", dated=whole.calendar.at(-1.0), facts=facts, evidence=tuple(evidence))


def _lines(files: Any) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def _days_to_baseline(whole: Whole) -> str:
    """Days from the start of each project to its first baseline, where the start is on record."""
    told = []
    for project, scene in sorted(whole.scenes.items()):
        started = scene.book.record.get("started_at")
        if started is not None and scene.baseline is not None:
            told.append(f"{project} {(scene.baseline.start_at - started) / 86_400_000:.1f}")
    return ", ".join(told) or "no start on record"
