"""The virtual calendar: half a year of work, told in the time that the machine needs to do it.

Everything the ladder does is done now; the calendar only says for which day of the half-year it stands. Every run that
is dated by it carries the tag ``dlemm.clock=virtual``. Weeks are counted back from the end: week -1 is the last full
one (Monday to Sunday, UTC), week -2 the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WEEKS = 24.5
"""Weeks that the story lasts from the start of a project; all of it lies within the window of 180 days that the model
looks at, whatever the weekday."""
FIRST_RELEASE, LAST_RELEASE = -23.0, -11.0
"""Weeks of the first and the last release. The last leaves full weeks enough to watch it."""
_RELEASES = {1: 1, 2: 3, 3: 4, 4: 7, 5: 7}
# The weeks of a step are among those of the highest, so that work done for one serves the other.
_MONDAY = 0


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar of one ladder, ending at ``now`` (milliseconds since 1970, UTC).

    ``turn``: minutes by which one project does everything later than another, since they share a machine.
    """

    now: int
    turn: int = 0

    @property
    def end(self) -> datetime:
        """The Monday 00:00 UTC that ends week -1."""
        moment = datetime.fromtimestamp(self.now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return moment - timedelta(days=(moment.weekday() - _MONDAY) % 7)

    def at(self, week: float, *, hours: float = 0.0) -> int:
        """Milliseconds of a place in the calendar: the start of the week, so many hours later; never after ``now``."""
        moment = self.end + timedelta(weeks=week, hours=hours, minutes=self.turn)
        return min(round(moment.timestamp() * 1000), self.now)

    def text(self, week: float, *, hours: float = 0.0) -> str:
        """The same as ISO 8601, the form of every time tag."""
        return iso(self.at(week, hours=hours))

    def day(self, week: float, *, hours: float = 0.0) -> str:
        """The same as a date, for documents."""
        return self.text(week, hours=hours)[:10]


def iso(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def release_weeks(step: int) -> tuple[float, ...]:
    """Weeks of the releases at a step, evenly spaced and whole: one at step 1, seven at steps 4 and 5."""
    count = _RELEASES[step]
    if count == 1:
        return (LAST_RELEASE,)
    space = (LAST_RELEASE - FIRST_RELEASE) / (count - 1)
    return tuple(FIRST_RELEASE + space * number for number in range(count))
