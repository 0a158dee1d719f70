"""names: what an organisation calls the tags, parameters and metrics that the model looks for.

Takes the mappings of an organisation and the fact tables; gives the tables in which the rows of a mapped name are seen
under our name as well. Nothing is lost and no id changes: a row is added, never renamed, because other texts (a primary
metric, the factor of an ablation) may speak of it by the name it was logged under. An own row always wins. The mappings
are part of a pack's parameters, so the same pack gives the same result wherever it is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from maturity.table import stacked

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME, MOST = 250, 300
_NEVER = frozenset({"dlemm.origin"})  # it decides what is left out altogether


class Place(StrEnum):
    """Where a name stands."""

    TAG = "tag"
    PARAM = "param"
    METRIC = "metric"
    VERSION_TAG = "version_tag"
    MODEL_TAG = "model_tag"
    EXPERIMENT_TAG = "experiment_tag"


TABLES_OF: Mapping[Place, tuple[tuple[str, str, str], ...]] = MappingProxyType(
    {
        Place.TAG: (("run_tags", "run", "value"),),
        Place.PARAM: (("run_params", "run", "value"),),
        Place.METRIC: (("run_metrics", "run", "value"), ("run_metric_means", "run", "mean")),
        Place.VERSION_TAG: (("version_tags", "version", "value"),),
        Place.MODEL_TAG: (("registered_model_tags", "name", "value"),),
        Place.EXPERIMENT_TAG: (("experiment_tags", "experiment", "value"),),
    }
)
"""Place to its tables, each with the columns of its owner and its value."""
_ENTITIES = {
    "run": Place.TAG,
    "model_version": Place.VERSION_TAG,
    "registered_model": Place.MODEL_TAG,
    "experiment": Place.EXPERIMENT_TAG,
}
_BESIDE = frozenset({Place.TAG, Place.PARAM})  # both are texts of a run, so one may stand for the other


def compatible(theirs: Place, ours: Place) -> bool:
    """Whether a name in one place can stand for a name in another."""
    return theirs is ours or {theirs, ours} == _BESIDE


@dataclass(frozen=True, slots=True)
class Mapped:
    """One mapping: ``theirs`` at ``origin`` (None: the same place) is ``ours`` at ``place``.

    ``values``: their value → ours, compared without regard to case and blanks; other values stay as they are.
    Raises ``ValueError`` for a mapping that cannot be.
    """

    place: Place
    ours: str
    theirs: str
    origin: Place | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.ours, self.theirs):
            if not name.strip() or len(name) > LONGEST_NAME:
                raise ValueError(f"a name must have 1 to {LONGEST_NAME} characters")
        if self.ours in _NEVER:
            raise ValueError(f"nothing can stand for {self.ours}")
        if not compatible(self.source, self.place):
            raise ValueError(f"a {self.source} cannot stand for a {self.place}")
        if self.source is self.place and self.theirs == self.ours:
            raise ValueError(f"{self.ours} already has this name")
        if self.values and self.place is Place.METRIC:
            raise ValueError("the values of a metric are numbers and stay as they are")

    @property
    def source(self) -> Place:
        """The place in which their name stands."""
        return self.origin or self.place

    def value(self, text: str) -> str:
        """Their value in our words."""
        wanted = text.strip().casefold()
        return next((ours for theirs, ours in self.values.items() if theirs.strip().casefold() == wanted), text)


@dataclass(frozen=True, slots=True)
class Names:
    """All mappings of an organisation; where two stand for one of our names, the earlier one wins."""

    rows: tuple[Mapped, ...] = ()

    def __post_init__(self) -> None:
        if len(self.rows) > MOST:
            raise ValueError(f"there are more than {MOST} mapped names")
        if len({(row.place, row.source, row.theirs) for row in self.rows}) != len(self.rows):
            raise ValueError("a name can stand for one of ours only")

    def of_table(self, table: str) -> frozenset[str]:
        """Their names in a fact table: whoever reads only the names that the model looks for must read these too."""
        return frozenset(row.theirs for row in self.rows if any(name == table for name, _, _ in TABLES_OF[row.source]))

    def our_param(self, name: str) -> str:
        """The parameter of ours that a parameter stands for, else its own name."""
        rows = (row for row in self.rows if row.place is Place.PARAM and row.source is Place.PARAM)
        return next((row.ours for row in rows if row.theirs == name), name)

    def one_name(self, params: Mapping[str, str]) -> dict[str, str]:
        """The parameters of a run without those that are also there under our name: one setting is one difference."""
        if not self.rows:
            return dict(params)
        pairs = ((key, value, self.our_param(key)) for key, value in params.items())
        return {key: value for key, value, ours in pairs if ours == key or ours not in params}


def applied(tables: Mapping[str, pd.DataFrame], names: Names) -> dict[str, pd.DataFrame]:
    """The fact tables, mapped names seen under ours as well. Tables that are not there are left out.

    Mappings do not follow one another: only names as logged are looked at, so two names can be swapped.
    """
    found = dict(tables)
    for place in {row.place: None for row in names.rows}:
        rows = [row for row in names.rows if row.place is place]
        for number, (table, owner, value) in enumerate(TABLES_OF[place]):
            if table in tables:
                found[table] = _joined([tables[table], *_seen(tables, rows, number, table, owner, value)])
    if names.rows and "changes" in tables:
        found["changes"] = _joined([tables["changes"], *_changed(tables["changes"], names)])
    return found


def _seen(
    tables: Mapping[str, pd.DataFrame], rows: list[Mapped], number: int, table: str, owner: str, value: str
) -> Iterator[pd.DataFrame]:
    """The rows that are added to a table, mapping by mapping."""
    having: dict[str, set[str]] = {}
    for row in rows:
        origin = TABLES_OF[row.source][number][0]
        if origin not in tables:
            continue
        if row.ours not in having:
            having[row.ours] = set(_telling(tables[table], row.ours, value)[owner])
        picked = _telling(tables[origin], row.theirs, value)
        picked = picked[~picked[owner].isin(having[row.ours])].drop_duplicates(owner, keep="last")
        having[row.ours] |= set(picked[owner])
        changed = {"value": picked[value].astype("object").map(row.value)} if row.values else {}
        yield picked.assign(key=row.ours, **changed)


def _telling(frame: pd.DataFrame, key: str, value: str) -> pd.DataFrame:
    """The rows of a name that say something: a number, or a text that is not blank."""
    import numpy as np

    frame = frame[frame["key"] == key]
    if frame[value].dtype == "float64":
        told = np.isfinite(frame[value].to_numpy())
    else:
        told = (
            frame[value].astype("object").map(lambda text: isinstance(text, str) and bool(text.strip())).to_numpy(bool)
        )
    found: pd.DataFrame = frame[told]
    return found


def _changed(changes: pd.DataFrame, names: Names) -> Iterator[pd.DataFrame]:
    """What was seen to change of a mapped tag, also under our name: a late tag is late whatever it is called."""
    places = changes["entity"].map(_ENTITIES)
    for row in names.rows:
        if row.source is row.place and row.place not in (Place.PARAM, Place.METRIC):
            mine = (places == row.place) & (changes["field"] == "tag") & (changes["key"] == row.theirs)
            told = changes[mine]
            new = (
                told["new"]
                .astype("object")
                .map(lambda text, row=row: row.value(text) if isinstance(text, str) else None)
            )
            yield told.assign(key=row.ours, new=new.astype("object"))


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """The frames one below the other, their columns held as the first one holds them."""
    first, *more = frames
    more = [frame for frame in more if len(frame)]
    if not more:
        return first
    return stacked([first, *(_held_alike(frame, first) for frame in more)])


def _held_alike(frame: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd  # only those who hold facts need it; the pages do not

    columns = {}
    for name, column in first.items():
        added = frame[name].astype("object") if frame[name].dtype != column.dtype else frame[name]
        if column.dtype == "category":
            texts = pd.Index(added.dropna().unique(), dtype=column.cat.categories.dtype)
            columns[name] = pd.Series(pd.Categorical(added.astype("object"), categories=texts))
        else:
            columns[name] = added.astype(column.dtype).reset_index(drop=True)
    return pd.DataFrame(columns)
