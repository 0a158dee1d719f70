"""What DVC's own files say about data: ``dvc.yaml``, ``dvc.lock`` and ``*.dvc``.

Takes a path and bytes of a stranger; gives the data named there, or ``Unreadable``. YAML is loaded without objects,
without merged aliases, which can swell a small file without end, and only when it is not nested deeply.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from integrations.connectors.mlflow_models import short_numbers

MOST_BYTES = 1024 * 1024
MOST_ALIASES = 50
MOST_DEPTH = 50
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_HASHES = ("md5", "sha256", "etag", "checksum", "hash")


class _Loader(yaml.CSafeLoader):
    construct_scalar = short_numbers


class Unreadable(Exception):
    """Not a file of DVC that can be understood."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One piece of data: path in the repository, hash and size when recorded, the stage that makes it."""

    path: str
    digest: str | None = None
    size: int | None = None
    stage: str | None = None


def data_of(path: str, content: bytes) -> list[Tracked]:
    """The data that one of DVC's files names, in the order of the file. Raises ``Unreadable``."""
    folder, _, name = path.rpartition("/")
    data = _load(content)
    if name == "dvc.lock":
        return list(_locked(folder, data))
    if name == "dvc.yaml":
        return list(_staged(folder, data))
    return list(_outs(posixpath.join(folder, _text(data.get("wdir")) or ""), data.get("outs"), None))


def _load(content: bytes) -> Mapping[str, Any]:
    if not content or len(content) > MOST_BYTES:
        raise Unreadable
    try:
        text = content.decode("utf-8-sig")
        _refuse_bombs(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a CSafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError, OverflowError) as error:
        raise Unreadable from error
    if not isinstance(data, dict):
        raise Unreadable
    return data


def _refuse_bombs(text: str) -> None:
    """Raise ``Unreadable`` for nesting that crashes the C loader and for aliases that swell without end."""
    depth = aliases = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        aliases += isinstance(token, yaml.AliasToken)
        if depth > MOST_DEPTH or aliases > MOST_ALIASES or (aliases and "<<" in text):
            raise Unreadable


def _locked(folder: str, data: Mapping[str, Any]) -> Iterator[Tracked]:
    """Outputs of every stage, then inputs; the first format had the stages at the top."""
    stages = data.get("stages", data if "schema" not in data else {})
    if not isinstance(stages, dict):
        raise Unreadable
    known = [(_text(name), stage) for name, stage in stages.items() if isinstance(stage, dict)]
    for name, stage in known:
        yield from _outs(folder, stage.get("outs"), name)
    for _, stage in known:
        yield from _outs(folder, stage.get("deps"), None)


def _staged(folder: str, data: Mapping[str, Any]) -> Iterator[Tracked]:
    stages = data.get("stages", {})
    if not isinstance(stages, dict):
        raise Unreadable
    for name, stage in stages.items():
        if isinstance(stage, dict):
            inner = stage.get("do", stage)
            wdir = posixpath.join(folder, _text(stage.get("wdir")) or "")
            yield from _outs(wdir, inner.get("outs") if isinstance(inner, dict) else None, _text(name))


def _outs(folder: str, outs: Any, stage: str | None) -> Iterator[Tracked]:
    """Entries of a list: ``path``, ``{path: …, md5: …}`` or ``{path: {options}}``."""
    for out in outs if isinstance(outs, list) else []:
        about = out if isinstance(out, dict) else {"path": out}
        given = about.get("path") if "path" in about else next(iter(about), None)
        path = _path(folder, _text(given))
        if path is None:
            continue
        digest = next((_text(about.get(kind)) for kind in _HASHES if about.get(kind)), None)
        size = about.get("size")
        whole = size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**62 else None
        yield Tracked(path, digest, whole, stage)


def _path(folder: str, path: str | None) -> str | None:
    """A path from the root of the repository; addresses stay as they are; None without one or with a template in it."""
    if not path or "${" in path:
        return None
    if "://" in path or path.startswith("/"):
        return path
    return posixpath.normpath(posixpath.join(folder, path))


def _text(value: Any) -> str | None:
    return value[:1000] if isinstance(value, str) and value.isprintable() and value else None
