"""The evidence pack: one file from which anyone can compute a result again, offline, to identical bytes.

A pack is a plain ZIP (stored, not compressed; fixed dates; members in order of name) with

- ``model/…``            the model's files, byte for byte
- ``facts/<source>/…``   ``statement.json`` and the fact tables as Parquet; what was read later is numbered, from
  ``runs.0002.parquet`` on, and laid over what came before (``batches``)
- ``projects.json``      the projects in scope
- ``answers.json``       claims, verdicts and waivers
- ``parameters.json``    as-of time, weights, whether reference runs count, what the organisation calls things
- ``result.json``        the scorecard
- ``manifest.json``      the SHA-256 of every other member; its own SHA-256 is the *pack id*

``verify`` re-reads, re-measures and re-scores; any changed byte, inside a member or between them, is found.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from maturity import canonical
from maturity.answers import Answers
from maturity.assembly import assemble
from maturity.batches import join
from maturity.facts import TABLES, Facts, Part, Statement
from maturity.indicators import measure_all
from maturity.names import Names
from maturity.reader import ModelError
from maturity.schema import Model, parse_model
from maturity.scorecard import Scorecard, Weights
from maturity.scoring import score

FORMAT = "dlemm-pack/1"
MAX_BYTES = 4 * 1024**3
MAX_ROWS = 50_000_000
_FACTS = r"facts/[a-z0-9-]+/(statement\.json|\w+(\.\d{4,6})?\.parquet)"
_NAME = re.compile(rf"(manifest|projects|answers|parameters|result)\.json|model/[\w./-]+\.yaml|{_FACTS}")


class PackError(Exception):
    """The file is no pack, or not the pack it claims to be; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What else decides a result: time (ms UTC), weights, whether reference runs count, and mapped names."""

    as_of: int
    weights: Weights = field(default_factory=Weights)
    include_reference: bool = False
    names: Names = field(default_factory=Names)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a result is computed from."""

    model: Model
    parts: tuple[Part, ...]
    projects: pd.DataFrame
    answers: Answers
    parameters: Parameters

    @property
    def facts(self) -> Facts:
        given = self.parameters
        return assemble(self.parts, self.projects, include_reference=given.include_reference, names=given.names)


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying found: the pack id, the result, and every fault. ``ok`` when there is none."""

    pack_id: str
    faults: tuple[str, ...]
    scorecard: Scorecard | None

    @property
    def ok(self) -> bool:
        return not self.faults


def compute(inputs: Inputs, facts: Facts | None = None) -> Scorecard:
    """Measure and score: the one road from inputs to result, used when assessing and when verifying.

    ``facts`` are those of the inputs, where the caller has put them together already.
    """
    keys = tuple(sorted(inputs.projects["project"]))
    as_of = inputs.parameters.as_of
    findings = measure_all(inputs.model, facts or inputs.facts, as_of=as_of, projects=keys)
    return score(
        inputs.model,
        findings,
        inputs.answers,
        projects=keys,
        as_of=datetime.fromtimestamp(as_of / 1000, tz=UTC).date(),
        weights=inputs.parameters.weights,
    )


def write(inputs: Inputs, scorecard: Scorecard, tables: Mapping[str, Mapping[str, bytes]] | None = None) -> bytes:
    """The pack as bytes; equal inputs give equal bytes.

    ``tables`` may hold, per source, the Parquet bytes of its tables as they are stored (see ``stem``), so that they go
    into the pack unchanged; tables not given there are written anew.
    """
    members = {f"model/{name}": content for name, content in inputs.model.files.items()}
    for part in inputs.parts:
        members[f"facts/{part.source}/statement.json"] = canonical.to_bytes(part.statement.to_json())
        stored = (tables or {}).get(part.source, {})
        written = {stem.partition(".")[0] for stem in stored}
        fresh = {name: _parquet(frame) for name, frame in part.tables.items() if name not in written}
        members |= {f"facts/{part.source}/{stem}.parquet": content for stem, content in {**stored, **fresh}.items()}
    members["projects.json"] = canonical.to_bytes(_projects_json(inputs.projects))
    members["answers.json"] = canonical.to_bytes(inputs.answers.to_json())
    members["parameters.json"] = canonical.to_bytes(canonical.encode(inputs.parameters))
    members["result.json"] = scorecard.to_bytes()
    members["manifest.json"] = _manifest(members)
    return _container(members)


def verify(content: bytes, *, expected_id: str | None = None) -> Verification:
    """Check a pack: container, hashes, and the result computed again from the inputs.

    ``expected_id`` is the pack id printed in a report; giving it also proves that this is that very pack.
    Raises ``PackError`` when the bytes cannot be read as a pack at all.
    """
    members = _members(content)
    manifest = members["manifest.json"]
    pack_id = hashlib.sha256(manifest).hexdigest()
    faults = _altered(members, manifest)
    if expected_id and expected_id != pack_id:
        faults.append(f"this is another pack: its id is {pack_id}, expected was {expected_id}")
    if faults:
        return Verification(pack_id, tuple(faults), None)
    if _container(members) != content:
        return Verification(pack_id, ("the container was altered outside its members",), None)
    scorecard = _computed(_inputs(members))
    if scorecard.to_bytes() != members["result.json"]:
        faults.append("result.json is not what the facts, answers and parameters in this pack give")
    return Verification(pack_id, tuple(faults), scorecard)


def _computed(inputs: Inputs) -> Scorecard:
    try:
        return compute(inputs)
    except (ModelError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise PackError(f"nothing can be computed from the pack's inputs: {error}") from error


def read(content: bytes) -> tuple[Inputs, Scorecard]:
    """Inputs and stored result of a pack, without verifying. Raises ``PackError``."""
    members = _members(content)
    return _inputs(members), Scorecard.from_json(json.loads(members["result.json"]))


def model_files(content: bytes) -> dict[str, bytes]:
    """The files of the model in a pack, named by their path inside the model folder. Raises ``PackError``."""
    return _model_files(_members(content))


def unpack(content: bytes, target: Path) -> None:
    """Write the members into an empty folder, for reading or editing. Raises ``PackError``."""
    for name, member in _members(content).items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member)


def from_folder(folder: Path) -> bytes:
    """A new pack from a folder laid out like an unpacked one; the result is computed, whatever the folder says."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    wrong = [name for name in paths if not _NAME.fullmatch(name)][:5]
    missing = [name for name in ("projects.json", "answers.json", "parameters.json") if name not in paths]
    if wrong or missing:
        raise PackError(
            f"{folder} is not laid out as a pack; unexpected: {wrong or 'nothing'}; missing: {missing or 'nothing'}"
        )
    members = {name: path.read_bytes() for name, path in paths.items()}
    inputs = _inputs(members)
    stored = {part.source: dict(_stored(part.source, members)) for part in inputs.parts}
    return write(inputs, compute(inputs), stored)


