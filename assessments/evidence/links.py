"""Links from a finding's ids to the very runs and versions on the server they came from.

An id is written ``source:id``; the address is always our own configuration, never anything a server said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assessments.organisations.models import Organisation
from integrations.connectors.base import link

FactLink = Callable[[str, str], str | None]


def fact_link(organisation: Organisation, experiments: Mapping[str, str]) -> FactLink:
    """A function from (unit, fact id) to an address or None. ``experiments`` gives the experiment of a run's id."""
    sources = {source.key: source for source in organisation.sources.all()}

    def address(unit: str, fact_id: str) -> str | None:
        key, _, bare = fact_id.partition(":")
        if key not in sources:
            return None
        experiment = experiments.get(fact_id, "").partition(":")[2]
        return link(sources[key].kind, sources[key].config, unit, bare, experiment=experiment)

    return address
