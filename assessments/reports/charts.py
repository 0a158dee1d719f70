"""Charts as small SVG pictures, the same for pages and for the PDF.

Takes labels and numbers; gives SVG text without style attributes or style elements, so it stands on pages whose
content security policy forbids inline styles: there the classes of the site's style sheet colour it. A PDF has no
style sheet and hands in ``colours``. Every chart carries its title and description for those who cannot see it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import cos, pi, sin

FULL = 5
_LABEL_SIZE, _RING_SIZE = 12, 10
_LETTER_WIDTH = 0.62  # of the letter size; capitals and digits of common sans-serif fonts are narrower than that
_SPACE = 9  # between the outermost ring and the labels


@dataclass(frozen=True, slots=True)
class Axis:
    """One spoke: a short label beside it (such as a capability's id) and its full title."""

    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Series:
    """One polygon: its name, the class that colours it, and one value of 0 to 5 per axis."""

    name: str
    css_class: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ink:
    """How one class is drawn where no style sheet is: colours, width, dashes; no fill when None."""

    stroke: str | None = None
    width: float = 1
    fill: str | None = None
    opacity: float = 1
    dashes: str = ""

    def attributes(self) -> str:
        """The SVG presentation attributes."""
        parts = [f'fill="{escape(self.fill)}" fill-opacity="{self.opacity:g}"' if self.fill else 'fill="none"']
        if self.stroke:
            parts.append(f'stroke="{escape(self.stroke)}" stroke-width="{self.width:g}" stroke-linejoin="round"')
        if self.dashes:
            parts.append(f'stroke-dasharray="{escape(self.dashes)}"')
        return " " + " ".join(parts)


class Svg(str):
    """SVG text made here, every foreign word in it escaped; templates put it in as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def radar(
    axes: Sequence[Axis],
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    size: int = 440,
    rings: int = FULL,
    colours: Mapping[str, Ink] | None = None,
    font: str = "",
) -> Svg:
    """A radar chart: one axis per capability from the top clockwise, one polygon per series, ``size`` units wide.

    Values are levels of 0 to ``rings``. ``colours`` gives the ink of the classes ``grid``, ``label``, ``ring`` and of
    each series; without it a style sheet does. Raises ``ValueError`` when a series does not fit the axes or the scale.
    """
    for one in series:
        if len(one.values) != len(axes) or any(not 0 <= value <= rings for value in one.values):
            raise ValueError(f"series {one.name!r} needs {len(axes)} values from 0 to {rings}")
    frame = _Frame.of(axes, size, rings)
    inks = colours or {}
    marks = [
        *_grid(frame, len(axes), _ink(inks, "grid")),
        *(_polygon(frame, one, _ink(inks, one.css_class)) for one in series),
        *_ring_numbers(frame, _text_ink(inks, "ring", _RING_SIZE, font)),
        *_labels(frame, axes, _text_ink(inks, "label", _LABEL_SIZE, font)),
    ]
    return _picture(marks, size, title, description)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the middle is and how long an axis."""

    middle: float
    reach: float
    rings: int

    @classmethod
    def of(cls, axes: Sequence[Axis], size: int, rings: int) -> _Frame:
        """The longest axis that leaves room for every label on all sides."""
        widest = max((_width(axis.label) for axis in axes), default=0)
        room = _SPACE + max(widest, _LABEL_SIZE) + 2
        return cls(size / 2, max(size / 2 - room, size / 8), rings)

    def point(self, place: int, axes: int, value: float) -> tuple[float, float]:
        """The point of a value on an axis; the first axis points up."""
        angle = 2 * pi * place / axes - pi / 2
        away = self.reach * value / self.rings
        return self.middle + away * cos(angle), self.middle + away * sin(angle)


def _width(label: str) -> float:
    return _LABEL_SIZE * sum(_LETTER_WIDTH if character.isascii() else 1 for character in label)


def _points(frame: _Frame, values: Iterable[float]) -> str:
    values = list(values)
    corners = (frame.point(place, len(values), value) for place, value in enumerate(values))
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)


def _grid(frame: _Frame, axes: int, ink: str) -> Iterable[str]:
    for ring in range(1, frame.rings + 1):
        if axes > 2:
            yield f'<polygon class="grid"{ink} points="{_points(frame, [ring] * axes)}"/>'
        else:
            reach = frame.reach * ring / frame.rings
            yield f'<circle class="grid"{ink} cx="{frame.middle:g}" cy="{frame.middle:g}" r="{reach:.2f}"/>'
    for place in range(axes):
        x, y = frame.point(place, axes, frame.rings)
        yield f'<line class="grid"{ink} x1="{frame.middle:g}" y1="{frame.middle:g}" x2="{x:.2f}" y2="{y:.2f}"/>'


def _polygon(frame: _Frame, series: Series, ink: str) -> str:
    name = escape(series.name)
    points = _points(frame, series.values)
    return f'<polygon class="{escape(series.css_class)}"{ink} points="{points}"><title>{name}</title></polygon>'


def _ring_numbers(frame: _Frame, ink: str) -> Iterable[str]:
    for ring in range(1, frame.rings + 1):
        y = frame.middle - frame.reach * ring / frame.rings + _RING_SIZE * 0.35
        yield f'<text class="ring"{ink} x="{frame.middle - 4:g}" y="{y:.2f}" text-anchor="end">{ring}</text>'


def _labels(frame: _Frame, axes: Sequence[Axis], ink: str) -> Iterable[str]:
    away = frame.rings * (1 + _SPACE / frame.reach)
    for place, axis in enumerate(axes):
        x, y = frame.point(place, len(axes), away)
        beside = x - frame.middle
        anchor = "middle" if abs(beside) < frame.reach / 50 else "start" if beside > 0 else "end"
        # The letters stand around the point: below it at the bottom of the chart, above it at the top.
        drop = _LABEL_SIZE * (0.35 + 0.35 * (y - frame.middle) / frame.reach)
        title, label = escape(axis.title), escape(axis.label)
        yield f'<text{ink} x="{x:.2f}" y="{y + drop:.2f}" text-anchor="{anchor}"><title>{title}</title>{label}</text>'


def _ink(inks: Mapping[str, Ink], name: str) -> str:
    return inks[name].attributes() if name in inks else ""


def _text_ink(inks: Mapping[str, Ink], name: str, size: int, font: str) -> str:
    family = f' font-family="{escape(font)}"' if font else ""
    return f'{_ink(inks, name)}{family} font-size="{size}"'


def _picture(marks: Iterable[str], size: int, title: str, description: str) -> Svg:
    body = "".join(marks)
    key = hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:8]  # unique on a page with several
    return Svg(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="radar" viewBox="0 0 {size} {size}" role="img"'
        f' aria-labelledby="t{key} d{key}"><title id="t{key}">{escape(title)}</title>'
        f'<desc id="d{key}">{escape(description)}</desc>{body}</svg>'
    )
