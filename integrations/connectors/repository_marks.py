"""What is written inside a file that the checks of the maturity model ask for.

Takes a role and a text; gives the marks found, from a closed list. Patterns only: nothing is imported, parsed by
Python's own parser (which a hostile text can crash) or run. A mark says "this is written there", not "this works".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from integrations.connectors.repository_roles import CODE_ROLES, Role

_SCANNERS = r"gitleaks|trufflehog|detect-secrets|git-secrets|ggshield|secret[-_ ]?(?:detection|scan)|talisman|whispers"
_PERSONAL_SCANNERS = (
    r"presidio|pii[-_ ]?(?:scan|check|detect)|personal[-_ ]?data[-_ ]?(?:scan|check)|octopii|piicatcher"
)
_TESTS = r"\bpytest\b|\bunittest\b|\btox\b|\bnox\b|make (?:unit-?)?tests?\b|\bctest\b"
_SMOKE = r"smoke[-_ ]?(?:train|test|run|fit)|train[-_ ]?smoke|fast_dev_run|冒烟|--smoke\b|smoke\.ya?ml"
_SCHEDULE = (
    r"^[ \t]{0,99}-?[ \t]{0,9}(?:schedules?|cron)[ \t]{0,9}:|\$CI_PIPELINE_SOURCE[ \t]{0,9}==[ \t]{0,9}[\"']schedule"
    r"|triggers\s{0,9}\{[^}]{0,500}cron|only:\s{0,99}\[?[ \t]{0,9}-?[ \t]{0,9}schedules"
)
_ON_CHANGE = (
    r"pull_request|merge_request|^[ \t]{0,99}\"?on\"?[ \t]{0,9}:.{0,500}\bpush\b|^[ \t]{0,99}push[ \t]{0,9}:"
    r"|^[ \t]{0,99}(?:trigger|pr)[ \t]{0,9}:|pull-requests[ \t]{0,9}:"
)

_PATTERNS: Mapping[Role, Mapping[str, str]] = {
    Role.DATASHEET: {
        "source": r"^#{1,6} .*(?:source|provenance|origin|collection|来源|采集)",
        "licence": r"^#{1,6} .*(?:licen[cs]e|legal basis|许可|法律依据)",
        "permitted_use": r"^#{1,6} .*(?:permitted|allowed|intended|acceptable) uses?|^#{1,6} .*(?:允许用途|用途)",
    },
    Role.CI: {
        "tests": _TESTS,
        "smoke_training": _SMOKE,
        "secrets_scan": _SCANNERS,
        "personal_data_scan": _PERSONAL_SCANNERS,
        "coverage": r"--cov\b|\bcoverage\b|codecov|coveralls",
        "schedule": _SCHEDULE,
        "reproduction": r"reproduc|\bdvc repro\b|复现",
        "on_change": _ON_CHANGE,
    },
    Role.HOOKS: {"tests": _TESTS, "secrets_scan": _SCANNERS, "personal_data_scan": _PERSONAL_SCANNERS},
    Role.PROTECTION: {
        "required_checks": r"required_status_checks|status_checks|check-success|required_checks|status-success",
        "required_reviews": r"required_(?:pull_request_reviews|approving_review_count|approvals)|approved-reviews-by",
        "tests": r"\btests?\b|pytest",
        "smoke_training": r"smoke",
    },
    Role.TEST: {
        "transform": r"transform|augment|preprocess",
        "loader": r"loader|dataset|datamodule",
        "model": r"\bmodel|network|\bnet\b|layer",
        "loss": r"loss|criterion",
        "shape": r"\.shape\b|\.size\(|_shape\b|shape_",
        "type": r"dtype|isinstance\(|\.float32|\.int64",
        "unit": r"\bunits?\b|hounsfield|rescale|slope|intercept|spacing|millimet|\bmm\b|\bhz\b|sample_rate",
        "edge_empty": r"empty|zero_length|len_0|no_rows",
        "edge_constant": r"constant|uniform_image|all_zeros|zero_variance|flat_image",
        "edge_missing": r"missing|\bnan\b|\bnone_modality|absent|incomplete",
        "golden": r"golden|parity",
        "smoke_training": r"smoke|overfit",
    },
    Role.TRAIN: {
        "seed": r"manual_seed|set_seed|seed_everything|random\.seed|random_state|\bseed\s*=|--seed",
        "tracking": r"\bmlflow\b",
    },
    Role.TEST_RESULT: {"failed": r"\b(?:failures|errors)=\"[1-9]"},
}
_COMPILED = {
    role: {mark: re.compile(pattern, re.IGNORECASE | re.MULTILINE) for mark, pattern in patterns.items()}
    for role, patterns in _PATTERNS.items()
}
_COMMENTED = {
    **dict.fromkeys(
        (Role.CI, Role.HOOKS, Role.PROTECTION, Role.PIPELINE), re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
    ),
    Role.TEST: re.compile(r"^[ \t]*#.*$", re.MULTILINE),
    Role.TRAIN: re.compile(r"^[ \t]*#.*$", re.MULTILINE),
}
"""Comments say what somebody meant to do; they do nothing."""
_REQUIREMENT = re.compile(r"^[ \t]*([A-Za-z0-9][\w.-]*)(?:\[[^\]\n]*\])?[ \t]*([^#;\n]*)", re.MULTILINE)
_NAME = r"(?<![\w.-]){}(?![\w.-])"


def marks_of(role: Role, text: str, shared: tuple[str, ...] = ()) -> set[str]:
    """The marks of a text. ``shared``: packages of the organisation to look for in dependency lists and imports."""
    if role in _COMMENTED:
        text = _COMMENTED[role].sub("", text)
    found = {mark for mark, pattern in _COMPILED.get(role, {}).items() if pattern.search(text)}
    if role in _SPECIAL:
        found |= _SPECIAL[role](text)
    if role in (Role.DEPENDENCIES, Role.LOCK):
        found |= {f"shared:{name}" for name in shared if _names(text, name)}
    elif role in CODE_ROLES:
        found |= {f"shared:{name}" for name in shared if _imports(text, name)}
    return found


def _names(text: str, package: str) -> bool:
    """Whether a dependency list names the package; dash, dot and underscore are the same there."""
    loose = re.sub(r"[-_.]+", "-", package)
    return bool(re.search(_NAME.format(re.escape(loose).replace(r"\-", "[-_.]+")), text, re.IGNORECASE))


def _imports(text: str, package: str) -> bool:
    name = re.escape(re.sub(r"[-]+", "_", package))
    return bool(re.search(rf"^[ \t]*(?:from|import)[ \t]+{name}(?![\w])", text, re.MULTILINE))


def _pipeline(text: str) -> set[str]:
    """``steps`` when two or more steps, stages, rules or tasks are defined."""
    steps = re.findall(
        r"^[ \t]{0,99}(?:rule \w+|process \w+|@(?:task|step|op|component|flow)\b|\w+ = \w*Operator\()",
        text,
        re.MULTILINE,
    )
    staged = re.findall(r"^[ \t]{1,99}(?:-[ \t]{1,9})?(?:cmd|command|run|script|name)[ \t]{0,9}:", text, re.MULTILINE)
    entries = re.findall(r"^  [\w-]{1,200}:[ \t]{0,9}$", text, re.MULTILINE)
    return {"steps"} if max(len(steps), len(staged), len(entries)) >= 2 else set()


def _container(text: str) -> set[str]:
    """``digest`` when every base image is named by its digest."""
    images = re.findall(
        r"^[ \t]{0,99}(?:FROM(?:[ \t]{1,9}--\S{1,200})?|image:)[ \t]{1,9}(\S{1,500})"
        r"(?:[ \t]{1,9}AS[ \t]{1,9}(\S{1,200}))?",
        text,
        re.MULTILINE | re.IGNORECASE,
    )
    stages = {stage for _, stage in images if stage}
    bases = [image for image, _ in images if image not in stages and image != "scratch"]
    return {"digest"} if bases and all("@sha256:" in image for image in bases) else set()


def _dependencies(text: str) -> set[str]:
    """``pinned`` when every line of a requirements list names one version, ``hashes`` when hashes are given."""
    marks = {"hashes"} if "--hash=sha256:" in text else set()
    lines = [found for found in _REQUIREMENT.findall(text) if not found[0].startswith("-")]
    if lines and not text.lstrip().startswith(("[", "import", "from")) and all("==" in rest for _, rest in lines):
        marks.add("pinned")
    return marks


def _coverage(text: str) -> set[str]:
    """``line_rate:NN`` of a Cobertura XML, a coverage.json or an lcov file."""
    share: float | None = None
    if found := re.search(r"<coverage[^<>]{0,2000}?\bline-rate=\"([01](?:\.\d{1,12})?)\"", text):
        share = float(found[1])
    elif found := re.search(
        r"\"totals\"\s*:\s*\{[^{}]{0,2000}?\"percent_covered\"\s*:\s*(\d{1,3}(?:\.\d{1,15})?)", text
    ):
        share = float(found[1]) / 100
    else:
        lines = sum(int(n) for n in re.findall(r"^LF:(\d{1,9})$", text, re.MULTILINE))
        hits = sum(int(n) for n in re.findall(r"^LH:(\d{1,9})$", text, re.MULTILINE))
        share = hits / lines if lines and hits <= lines else None
    return set() if share is None or share > 1 else {f"line_rate:{int(share * 100 + 1e-9)}"}


def _test_result(text: str) -> set[str]:
    suite = re.search(r"<testsuites?\b[^<>]{0,2000}>", text)
    ran = re.search(r"\btests=\"[1-9]", text)
    bad = _COMPILED[Role.TEST_RESULT]["failed"].search(text)
    return {"passed"} if suite and ran and not bad else set()


_SPECIAL: Mapping[Role, Callable[[str], set[str]]] = {
    Role.PIPELINE: _pipeline,
    Role.CONTAINER: _container,
    Role.DEPENDENCIES: _dependencies,
    Role.COVERAGE: _coverage,
    Role.TEST_RESULT: _test_result,
}
READ_ROLES = frozenset({*_PATTERNS, *_SPECIAL, Role.LOCK, *CODE_ROLES})
"""Roles whose files are looked into for marks."""
