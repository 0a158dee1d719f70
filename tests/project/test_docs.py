"""The manual is held to the code: what exists is documented, in both languages, and what is quoted is true."""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from assessments.settings import SETTINGS
from assessments.web.help_pages import PAGES
from benchmarks.__main__ import NAMES as BENCHMARKS
from integrations.connectors.base import CONNECTORS, Reason
from integrations.reference import __main__ as reference
from maturity import __main__ as engine
from maturity import vocabulary
from maturity.answers import VERDICT_KINDS
from maturity.facts import TABLES, Reading
from maturity.measures import FUNCTIONS, HOLDS, POPULATIONS, RELATIONS, How
from maturity.schema import BUNDLED, load_model
from maturity.scorecard import Outcome
from tests.project.tree import ROOT, shown

DOCS = ROOT / "templates" / "docs"
LANGUAGES = ("en", "zh")
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


@cache
def page(name: str, language: str) -> str:
    suffix = "" if language == "en" else ".zh"
    return (DOCS / f"{name}{suffix}.md").read_text("utf-8")


def coded(text: str) -> set[str]:
    """Every word or phrase between backticks, and the words in it."""
    spans = set(re.findall(r"`([^`\n]+)`", text))
    return spans | {word for span in spans for word in re.split(r"[\s{}\[\],:|…]+", span)}


def undocumented(names: object, name: str, language: str) -> list[str]:
    known = coded(page(name, language))
    return sorted(str(each) for each in names if str(each) not in known)  # type: ignore[attr-defined]


both = pytest.mark.parametrize("language", LANGUAGES)
every_page = pytest.mark.parametrize("name", PAGES)

# The pages themselves


