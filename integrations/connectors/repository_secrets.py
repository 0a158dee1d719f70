"""Where something lies that looks like a secret; the secret itself is never kept.

Takes a text; gives line numbers and rule names. A short table of well-known forms is used instead of detect-secrets,
which keeps its settings process-wide and asks the issuers over the network whether what it found is valid.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

_MOST_PER_FILE = 100
_LONGEST_LINE = 4000
_RULES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("private_key", r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        ("aws_access_key", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])"),
        ("github_token", r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})(?!\w)"),
        ("gitlab_token", r"(?<!\w)gl(?:pat|ptt|dt|rt|cbt)-[A-Za-z0-9_-]{20,64}(?![\w-])"),
        ("slack_token", r"(?<!\w)xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
        ("slack_webhook", r"hooks\.slack\.com/services/T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{20,30}"),
        ("google_api_key", r"(?<![\w-])AIza[A-Za-z0-9_-]{35}(?![\w-])"),
        ("hugging_face_token", r"(?<!\w)hf_[A-Za-z]{34}(?!\w)"),
        ("pypi_token", r"(?<!\w)pypi-AgEIcHlwaS5vcmc[\w-]{50,500}"),
        ("stripe_key", r"(?<!\w)[rs]k_live_[A-Za-z0-9]{20,100}"),
        ("azure_storage_key", r"AccountKey=[A-Za-z0-9+/]{86}=="),
        (
            "address_with_password",
            r"[a-z][a-z0-9+]{1,20}://[^\s:/@'\"<>{}$]{1,60}:[^\s:/@'\"<>{}$*]{6,100}@[\w.-]{3,100}",
        ),
    )
)
_ASSIGNED = re.compile(
    r"(?:passwo?r?d|passwd|secret|token|api_?key|access_?key|auth_?key)[\w]{0,20}[\"']?\s{0,4}[:=]\s{0,4}[\"']([^\"'\s]{16,200})[\"']",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"example|x{4}|your|change_?me|placeholder|dummy|\$\{|\{\{|<|\*{3}|env\[|getenv", re.IGNORECASE
)
_LEAST_ENTROPY = 3.5  # bits a character; English words lie below, random letters above


def sightings(text: str) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and rule of each sighting, at most a hundred a file and one of a rule a line."""
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        for rule in _rules_met(line[:_LONGEST_LINE]):
            yield number, rule
            count += 1
            if count >= _MOST_PER_FILE:
                return


def _rules_met(line: str) -> list[str]:
    met = [name for name, pattern in _RULES if pattern.search(line)]
    if not met and any(_random(found[1]) for found in _ASSIGNED.finditer(line)):
        met.append("assigned_secret")
    return met


def _random(value: str) -> bool:
    if _PLACEHOLDER.search(value):
        return False
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy >= _LEAST_ENTROPY and any(c.isdigit() for c in value)
