"""Frozen dataclasses as canonical JSON and back: the same value always gives the same bytes.

Takes values made of dataclasses, tuples, mappings, fractions, dates, enumerations and JSON scalars. Gives plain JSON
data in which a fraction is text ``"n/d"``, a date ISO text, and a field that holds its default is left out. Reading is
driven by the type hints and refuses whatever does not fit them, because a file may come from anywhere.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from enum import Enum
from fractions import Fraction
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Encoder = Callable[[Any], Any]
Decoder = Callable[[Any], Any]

# Built once per type; what a type's coder is never changes.
_ENCODERS: dict[type[Any], Encoder] = {}
_DECODERS: dict[Any, Decoder] = {}
_FRACTION = re.compile(r"-?[0-9]+/[1-9][0-9]*")


def encode(value: Any) -> Any:
    """JSON data of a value. Raises TypeError for a kind of value that has no canonical form, such as a float."""
    return _encoder(type(value))(value)


def decode(kind: type[T], data: Any) -> T:
    """The value of type ``kind`` that ``encode`` turned into ``data``. Raises ValueError naming what does not fit."""
    value: T = _decoder(kind)(data)
    return value


def to_bytes(data: Any) -> bytes:
    """JSON data as bytes: sorted keys, UTF-8, no spare space, one newline at the end."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8") + b"\n"


def _encoder(kind: type[Any]) -> Encoder:
    if kind not in _ENCODERS:
        _ENCODERS[kind] = _new_encoder(kind)
    return _ENCODERS[kind]


def _new_encoder(kind: type[Any]) -> Encoder:
    if is_dataclass(kind):
        return _dataclass_encoder(kind)
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, str | bool | int | type(None)):
        return lambda value: value
    if issubclass(kind, Fraction):
        return lambda value: f"{value.numerator}/{value.denominator}"
    if issubclass(kind, date):
        return lambda value: value.isoformat()
    if issubclass(kind, tuple | list):
        return lambda value: [_encoder(type(item))(item) for item in value]
    if issubclass(kind, Mapping):
        return lambda value: {key: _encoder(type(item))(item) for key, item in value.items()}
    raise TypeError(f"no canonical form for {kind.__name__}")


def _dataclass_encoder(kind: type[Any]) -> Encoder:
    parts = [(f.name, *_default(f)) for f in fields(kind)]

    def run(value: Any) -> dict[str, Any]:
        data = {}
        for name, has_default, default in parts:
            item = getattr(value, name)
            if not (has_default and (item is default or item == default)):
                data[name] = _encoder(type(item))(item)
        return data

    return run


def _default(field: Any) -> tuple[bool, Any]:
    if field.default_factory is not MISSING:
        return True, field.default_factory()
    return field.default is not MISSING, field.default


def _decoder(kind: Any) -> Decoder:
    if kind not in _DECODERS:
        _DECODERS[kind] = _new_decoder(kind)
    return _DECODERS[kind]


def _new_decoder(kind: Any) -> Decoder:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(origin or kind):
        return _dataclass_decoder(kind)
    if origin in (Union, types.UnionType):
        return _optional_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is not None and _is_subclass(origin, Mapping):
        return _mapping_decoder(_decoder(arguments[1]))
    if origin is Literal:
        return _one_of(arguments)
    return _scalar_decoder(kind)


def _scalar_decoder(kind: Any) -> Decoder:
    if _is_subclass(kind, Enum):
        return _named(kind, str)
    if kind is Fraction:
        return _fraction
    if kind is date:
        return _named(date.fromisoformat, str)
    if kind in (str, int, bool):
        return _exactly(kind)
    raise TypeError(f"no canonical form for {kind!r}")


def _is_subclass(kind: Any, parent: type[Any]) -> bool:
    """``issubclass`` that answers False for what is no class, such as ``Literal``."""
    return isinstance(kind, type) and issubclass(kind, parent)


def _exactly(kind: type[Any]) -> Decoder:
    def run(data: Any) -> Any:
        if type(data) is not kind:
            raise ValueError(f"must be {kind.__name__}, not {type(data).__name__}")
        return data

    return run


def _named(build: Callable[[Any], Any], kind: type[Any]) -> Decoder:
    check = _exactly(kind)
    return lambda data: build(check(data))


def _fraction(data: Any) -> Fraction:
    if not isinstance(data, str) or not _FRACTION.fullmatch(data):
        raise ValueError(f"must be a fraction such as '9/10', not {data!r:.40}")
    numerator, denominator = data.split("/")
    return Fraction(int(numerator), int(denominator))


def _one_of(allowed: Iterable[Any]) -> Decoder:
    allowed = tuple(allowed)

    def run(data: Any) -> Any:
        if data not in allowed:
            raise ValueError(f"must be one of {allowed}, not {data!r:.40}")
        return data

    return run


def _optional_decoder(arguments: tuple[Any, ...]) -> Decoder:
    inner = [argument for argument in arguments if argument is not type(None)]
    if len(inner) != 1 or len(arguments) != 2:
        raise TypeError(f"only 'X | None' can be read back, not {arguments}")
    decoder = _decoder(inner[0])
    return lambda data: None if data is None else decoder(data)


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decoder:
    check = _exactly(list)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = _decoder(arguments[0])
        return lambda data: tuple(_at(index, item, value) for index, value in enumerate(check(data)))
    items = [_decoder(argument) for argument in arguments]

    def run(data: Any) -> tuple[Any, ...]:
        if len(check(data)) != len(items):
            raise ValueError(f"must have {len(items)} items")
        return tuple(decoder(value) for decoder, value in zip(items, data, strict=True))

    return run


def _mapping_decoder(item: Decoder) -> Decoder:
    check = _exactly(dict)
    return lambda data: {key: _at(key, item, value) for key, value in check(data).items()}


def _dataclass_decoder(kind: Any) -> Decoder:
    origin: Any = get_origin(kind) or kind
    variables = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
    hints = get_type_hints(origin)
    decoders = {f.name: _decoder(variables.get(hints[f.name], hints[f.name])) for f in fields(origin)}
    check = _exactly(dict)

    def run(data: Any) -> Any:
        if unknown := sorted(set(check(data)) - set(decoders)):
            raise ValueError(f"{origin.__name__} has no field {unknown[0]!r:.40}")
        values = {name: _at(name, decoders[name], value) for name, value in data.items()}
        try:
            return origin(**values)
        except TypeError as error:
            raise ValueError(f"{origin.__name__}: {error}") from error

    return run


def _at(place: str | int, decoder: Decoder, data: Any) -> Any:
    try:
        return decoder(data)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
