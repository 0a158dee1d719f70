"""The radar: its marks, its labels, and that it carries no style of its own."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest

from assessments.reports.charts import Axis, Ink, Series, Svg, radar

SVG = "{http://www.w3.org/2000/svg}"


def draw(axes: int = 18, *, label: str = "DG{}", **others: object) -> Svg:
    spokes = [Axis(label.format(n), f"Capability {n}") for n in range(axes)]
    series = [Series(name, name, tuple(float(n % 6) for n in range(axes))) for name in ("rated", "claimed")]
    return radar(spokes, series, title="Levels", description="All levels", **others)  # type: ignore[arg-type]


def marks(svg: str, name: str, css_class: str | None = None) -> list[ET.Element]:
    found = ET.fromstring(svg).iter(SVG + name)
    return [one for one in found if css_class is None or one.get("class") == css_class]


@pytest.mark.parametrize("axes", [3, 4, 18, 19, 40])
def test_every_series_is_one_polygon_with_a_corner_on_every_axis(axes: int) -> None:
    svg = draw(axes)
    for name in ("rated", "claimed"):
        (polygon,) = marks(svg, "polygon", name)
        assert len(polygon.get("points", "").split()) == axes
    assert len(marks(svg, "line", "grid")) == axes
    assert len(marks(svg, "polygon", "grid")) == 5


def test_a_value_lies_on_its_axis_as_far_out_as_its_level() -> None:
    axes = [Axis(str(n), str(n)) for n in range(4)]
    svg = radar(axes, [Series("a", "a", (5, 0, 2.5, 1))], title="t", description="d", size=400)
    up, right, down, left = (
        tuple(map(float, corner.split(","))) for corner in marks(svg, "polygon", "a")[0].get("points", "").split()
    )
    reach = 200 - up[1]
    assert up[0] == 200
    assert right == (200, 200)
    assert down == (200, pytest.approx(200 + reach / 2, abs=0.01))
    assert left == (pytest.approx(200 - reach / 5, abs=0.01), 200)


@pytest.mark.parametrize(
    ("axes", "label", "size"), [(18, "DG{}", 440), (7, "ABC1.2.{}", 440), (3, "能力{}", 200), (1, "A", 80)]
)
def test_all_labels_stay_inside_the_picture(axes: int, label: str, size: int) -> None:
    svg = draw(axes, label=label, size=size)
    labels = [one for one in marks(svg, "text") if one.get("class") != "ring"]
    assert len(labels) == axes
    for one in labels:
        text = "".join(one.itertext()).removeprefix(next(iter(one.findall(SVG + "title"))).text or "")
        width = 12 * sum(0.62 if character.isascii() else 1 for character in text)
        x, y = float(one.get("x", "")), float(one.get("y", ""))
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[one.get("text-anchor", "")]
        assert left >= 0
        assert left + width <= size
        assert 9 <= y <= size - 3  # the baseline: capitals stand 9 above it


def test_the_picture_says_what_it_shows_and_carries_no_style() -> None:
    svg = draw()
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    title, description = root.findall(SVG + "title") + root.findall(SVG + "desc")
    assert (title.text, description.text) == ("Levels", "All levels")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert all("style" not in one.attrib and not one.tag.endswith("style") for one in root.iter())
    assert not any(name.startswith("on") for one in root.iter() for name in one.attrib)
    assert svg.__html__() == svg


def test_colours_are_only_there_when_they_are_asked_for() -> None:
    ink = {
        "rated": Ink(stroke="#1f5f99", width=2, fill="#1f5f99", opacity=0.2, dashes="5 4"),
        "grid": Ink(stroke="#ccc"),
    }
    (plain,) = marks(draw(), "polygon", "rated")
    (coloured,) = marks(draw(colours=ink), "polygon", "rated")
    assert set(plain.attrib) == {"class", "points"}
    assert (coloured.get("stroke"), coloured.get("fill-opacity")) == ("#1f5f99", "0.2")
    assert coloured.get("stroke-dasharray") == "5 4"


def test_words_from_outside_are_never_markup() -> None:
    hostile = '</title><script>alert(1)</script>"&'
    svg = radar([Axis(hostile, hostile)] * 3, [Series(hostile, hostile, (1, 2, 3))], title=hostile, description=hostile)
    assert marks(svg, "script") == []
    assert ET.fromstring(svg)[0].text == hostile


@pytest.mark.parametrize("values", [(1, 2), (1, 2, 6), (1, 2, -1), (1, 2, math.nan)])
def test_values_that_do_not_fit_the_axes_or_the_scale_are_refused(values: Sequence[float]) -> None:
    with pytest.raises(ValueError, match="needs 3 values from 0 to 5"):
        radar([Axis("a", "a")] * 3, [Series("s", "s", tuple(values))], title="t", description="d")


def test_without_axes_only_the_rings_are_drawn() -> None:
    svg = radar([], [Series("s", "s", ())], title="t", description="d")
    assert len(marks(svg, "circle", "grid")) == 5
