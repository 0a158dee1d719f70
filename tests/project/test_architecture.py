"""The shape of the project: folders, layers, module sizes and names, what the web process loads, what texts may say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.tree import PRODUCT, ROOT, files, modules, shown, texts

TOP_FOLDERS = {".ci", "maturity", "integrations", "assessments", "templates", "tests", "benchmarks"}
TOP_FILES = {"manage.py", "Makefile", "pyproject.toml", ".importlinter", ".gitignore", "README.md", "CHANGELOG.md"}
TOP_FILES |= {"SECURITY.md", "LICENSE", "requirements.txt", "requirements-reference.txt", "requirements-dev.txt"}
MOST_LINES, MOST_FUNCTION_LINES = 400, 40
LONG_FOR_A_REASON = {
    "integrations/traces.py": "one file, so that a team can copy it",
    "maturity/conditions.py": "one short method for each kind of condition, side by side",
    "maturity/scorecard.py": "the values of one tree, which are read together",
}
HEAVY = ("torch", "mlflow", "sklearn", "scipy", "onnxruntime", "optuna", "matplotlib", "pydicom", "uvicorn", "pandas")
HEAVY += ("pyarrow", "typst")


def test_the_repository_has_the_folders_and_files_it_was_designed_with() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in files()}
    assert {name for name in TOP_FOLDERS if not (ROOT / name).is_dir()} == set()
    assert TOP_FILES - found == set()
    unexpected = {name for name in found if (ROOT / name).is_dir()} - TOP_FOLDERS
    assert unexpected == set(), f"new top-level folders {unexpected}: name them here and in the manual"


def test_every_import_keeps_to_the_layers() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_web_process_never_loads_a_training_library() -> None:
    # The whole site is loaded: every page, command and connector module.
    program = f"""
import pkgutil, sys, importlib
from assessments.wsgi import application
from django.urls import get_resolver
from integrations.connectors.base import CONNECTORS
get_resolver().url_patterns
for module in CONNECTORS.values():
    importlib.import_module(module)
print(",".join(name for name in {HEAVY!r} if name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("folder", [*PRODUCT, "benchmarks"])
def test_every_module_says_what_it_is_for(folder: str) -> None:
    silent = [shown(path) for path in modules(folder) if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_no_module_is_named_for_nothing_in_particular() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "core", "services", "selectors", "misc", "manager"}
    assert [shown(path) for path in modules(*PRODUCT, "benchmarks") if path.stem in vague] == []


def test_no_module_is_too_long_to_be_read() -> None:
    long = {shown(path) for path in modules() if _lines(path) > MOST_LINES}
    assert long - LONG_FOR_A_REASON.keys() == set()


def test_no_function_is_too_long_to_be_read() -> None:
    long = [
        f"{shown(path)}: {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MOST_FUNCTION_LINES
    ]
    assert long == []


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-reference.txt", "requirements-dev.txt"])
def test_a_lock_file_pins_everything_with_hashes_and_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    pinned = re.findall(r"^([a-z0-9][a-z0-9._-]*(?:\[[a-z,]+\])?)==", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(pinned) == len(entries) > 0
    assert [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"\w+://|^-{1,2}(?:i|index-url|find-links|extra-index-url)\b", text, re.MULTILINE) == []


def test_torch_is_in_no_lock_file_because_its_builds_differ_by_machine() -> None:
    locks = ROOT.glob("requirements*.txt")
    assert [shown(path) for path in locks if re.search(r"^torch==", path.read_text("utf-8"), re.MULTILINE)] == []


# Written in pieces, so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.~$}:/-])/(?:"
    + "|".join(("wo" + "rk", "ho" + "me", "ro" + "ot", "Us" + "ers"))
    + r")/",
    "something left undone": r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b",
    "a package registry": "|".join(
        ("py" + r"pi\.org", "python" + r"hosted", r"registry\.n" + "pmjs", "download" + r"\.pytorch")
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_names(what: str) -> None:
    assert list(_found(FORBIDDEN[what])) == []


def _found(pattern: str) -> Iterator[str]:
    expression = re.compile(pattern)
    for path in texts():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if expression.search(line):
                yield f"{shown(path)}:{number}: {line.strip()[:80]}"
