"""What a file of a repository is, told from its path alone, by closed rules in a fixed order.

Takes a path; gives one ``Role``. The checks of the maturity model build on these names, so a new one is a new word of
the contract. Paths are data of others: rules are plain patterns on the lower-cased path and never touch a file.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Role(StrEnum):
    """The closed list of roles."""

    LINK = "link"
    SUBMODULE = "submodule"
    DATASHEET = "datasheet"
    CI = "ci"
    HOOKS = "hooks"
    PROTECTION = "protection"
    OWNERS = "owners"
    TEMPLATE = "template"
    USAGE = "usage"
    COVERAGE = "coverage"
    TEST_RESULT = "test_result"
    PIPELINE = "pipeline"
    CASE = "case"
    EXPECTATION = "expectation"
    TEST = "test"
    LOCK = "lock"
    DATA_LOCK = "data_lock"
    DEPENDENCIES = "dependencies"
    CONTAINER = "container"
    PREPROCESS = "preprocess"
    TRAIN = "train"
    SERVE = "serve"
    TRANSFORM = "transform"
    LOADER = "loader"
    EVALUATE = "evaluate"
    MODEL = "model"
    MODEL_CARD = "model_card"
    README = "readme"
    LICENCE = "licence"
    NOTEBOOK = "notebook"
    CODE = "code"
    OTHER = "other"


CODE_ROLES = frozenset(
    {
        Role.PREPROCESS,
        Role.TRAIN,
        Role.SERVE,
        Role.TRANSFORM,
        Role.LOADER,
        Role.EVALUATE,
        Role.MODEL,
        Role.CODE,
    }
)
"""Roles of program text that is neither a test nor a definition of a pipeline."""

_Y = r"\.ya?ml"
_PATTERNS: tuple[tuple[Role, str], ...] = (
    (Role.DATASHEET, r"(?:.*/)?(?:[^/]*[-_])?(?:data_?sheet|data_?card|dataset_?card)\.md"),
    (Role.CI, rf"(?:.*/)?\.(?:github|gitea|forgejo)/workflows/[^/]+{_Y}|(?:.*/)?(?:jenkinsfile|azure-pipelines{_Y})"),
    (Role.CI, rf"(?:.*/)?\.gitlab-ci{_Y}|\.gitlab/ci/.*{_Y}|(?:.*/)?\.circleci/config{_Y}|bitbucket-pipelines{_Y}"),
    (Role.CI, rf"\.(?:drone|travis|cirrus|woodpecker){_Y}|\.(?:woodpecker|buildkite|tekton)/.*{_Y}"),
    (Role.HOOKS, rf"(?:.*/)?\.pre-commit-config{_Y}"),
    (Role.PROTECTION, rf"\.github/settings{_Y}|\.github/rulesets/.*|(?:\.github/)?\.?mergify{_Y}"),
    (Role.PROTECTION, rf"(?:.*/)?branch[-_]?protection[^/]*(?:{_Y}|\.json|\.tf)|(?:.*/)?protection(?:{_Y}|\.json)"),
    (Role.OWNERS, r"(?:\.github/|\.gitlab/|docs/)?codeowners"),
    (Role.TEMPLATE, rf"(?:.*/)?\.(?:copier-answers[^/]*{_Y}|cruft\.json|template{_Y}|project-template)"),
    (Role.USAGE, rf"(?:.*/)?component[-_]usage(?:\.json|\.csv|\.md|{_Y})"),
    (Role.COVERAGE, r"(?:.*/)?(?:coverage\.(?:xml|json)|lcov\.info|cobertura[^/]*\.xml|jacoco[^/]*\.xml)"),
    (Role.TEST_RESULT, r"(?:.*/)?(?:junit|test[-_]?results?|pytest)[^/]*\.xml|(?:.*/)?test[-_]?results?/[^/]*\.xml"),
    (Role.PIPELINE, rf"(?:.*/)?(?:dvc{_Y}|snakefile|mlproject|pipelines?(?:{_Y}|\.py)|[^/]+\.(?:smk|nf))"),
    (Role.PIPELINE, r"(?:.*/)?(?:dags|flows)/[^/]+\.py"),
    (Role.CASE, rf"(?!.*tests?/)(?:.*/)?(?:cases|case[-_]library|case[-_]studies)/.*|(?:.*/)?case(?:{_Y}|\.json)"),
    (Role.EXPECTATION, rf"(?:.*/)?expectations?/.*(?:\.json|{_Y}|\.py)|(?:.*/)?[^/]*expectations?(?:\.json|{_Y}|\.py)"),
    (Role.EXPECTATION, rf"(?:.*/)?[^/]*[._-]?schemas?(?:\.json|{_Y}|\.py|\.pbtxt)|(?:.*/)?[^/]+\.avsc"),
    (Role.EXPECTATION, rf"(?:.*/)?schemas/.*(?:\.json|{_Y}|\.py)|(?:.*/)?pandera[^/]*\.py|(?:.*/)?soda/.*{_Y}"),
    (
        Role.TEST,
        r"(?:.*/)?(?:test_[^/]*|[^/]*_test|conftest)\.(?:py|jl)|(?:.*/)?tests?/.*\.(?:py|r|jl|sh|ts|js|java|scala)",
    ),
    (
        Role.LOCK,
        rf"(?:.*/)?(?:uv\.lock|poetry\.lock|pipfile\.lock|pdm\.lock|pixi\.lock|conda-lock{_Y}|[^/]*requirements[^/]*\.lock)",
    ),
    (Role.DATA_LOCK, r"(?:.*/)?(?:dvc\.lock|[^/]+\.dvc)"),
    (
        Role.DEPENDENCIES,
        rf"(?:.*/)?(?:[^/]*requirements[^/]*\.(?:txt|in)|environment[^/]*{_Y}|pyproject\.toml|setup\.(?:py|cfg)|pipfile)",
    ),
    (Role.DEPENDENCIES, r"(?:.*/)?requirements/[^/]+\.(?:txt|in)"),
    (Role.CONTAINER, rf"(?:.*/)?(?:dockerfile[^/]*|containerfile[^/]*|[^/]+\.dockerfile|(?:docker-)?compose[^/]*{_Y})"),
    (Role.TRANSFORM, r"(?:.*/)?(?:transforms?|transformations?|augmentations?|preprocessing)/[^/]+\.py"),
    (Role.TRANSFORM, r"(?:.*/)?(?:[^/]*_)?(?:transforms?|augment(?:ations?)?|preprocessing|features?)\.py"),
    (Role.PREPROCESS, r"(?:.*/)?(?:preprocess|pre_process|prepare|ingest)[^/]*\.(?:py|sh|r)"),
    (Role.PREPROCESS, r"(?:.*/)?(?:[^/]*_preprocess(?:ing)?|make_dataset|build_dataset|(?:[^/]*_)?etl)\.(?:py|sh|r)"),
    (Role.TRAIN, r"(?:.*/)?(?:train(?:ing)?(?:_[^/]*)?|[^/]*_train(?:ing)?|fine_?tune[^/]*|fit)\.(?:py|sh|jl|r)"),
    (Role.SERVE, r"(?:.*/)?(?:serve[^/]*|serving[^/]*|predict[^/]*|infer(?:ence)?[^/]*)\.py"),
    (Role.SERVE, r"(?:.*/)?(?:serve|serving|inference|deploy|deployment|api)/.*\.py"),
    (
        Role.LOADER,
        r"(?:.*/)?(?:[^/]*_)?(?:data)?(?:loaders?|sets?_loader|datasets?|datamodules?|data_module|data_loader)\.py",
    ),
    (Role.EVALUATE, r"(?:.*/)?(?:eval(?:uate|uation)?|benchmark)(?:_[^/]*)?\.py"),
    (
        Role.MODEL,
        r"(?:.*/)?(?:models?|nets?|networks?|loss(?:es)?|layers?)(?:_[^/]*)?\.py|(?:.*/)?(?:models?|losses|layers)/.*\.py",
    ),
    (Role.MODEL_CARD, r"(?:.*/)?model_?card[^/]*\.md"),
    (Role.README, r"(?:.*/)?readme[^/]*"),
    (Role.LICENCE, r"(?:.*/)?(?:licen[cs]e|copying)[^/]*"),
    (Role.NOTEBOOK, r".*\.ipynb"),
    (Role.CODE, r".*\.(?:py|pyx|r|jl|scala|java|kt|cpp|cc|c|h|hpp|cu|rs|go|sh|js|ts|m)"),
)
_RULES = tuple((role, re.compile(pattern)) for role, pattern in _PATTERNS)
_LONGEST_PATH = 1000  # a longer one is nothing a rule means, and patterns stay quick


def role_of(path: str, kind: str = "file", template_marker: str = "") -> Role:
    """The role of a path. ``kind``: file, link or submodule; ``template_marker``: one more path of a template."""
    if kind != "file":
        return Role.LINK if kind == "link" else Role.SUBMODULE
    if template_marker and path == template_marker:
        return Role.TEMPLATE
    if len(path) > _LONGEST_PATH:
        return Role.OTHER
    lowered = path.lower()
    for role, rule in _RULES:
        if rule.fullmatch(lowered):
            return role
    return Role.OTHER
