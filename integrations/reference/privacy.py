"""Personal data, secrets and leakage: three scans, each with a number at its end.

The scan for personal data looks at names of columns and headers and at free text; the scan for secrets at files; the
leakage is how well the loss of a row tells whether a model was trained on it.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from integrations.reference.stories.base import Classes, Rows, Values

SCANNER = "reference-scan 1.0"
"""Name and version of the scan for personal data, as reports give it."""

_NAMES = re.compile(
    r"(?:^|[_\W])(?:(?:first|last|sur|family|patient|customer|holder)[ _]?names?|birth[ _]?dates?|date[ _]?of[ _]?birth"
    r"|e?[-_]?mails?|phones?|telephones?|street|address|iban|passport|social[ _]?security|ssn|card[ _]?numbers?"
    r"|patient[ _]?ids?)(?:$|[_\W])",
    re.IGNORECASE,
)
_TEXTS: Mapping[str, re.Pattern[str]] = {
    "e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*[a-z]{2}", re.IGNORECASE),
    "telephone number": re.compile(r"(?<![\w.])\+\d{1,3}[ -]?(?:\d[ -]?){7,12}(?!\w)"),
    "bank account": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b"),
    "date of birth": re.compile(r"\b(?:born|birth|DOB)\W{1,4}(?:on )?\d{1,4}[-./]\d{1,2}[-./]\d{1,4}", re.IGNORECASE),
}
_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){13,19}(?!\d)")
_SECRETS: Mapping[str, re.Pattern[str]] = {
    "cloud access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "token": re.compile(r"\b(?:ghp|gho|glpat|xoxb)[_-][A-Za-z0-9_-]{20,}"),
}
_ASSIGNED = re.compile(
    r"(?:secret|token|password|passwd|api[_-]?key)\w{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']([^\"'\s]{16,200})[\"']",
    re.IGNORECASE,
)
_ENTROPY_BITS = 3.5  # per character; words and paths lie below, random tokens above


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: what it is and where; never the thing itself."""

    kind: str
    where: str


def scan_names(names: Iterable[str]) -> list[Found]:
    """Names of columns or headers that promise personal data."""
    return [Found("name of a personal field", name) for name in names if _NAMES.search(name)]


def scan_text(text: str, where: str) -> list[Found]:
    """Personal data in free text: addresses, numbers of telephones, accounts and cards, dates of birth."""
    found = [Found(kind, where) for kind, pattern in _TEXTS.items() if pattern.search(text)]
    digits = ("".join(filter(str.isdigit, match[0])) for match in _CARD.finditer(text))
    return found + [Found("card number", where) for number in digits if _luhn(number)]


def scan_record(record: Mapping[str, object], where: str) -> list[Found]:
    """The fields of a record (headers of an image, a row's columns, a schema): their names and their texts."""
    texts = (
        (name, value if isinstance(value, str) else json.dumps(value, default=str)) for name, value in record.items()
    )
    return scan_names(record) + [one for name, text in texts for one in scan_text(text, f"{where}: {name}")]


def _luhn(number: str) -> bool:
    """Whether digits pass the check sum of card numbers (ISO/IEC 7812) and are not all alike."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return len(set(number)) > 1 and sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def scan_secrets(files: Iterable[Path]) -> list[Found]:
    """Secrets in text files: known forms, and assigned values that look random. Files that are no text hold none."""
    found = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="ignore")
        found += [Found(kind, file.name) for kind, pattern in _SECRETS.items() if pattern.search(text)]
        found += [Found("assigned secret", file.name) for match in _ASSIGNED.finditer(text) if _random(match[1])]
    return found


def _random(text: str) -> bool:
    """Whether a text has the entropy (bits a character, Shannon 1948) of a random token."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) >= _ENTROPY_BITS


def seeded_secret_caught(folder: Path) -> bool:
    """Put a made-up secret into a new file of the folder, scan the folder, take the file away: was it found?

    The secret is drawn anew each time, so that no list of known test secrets can pass.
    """
    planted = folder / "planted_settings.py"
    planted.write_text(f'API_KEY = "{secrets.token_urlsafe(24)}"\n', encoding="utf-8")
    try:
        return any(one.where == planted.name for one in scan_secrets(sorted(folder.glob("*.py"))))
    finally:
        planted.unlink()


def losses(logits: Rows, y: Classes) -> Values:
    """Cross-entropy of each row, (n,)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    found: Values = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
    return found


def membership_auc(member_losses: Values, other_losses: Values) -> float:
    """How well a low loss tells members of the training data from other rows (Yeom et al. 2018): the area under the
    ROC curve, 0.5 for not at all. Ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(-np.concatenate([member_losses, other_losses]))
    members, others = len(member_losses), len(other_losses)
    return float((ranks[:members].sum() - members * (members + 1) / 2) / (members * others))
