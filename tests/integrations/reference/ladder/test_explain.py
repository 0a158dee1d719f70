"""``explain PRACTICE`` tells what it asks, the code that does it, the trace that proves it and its document."""

import pytest

from integrations.reference.ladder.explain import UnknownPracticeError, explained, files, places
from maturity.schema import load_model

PRACTICES = sorted(load_model().practices)


@pytest.mark.parametrize("practice", PRACTICES)
def test_code_or_files_of_the_ladder_do_every_practice(practice):
    assert list(places(practice)) or files(practice)


def test_an_explanation_shows_criterion_proof_code_and_document():
    text = explained("DG1.4.1")
    assert "Lineage coverage is reported monthly" in text
    assert "DAT-04 >= 1" in text
    assert "ladder/acts/sourcing.py" in text
    assert "ladder/documents/DG1.4.1.md" in text


def test_a_practice_that_is_none_is_refused_with_those_near_it():
    with pytest.raises(UnknownPracticeError, match=r"DG1\.1\.1"):
        explained("DG1.9.9")


def test_files_of_the_repository_are_named_where_they_are_what_is_done():
    assert "It puts projects/*/.project-template into the repository" in explained("MD6.3.2")
