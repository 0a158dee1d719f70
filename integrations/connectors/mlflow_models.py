"""Reads the small text files that describe a model: ``MLmodel`` and those of its environment.

Takes the bytes of ``MLmodel``, ``requirements.txt``, ``conda.yaml`` or ``python_env.yaml``, which anybody may have
written; gives flavors, signature, example and whether requirements are
pinned. YAML is read by the pure-Python safe loader with aliases refused (they blow up a small file; the C loader
ignores the hook that refuses them). A model itself is never fetched, unpacked or loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

LARGEST_FILE = 256 * 1024  # bytes
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s{0,9}(\[[^\]]*\])?\s{0,9}={2,3}\s*[^\s;*,#]+\s*(;.*|--hash.*)?")
_CONDA_PINNED = re.compile(r"([\w.-]+::)?[A-Za-z0-9][A-Za-z0-9._-]*\s*={1,2}\s*[0-9][^\s*,<>|]*")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What an MLmodel file says: flavors sorted, whether a signature has both sides, whether an example is stored."""

    flavors: tuple[str, ...]
    has_signature: bool
    has_example: bool


def short_numbers(self: yaml.SafeLoader, node: yaml.Node) -> Any:
    """A scalar, unless it is a number of endless length: those written ``1:1:1…`` take hours to multiply out."""
    if node.tag in _NUMBERS and len(node.value) > 100:
        raise yaml.YAMLError("a number of endless length")
    return yaml.SafeLoader.construct_scalar(self, node)  # type: ignore[arg-type]


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are refused")
        return super().compose_node(parent, index)

    construct_scalar = short_numbers


def read_model_file(content: bytes) -> ModelFile | None:
    """What an MLmodel file says; None when it is no such file."""
    data = _load(content)
    if data is None or not isinstance(data.get("flavors"), dict):
        return None
    signature = data.get("signature")
    complete = isinstance(signature, dict) and _given(signature.get("inputs")) and _given(signature.get("outputs"))
    flavors = tuple(sorted(str(name) for name in data["flavors"]))
    return ModelFile(flavors, complete, bool(data.get("saved_input_example_info")))


def _given(side: object) -> bool:
    return bool(side) and str(side).strip() not in ("[]", "null", "{}")


def requirements_pinned(content: bytes) -> bool:
    """Every requirement of a ``requirements.txt`` names one exact version, and there is at least one."""
    return _all_pinned(content.decode(errors="replace").replace("\\\n", " ").splitlines(), _PINNED)


def conda_pinned(content: bytes) -> bool:
    """Every dependency of a ``conda.yaml``, pip's included, names one exact version, and there is at least one."""
    data = _load(content) or {}
    dependencies = data.get("dependencies")
    if not isinstance(dependencies, list):
        return False
    own = [str(item) for item in dependencies if not isinstance(item, dict)]
    pip = [str(line) for item in dependencies if isinstance(item, dict) for line in _listed(item.get("pip"))]
    # conda lists pip itself, mostly bare, only to be able to install the rest
    own = [item for item in own if item.strip() != "pip" and not item.startswith("pip<")]
    return bool(own or pip) and (not own or _all_pinned(own, _CONDA_PINNED)) and (not pip or _all_pinned(pip, _PINNED))


def python_env_pinned(content: bytes) -> bool:
    """Every dependency of a ``python_env.yaml`` names one exact version, and there is at least one.

    One that only refers to a ``requirements.txt`` pins nothing by itself.
    """
    return _all_pinned([str(line) for line in _listed((_load(content) or {}).get("dependencies"))], _PINNED)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _all_pinned(lines: Iterable[str], pattern: re.Pattern[str]) -> bool:
    wanted = [line.partition(" #")[0].strip() for line in lines]
    wanted = [line for line in wanted if line and not line.startswith(("#", "--"))]
    return bool(wanted) and all(pattern.fullmatch(line) for line in wanted)


def _load(content: bytes) -> dict[str, Any] | None:
    if len(content) > LARGEST_FILE:
        return None
    try:
        data = yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader that refuses even aliases
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
        return None  # the loader stumbles over some tags with no value, such as ``!!int ""``
    return data if isinstance(data, dict) else None
