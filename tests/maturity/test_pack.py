from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from maturity import pack
from maturity.answers import parse_answers
from maturity.facts import TABLES, Part, Reading, Statement, StreamReading
from maturity.schema import load_model

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_700_000_000_000
STREAMS = ("experiments", "runs", "logged_models", "artifacts", "registry")


def tables() -> dict[str, pd.DataFrame]:
    runs = [
        {
            "run": f"r{n}",
            "experiment": "1",
            "name": "same name",
            "status": "FINISHED",
            "lifecycle": "active",
            "start_at": NOW - n,
        }
        for n in range(8)
    ]
    tags = [{"run": f"r{n}", "key": "dlemm.stage", "value": "train"} for n in range(8)]
    tags += [{"run": f"r{n}", "key": "mlflow.source.git.commit", "value": "c" * 40} for n in range(6)]
    metrics = [{"run": "r0", "key": "val/loss", "value": float("nan")}, {"run": "r1", "key": "val/loss", "value": 0.5}]
    rows = {"runs": runs, "run_tags": tags, "run_metrics": metrics}
    rows["experiments"] = [{"experiment": "1", "name": "fraud", "lifecycle": "active"}]
    return {name: TABLES[name].frame(content) for name, content in rows.items()}


@pytest.fixture(scope="module")
def inputs() -> pack.Inputs:
    model = load_model()
    statement = Statement(
        "mlflow", "http://mlflow.example", NOW - 5, NOW, tuple(StreamReading(s, Reading.READ) for s in STREAMS)
    )
    return pack.Inputs(
        model=model,
        parts=(Part("mlflow", statement, tables()),),
        projects=TABLES["projects"].frame([{"project": "fraud", "name": "Fraud", "experiments": '["fraud*"]'}]),
        answers=parse_answers("claims: {DG1.1.1: F}", "answers.yaml", model),
        parameters=pack.Parameters(as_of=NOW + 1000),
    )


