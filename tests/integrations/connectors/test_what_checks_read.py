"""From a real repository and from the bytes of reports to findings: connectors and checks mean the same by a word."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from integrations.connectors.git import connect
from integrations.connectors.report_files import report_rows
from maturity.assembly import assemble
from maturity.checks import measure_check
from maturity.examples import AS_OF
from maturity.facts import TABLES, Part, Reading, Statement, StreamReading
from maturity.keyed import DAY
from maturity.populations import Populations
from maturity.schema import load_model
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.git_server import Repository

MODEL = load_model()
FILES = {
    "datasheet.md": "# Data\n## Source\nx\n## Licence\ny\n## Permitted use\nz\n",
    "schemas/patients.json": "{}",
    "preprocess.py": "x = 1\n",
    "src/train.py": "from src.transforms import scale\n",
    "src/serve.py": "from src import transforms\n",
    "src/transforms.py": "def scale(x): return x\n",
    "dvc.yaml": "stages:\n  clean:\n    cmd: a\n  train:\n    cmd: b\n",
    "tests/test_transforms.py": (
        "def test_transform_of_an_empty_batch_keeps_its_shape(): assert transform([]).shape\n"
        "def test_transform_of_a_constant_image(): pass\n"
        "def test_loss(): assert loss(1) == 1\n"
    ),
    "tests/test_loader.py": "def test_loader(): assert loader.dtype and loader.shape and loader.unit\n",
    ".github/workflows/ci.yml": (
        "on:\n  pull_request:\n  schedule:\n  - cron: '0 3 * * 1'\njobs:\n  tests:\n    steps:\n"
        "    - run: pytest\n    - run: gitleaks detect\n    - run: python smoke_train.py --smoke\n"
        "    - run: python reproduce.py --case all\n"
    ),
    "cases/mnist/case.yaml": "name: mnist\n",
}
MET = (
    *("DG1.2.2/2", "DG2.2.1/1", "DG4.1.1/1", "DG4.2.1/1", "DG4.3.1/1", "DG4.3.2/2"),
    *("DG5.3.2/1", "MD1.5.1/3", "MD6.1.1/1"),
)


def finding(tables, key, project=None):
    streams = sorted({table.stream for table in TABLES.values()} - {"projects"})
    readings = tuple(StreamReading(stream, Reading.READ) for stream in streams)
    part = Part("s", Statement("test", "http://x.test", AS_OF - DAY, AS_OF - DAY, readings), tables)
    world = Populations(MODEL, assemble([part], TABLES["projects"].empty()), AS_OF)
    return measure_check(world, MODEL.checks[key], project)


def frames(rows):
    return {name: TABLES[name].frame(found) for name, found in rows.items() if found}


@pytest.fixture(scope="module")
def repository_tables(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("git")
    repository = Repository(folder / "served" / "lungs.git")
    repository.commit(FILES)
    repository.commit({"README.md": "x"})
    sink = Recorder()
    kept, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        address = str(repository.folder)
        statement = connect({"base_url": address}, folders=(address,)).collect(sink)
    finally:
        tempfile.tempdir = kept
    assert statement.complete
    row = {**sink.tables["repositories"][0], "read_at": AS_OF - DAY}  # as if read when the examples are measured
    return frames({**sink.tables, "repositories": [row]})


@pytest.mark.parametrize("key", MET)
def test_a_repository_that_does_what_a_check_asks_meets_it(repository_tables, key):
    found = finding(repository_tables, key)
    assert (found.value, found.n) == (1, 1), found


@pytest.mark.parametrize("key", ["MD6.2.2/1", "MD6.3.2/1", "MD6.5.1/1"])
def test_a_repository_that_does_not_is_not_credited(repository_tables, key):
    assert not finding(repository_tables, key).value


@pytest.mark.parametrize("key", sorted(c.key for c in MODEL.checks.values() if c.kind == "pipeline"))
def test_the_examples_of_a_pipeline_check_come_out_alike_as_files_in_the_published_format(key):
    check = MODEL.checks[key]
    for example in check.examples:
        if example["case"] not in ("met", "not_met", "near_miss") or "projects" in example:
            continue
        rows = {"reports": [], "report_values": []}
        for number, given in enumerate(example["reports"]):
            table = [{k: v for k, v in r.items() if k != "times"} for r in given.get("rows", ()) for _ in _times(r)]
            report = {"dlemm_report": "1", "kind": given["kind"], "made_at": AS_OF + given.get("day", -10) * DAY}
            report |= {"values": given.get("values", {}), "rows": table, "number": number}
            parsed = report_rows(json.dumps(report).encode(), "a.json")
            rows["reports"] += parsed.reports
            rows["report_values"] += parsed.values
        outcome, _, value = example["expect"].partition(" ")
        assert finding(frames(rows), key).value == int(value), (example["case"], outcome)


def _times(row):
    return range(row.get("times", 1))