@both
@every_page
def test_a_page_begins_with_its_title_and_holds_no_html(name: str, language: str) -> None:
    text = page(name, language)
    assert re.match(r"# \S", text)
    assert len(re.findall(r"^# ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)) == 1
    prose = re.sub(r"```.*?```|`[^`\n]+`|^    .*$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"<[/!a-zA-Z][^>]*>", prose) == []


@every_page
def test_both_languages_have_the_same_parts(name: str) -> None:
    def shape(language: str) -> list[tuple[str, int]]:
        lines = page(name, language).splitlines()
        marks = [match[0] for line in lines if (match := re.match(r"#+ |\||- |\d+\. |    |```", line))]
        return [(mark if mark[0] != "|" else "|", 0) for mark in marks]

    assert shape("en") == shape("zh")


@every_page
def test_both_languages_speak_of_the_same_things(name: str) -> None:
    def spans(language: str) -> set[str]:
        return {s for s in re.findall(r"`([^`\n]+)`", page(name, language)) if s.isascii() and " " not in s}

    assert spans("en") == spans("zh")


def test_the_folder_holds_the_pages_of_the_manual_and_no_others() -> None:
    found = {path.name for path in DOCS.glob("*.md")}
    assert found == {f"{name}{suffix}.md" for name in PAGES for suffix in ("", ".zh")}


@both
@every_page
def test_every_link_leads_to_a_page(name: str, language: str) -> None:
    assert [target for target in _targets(page(name, language)) if target.removesuffix(".md") not in PAGES] == []


@both
def test_the_first_page_leads_to_every_other(language: str) -> None:
    assert {f"{name}.md" for name in PAGES[1:]} - set(_targets(page("start", language))) == set()


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_of_the_texts_at_the_top_leads_to_a_file(name: str) -> None:
    targets = [target.partition("#")[0] for target in _targets((ROOT / name).read_text("utf-8"))]
    assert [target for target in targets if target and not (ROOT / target).exists()] == []


def _targets(text: str) -> list[str]:
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith(("http", "mailto:"))]


# What exists is documented


@both
def test_every_setting_is_documented_with_its_default(language: str) -> None:
    rows = {cells[0].strip("`"): cells[1].strip("`") for cells in table_rows(page("settings", language))}
    assert {setting.name for setting in SETTINGS} == {name for name in rows if name.startswith("DLEMM_")}
    plain = {setting.name: setting.default for setting in SETTINGS if setting.name != "DLEMM_DATA"}
    empty = {"en": "empty", "zh": "空"}[language]
    assert {name: rows[name] for name in plain} == {name: default or empty for name, default in plain.items()}


def own_commands() -> dict[str, argparse.ArgumentParser]:
    apps = {name: app for name, app in get_commands().items() if str(app).startswith("assessments")}
    return {name: load_command_class(app, name).create_parser("manage.py", name) for name, app in apps.items()}


INHERITED = {"--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color"}
INHERITED |= {"--force-color", "--skip-checks"}


@both
def test_every_management_command_is_documented_with_its_options(language: str) -> None:
    commands = own_commands()
    assert {"add_organisation", "add_source", "collect", "answer", "assess", "serve", "demo"} <= commands.keys()
    rows = {cells[0].strip("`").split()[0]: " ".join(cells) for cells in table_rows(page("commands", language))}
    for name, parser in commands.items():
        assert name in rows, f"{name} is not documented"
        missing = options_of(parser) - INHERITED - set(re.findall(r"--[a-z-]+", rows[name]))
        assert missing == set(), f"{name}: {missing}"
        assert set(re.findall(r"--[a-z-]+", rows[name])) - {"--help"} <= options_of(parser), name


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings if text.startswith("--")}


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


@both
@pytest.mark.parametrize("module", [engine, reference], ids=["maturity", "reference"])
def test_every_command_of_a_module_is_documented_with_its_options(module: Any, language: str) -> None:
    known = coded(page("commands", language))
    for name, parser in subcommands(module._parser()).items():
        assert name in known
        assert options_of(parser) - {"--help"} - known == set(), name


@both
def test_every_make_target_is_documented(language: str) -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert len(targets) > 8
    assert undocumented(set(targets) - {"help"}, "commands", language) == []


@both
def test_every_kind_of_source_and_every_reason_of_a_fault_is_documented(language: str) -> None:
    assert undocumented(CONNECTORS, "commands", language) == []
    assert undocumented(Reason, "faults", language) == []


@both
def test_every_fact_table_is_documented_with_its_columns(language: str) -> None:
    rows = {cells[0].strip("`"): cells for cells in table_rows(page("evidence", language)) if len(cells) == 3}
    for table in TABLES.values():
        assert rows[table.name][1] == f"`{table.stream}`"
        assert re.findall(r"`(\w+)`", rows[table.name][2]) == list(table.names)


@both
def test_every_population_outcome_reading_and_kind_of_verdict_is_documented(language: str) -> None:
    assert undocumented(POPULATIONS, "evidence", language) == []
    assert undocumented([*Outcome, *Reading], "evidence", language) == []
    assert [kind for kind in VERDICT_KINDS if kind not in page("commands", language)] == []


@both
def test_the_whole_vocabulary_of_indicators_is_documented(language: str) -> None:
    relations = {name for _, name in RELATIONS}
    flags = {flag for found in vocabulary._FLAGS.values() for flag in found}
    words = {*How, *relations, *HOLDS, *FUNCTIONS, *flags, *vocabulary._HEADS, *vocabulary._NAMED, *vocabulary._OPS}
    assert undocumented(words, "indicators", language) == []


@both
def test_every_family_of_indicators_and_the_size_of_the_model_are_told(language: str) -> None:
    model = load_model()
    families = {key.partition("-")[0] for key in model.indicators}
    assert undocumented(families, "indicators", language) == []
    assert str(len(families)) in page("indicators", language)
    for number in (len(model.dimensions), len(model.capabilities), len(model.practices), len(model.indicators)):
        assert re.search(rf"\b{number}\b|{number} ", page("model-files", language))
    assert f"{len(model.indicators)}" in page("start", language)


@both
def test_every_indicator_that_is_not_measured_is_told_with_its_reason(language: str) -> None:
    reasons = {key: indicator.reason for key, indicator in load_model().indicators.items() if indicator.reason}
    rows = {cells[0].strip("`"): cells[1] for cells in table_rows(page("evidence", language)) if len(cells) == 2}
    assert {key: rows.get(key) for key in reasons} == {key: text.in_(language) for key, text in reasons.items()}
    measured = load_model().indicators.keys() - reasons.keys()
    assert measured & rows.keys() == set()


@both
def test_every_name_that_an_indicator_looks_at_is_documented(language: str) -> None:
    looked_at = {
        name for path in BUNDLED.glob("indicators/*.yaml") for name in _names(_measures(path.read_text("utf-8")))
    }
    assert len(looked_at) > 100
    text = page("evidence", language)
    assert sorted(name for name in looked_at if not _mentioned(name, text)) == []


def _measures(text: str) -> list[Any]:
    return [indicator["measure"] for indicator in yaml.safe_load(text)["indicators"] if "measure" in indicator]


def _names(node: Any) -> Iterator[str]:
    """Names of tags, parameters and metrics inside a measure."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in ("tag", "declared", "time", "param", "metric", "metrics", "params") and isinstance(value, str):
            yield value
        elif key == "annotation":
            yield from value
        else:
            yield from _names(value)


def _mentioned(name: str, text: str) -> bool:
    """A name; of a pattern such as ``rollout/**`` what stands before its first asterisk."""
    before, asterisk, _ = name.partition("*")
    return name == "**" or f"`{before}…`" in text if asterisk else f"`{name}`" in text


@both
def test_the_example_of_an_indicator_is_the_one_in_the_model(language: str) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", page("indicators", language), re.DOTALL)
    (file,) = re.findall(r"`maturity/model/(indicators/[A-Z]+\.yaml)`", page("indicators", language))
    assert block in (BUNDLED / file).read_text("utf-8")


@both
def test_every_benchmark_is_documented(language: str) -> None:
    assert undocumented(BENCHMARKS, "figures", language) == []


# Decisions and libraries


def test_decisions_are_numbered_without_a_gap_and_say_why() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        text = path.read_text("utf-8")
        assert text.startswith(f"# {path.name[:4]} "), shown(path)
        for part in ("Context.", "Decision.", "Why", "Consequence."):
            assert f"**{part}" in text, f"{shown(path)} lacks {part}"


def test_every_library_is_listed_with_its_reason_and_no_other_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    wanted = {(_library(entry), group) for group, entries in groups.items() for entry in entries}
    rows = [
        cells
        for cells in table_rows((DOCS / "decisions" / "0002-libraries.md").read_text("utf-8"))
        if cells[0][0] == "`"
    ]
    assert {(cells[0].strip("`"), cells[1]) for cells in rows} == wanted
    assert [cells[0] for cells in rows if len(cells[2]) < 10] == []


def _library(entry: str) -> str:
    return re.split(r"[\[<>=!~ ;]", entry)[0]


def table_rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, header and ruler included."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]


@both
@every_page
def test_a_page_is_served_in_both_languages_with_links_that_resolve(name: str, language: str, client: Client) -> None:
    answer = client.get(
        reverse("help-page", args=[name]), headers={"accept-language": {"en": "en", "zh": "zh-CN"}[language]}
    )
    content = answer.content.decode()
    assert answer.status_code == 200
    assert escape(page(name, language).partition("\n")[0].removeprefix("# ")) in content
    assert re.findall(r'href="[^"]+\.md"', content) == []
