from __future__ import annotations

from maturity.contributions import contributions, needs
from maturity.facts import Reading, Statement, StreamReading
from maturity.schema import load_model

READ, BLIND, NONE = Reading.READ, Reading.COULD_NOT_LOOK, Reading.NOT_SUPPORTED


def statement(**streams: Reading) -> Statement:
    return Statement("mlflow", "http://a", 1, 2, tuple(StreamReading(name, state) for name, state in streams.items()))


def test_every_check_that_a_machine_answers_has_a_need_and_no_other() -> None:
    model = load_model()
    answered = {
        check.key
        for practice in model.practices.values()
        for check in practice.checks
        if check.measure or (check.indicator and model.indicators[check.indicator].measure)
    }
    assert {need.check for need in needs(model)} == answered
    assert all(need.must <= need.streams for need in needs(model))


def test_a_source_feeds_the_checks_whose_streams_it_gave() -> None:
    found = contributions(load_model(), {"ml": statement(runs=READ, experiments=READ)})
    (source,) = found.sources
    assert source.feeds
    assert all(need.must <= {"runs", "experiments"} for need in source.feeds)
    assert source.would_feed == ()
    assert {need.practice for need in source.feeds}.isdisjoint(found.unfed)


def test_a_check_that_needs_two_sources_is_fed_by_both() -> None:
    both = {"ml": statement(runs=READ), "registry": statement(registry=READ)}
    needing = {need.check for need in needs(load_model()) if need.must == {"runs", "registry"}}
    assert needing
    for source in contributions(load_model(), both).sources:
        assert needing <= {need.check for need in source.feeds}
    (alone,) = contributions(load_model(), {"ml": statement(runs=READ)}).sources
    assert needing.isdisjoint(need.check for need in alone.feeds)


def test_what_could_not_be_looked_at_is_told_as_more_and_what_is_not_offered_is_not() -> None:
    (blind,) = contributions(load_model(), {"ml": statement(runs=READ, registry=BLIND)}).sources
    (without,) = contributions(load_model(), {"ml": statement(runs=READ, registry=NONE)}).sources
    assert blind.would_feed
    assert not set(blind.would_feed) & set(blind.feeds)
    assert all("registry" in need.must for need in blind.would_feed)
    assert without.would_feed == ()


def test_the_stream_that_frees_most_checks_is_named_first() -> None:
    wanted = contributions(load_model(), {}).wanted
    assert wanted[0].stream == "runs"
    assert [len(one.at_once) for one in wanted] == sorted((len(one.at_once) for one in wanted), reverse=True)


def test_without_any_source_no_practice_is_fed() -> None:
    found = contributions(load_model(), {})
    assert found.sources == ()
    assert set(found.unfed) == {need.practice for need in needs(load_model())}