@pytest.fixture(scope="module")
def content(inputs: pack.Inputs) -> bytes:
    return pack.write(inputs, pack.compute(inputs))


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
    return subprocess.run(
        [sys.executable, "-m", "maturity", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_a_pack_verifies_and_equal_inputs_give_equal_bytes(inputs: pack.Inputs, content: bytes) -> None:
    assert pack.verify(content).ok
    assert pack.write(inputs, pack.compute(inputs)) == content


def test_what_a_pack_holds_is_what_went_in(inputs: pack.Inputs, content: bytes) -> None:
    read, scorecard = pack.read(content)
    assert read.answers == inputs.answers
    assert read.parameters == inputs.parameters
    assert read.model.digest == inputs.model.digest
    assert scorecard == pack.compute(inputs)


def test_any_changed_byte_is_found(content: bytes) -> None:
    places = random.Random(1).sample(range(len(content)), 60)
    places += [0, len(content) - 1, len(content) // 2]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        try:
            faults = pack.verify(bytes(changed)).faults
        except pack.PackError as error:
            faults = (str(error),)
        assert faults, f"byte {place} was changed and nobody noticed"


def rewritten(content: bytes, name: str, change: object) -> bytes:
    """The pack with one member replaced and every hash made to fit again, as a forger would."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {n: archive.read(n) for n in archive.namelist() if n != "manifest.json"}
    members[name] = change(members[name])  # type: ignore[operator]
    members["manifest.json"] = pack._manifest(members)
    return pack._container(members)


def test_a_result_that_does_not_follow_from_the_facts_is_found_even_with_fitting_hashes(content: bytes) -> None:
    def better(result: bytes) -> bytes:
        data = json.loads(result)
        data["confidence"] = "1/1"
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    faults = pack.verify(rewritten(content, "result.json", better)).faults
    assert faults == ("result.json is not what the facts, answers and parameters in this pack give",)


def test_a_consistent_forgery_has_another_id(content: bytes) -> None:
    def later(parameters: bytes) -> bytes:
        return parameters.replace(str(NOW + 1000).encode(), str(NOW + 2000).encode())

    forged = rewritten(content, "parameters.json", later)
    assert "this is another pack" in pack.verify(forged, expected_id=pack.pack_id(content)).faults[0]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (b"", "cannot be read as an evidence pack"),
        (b"PK" + bytes(200), "cannot be read as an evidence pack"),
        (b"no zip at all", "cannot be read as an evidence pack"),
    ],
)
def test_something_else_is_refused_in_the_users_words(broken: bytes, told: str) -> None:
    with pytest.raises(pack.PackError, match=told):
        pack.verify(broken)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (zipped({"../../etc/passwd": b"x"}), "does not belong there"),
        (zipped({"facts/a/../../x.parquet": b"x"}), "does not belong there"),
        (zipped({"manifest.json": bytes(10_000_000)}, zipfile.ZIP_DEFLATED), "compressed member"),
        (zipped({"result.json": b"{}"}), "no manifest.json"),
    ],
)
def test_a_hostile_pack_is_refused(hostile: bytes, told: str) -> None:
    with pytest.raises(pack.PackError, match=told):
        pack.verify(hostile)


def test_members_that_overlap_are_refused() -> None:
    whole = bytearray(zipped({"model/a.yaml": bytes(1000), "model/b.yaml": bytes(1000)}))
    directory = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", directory + 4)
    for place in (directory, second):  # both members claim more than the file holds
        whole[place + 20 : place + 28] = (2000).to_bytes(4, "little") * 2
    with pytest.raises(pack.PackError, match="overlap"):
        pack.verify(bytes(whole))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("parameters.json", lambda text: text.replace(str(NOW + 1000).encode(), b"1000000000000000000")),
        ("parameters.json", lambda text: b"[" * 100_000),
        ("projects.json", lambda text: b"null\n"),
        ("answers.json", lambda text: b'{"claims":[{"practice":"ZZ1.1.1","code":"F"}]}\n'),
    ],
)
def test_inputs_that_make_no_sense_are_refused_in_one_sentence(content: bytes, name: str, change: object) -> None:
    with pytest.raises(pack.PackError):
        pack.verify(rewritten(content, name, change))


def test_a_manifest_written_in_another_way_is_found(content: bytes) -> None:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members["manifest.json"] = members["manifest.json"].replace(b'{"format"', b'{ "format"')
    assert "manifest.json was altered" in pack.verify(pack._container(members)).faults[0]


def test_the_command_verifies_offline_without_django(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "result.dlemm"
    file.write_bytes(content)
    good = command("verify", file, "--id", pack.pack_id(content))
    assert good.returncode == 0, good.stderr
    assert "byte for byte" in good.stdout
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    bad = command("verify", file)
    assert bad.returncode in (1, 2)
    assert "altered" in bad.stderr or "cannot be read" in bad.stderr


def test_a_pack_can_be_taken_apart_and_written_again_to_the_same_bytes(tmp_path: Path, content: bytes) -> None:
    file, folder, again = tmp_path / "a.dlemm", tmp_path / "folder", tmp_path / "b.dlemm"
    file.write_bytes(content)
    assert command("unpack", file, folder).returncode == 0
    (folder / "manifest.json").unlink()
    (folder / "result.json").unlink()
    assert command("write", folder, again).returncode == 0
    assert again.read_bytes() == content


@pytest.mark.parametrize(("language", "expected"), [("en", "Level 0"), ("zh", "0 级")])
def test_a_pack_can_be_scored_and_explained_in_either_language(
    tmp_path: Path, content: bytes, language: str, expected: str
) -> None:
    file = tmp_path / "result.dlemm"
    file.write_bytes(content)
    scored = command("score", file, "--language", language)
    assert expected in scored.stdout, scored.stderr
    explained = command("explain", file, "MD1.2.2", "--language", language)
    assert "6" in explained.stdout
    assert "8" in explained.stdout
    assert command("explain", file, "ZZ1.1.1").returncode == 2


def test_a_model_folder_can_be_checked_and_every_fault_is_listed(tmp_path: Path) -> None:
    good = command("check")
    assert good.returncode == 0, good.stderr
    assert "126 practices" in good.stdout
    for name, file in load_model().files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(file)
    for name in ("DG1-provenance.yaml", "MD1-experiments.yaml"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("scope: project", "scope: galaxy", 1))
    bad = command("check", tmp_path)
    assert bad.returncode == 1
    assert "DG1-provenance.yaml: practices[0].scope" in bad.stderr
    assert "MD1-experiments.yaml: practices[0].scope" in bad.stderr