def pack_id(content: bytes) -> str:
    """The id of a pack: the SHA-256 of its manifest."""
    return hashlib.sha256(_members(content)["manifest.json"]).hexdigest()


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _projects_json(projects: pd.DataFrame) -> list[dict[str, Any]]:
    columns = TABLES["projects"].names
    rows = [{c: None if pd.isna(row[c]) else row[c] for c in columns} for _, row in projects.iterrows()]
    return sorted(({**row, **_whole(row)} for row in rows), key=lambda row: str(row["project"]))


def _whole(row: Mapping[str, Any]) -> dict[str, int | None]:
    return {name: None if row[name] is None else int(row[name]) for name in ("idea_at", "started_at")}


def _manifest(members: Mapping[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    return canonical.to_bytes({"format": FORMAT, "members": hashes})


def _container(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def _members(content: bytes) -> dict[str, bytes]:
    if len(content) > MAX_BYTES:
        raise PackError(f"the file is larger than {MAX_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries, len(content))
            members = {entry.filename: archive.read(entry) for entry in entries}
    except PackError:
        raise
    except (zipfile.BadZipFile, EOFError, RuntimeError, OSError, ValueError, struct.error) as error:
        raise PackError(
            f"the file cannot be read as an evidence pack, it is damaged or something else ({error})"
        ) from error
    if "manifest.json" not in members:
        raise PackError("the file has no manifest.json, so it is no evidence pack")
    return members


def _check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    names = [entry.filename for entry in entries]
    if strange := [name for name in names if not _NAME.fullmatch(name) or ".." in name]:
        raise PackError(f"the pack holds a member that does not belong there: {strange[0]!r}")
    if len(set(names)) != len(names):
        raise PackError("the pack holds a member twice")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise PackError("the pack holds a compressed member; packs are stored uncompressed")
    # Members that overlap would let a small file unfold into a huge one.
    if sum(entry.file_size for entry in entries) > size:
        raise PackError("the pack holds members that overlap")


def _altered(members: Mapping[str, bytes], manifest: bytes) -> list[str]:
    try:
        listed = json.loads(manifest)
        hashes = dict(listed["members"])
        if listed["format"] != FORMAT:
            return [f"the pack has format {listed['format']!r}; this program reads {FORMAT!r}"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ["manifest.json was altered: it cannot be read"]
    faults = [f"{name} is missing" for name in sorted(set(hashes) - set(members))]
    for name in sorted(set(members) - {"manifest.json"}):
        if name not in hashes:
            faults.append(f"{name} is not listed in the manifest")
        elif hashlib.sha256(members[name]).hexdigest() != hashes[name]:
            faults.append(f"{name} was altered: its SHA-256 is not the one in the manifest")
    if not faults and manifest != _manifest({name: members[name] for name in hashes}):
        faults.append("manifest.json was altered: it is not written as a manifest is")
    return faults


def _model_files(members: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix("model/"): content for name, content in members.items() if name.startswith("model/")}


def _inputs(members: Mapping[str, bytes]) -> Inputs:
    try:
        model = parse_model(_model_files(members))
        sources = sorted({name.split("/")[1] for name in members if name.startswith("facts/")})
        return Inputs(
            model=model,
            parts=tuple(_part(source, members) for source in sources),
            projects=TABLES["projects"].frame(json.loads(members["projects.json"])),
            answers=Answers.from_json(json.loads(members["answers.json"])),
            parameters=canonical.decode(Parameters, json.loads(members["parameters.json"])),
        )
    except ModelError as error:
        raise PackError(f"the model in the pack is faulty:\n{error}") from error
    except (KeyError, ValueError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
        raise PackError(f"the pack's inputs cannot be read: {error!r}") from error


def _bounded(content: bytes) -> bytes:
    """A table of a size that a collection can have; a crafted one may claim billions of equal rows."""
    if (rows := pq.ParquetFile(io.BytesIO(content)).metadata.num_rows) > MAX_ROWS:
        raise PackError(f"a table of {rows} rows is larger than any collection; at most {MAX_ROWS} are read")
    return content


def stem(table: str, number: int) -> str:
    """The name of a stored table of a source, without its ending: ``number`` is that of the batch, from 1."""
    return table if number == 1 else f"{table}.{number:04d}"


def _stored(source: str, members: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Every table of a source as (stem, Parquet bytes)."""
    for name, content in members.items():
        if name.startswith(f"facts/{source}/") and name.endswith(".parquet"):
            yield name.split("/")[2].removesuffix(".parquet"), content


def _part(source: str, members: Mapping[str, bytes]) -> Part:
    statement = Statement.from_json(json.loads(members[f"facts/{source}/statement.json"]))
    batches: dict[int, dict[str, pd.DataFrame]] = {}
    for name, content in _stored(source, members):
        table, _, number = name.partition(".")
        if int(number or 1) < 1 or stem(table, int(number or 1)) != name:
            raise PackError(f"facts/{source}/{name}.parquet is not named as a batch is")
        batches.setdefault(int(number or 1), {})[table] = TABLES[table].from_parquet(_bounded(content))
    return Part(source, statement, join([batches[number] for number in sorted(batches)]))
