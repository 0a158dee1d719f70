"""People, reviews and merged change requests, as the commits of a repository tell them.

Takes commits; gives rows of ``commits`` and ``change_requests``. People appear as pseudonyms only. An approval counts
only where a message names the approver; where no message does, the number is missing, never nought.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from integrations.connectors.repository_copy import Commit

_REVIEW = re.compile(r"^(?:reviewed|approved|acked)-by:(?P<who>[^\n]{1,500})$", re.IGNORECASE | re.MULTILINE)
_TOGETHER = re.compile(r"^co-authored-by:(?P<who>[^\n]{1,500})$", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"<([^<>\s]{1,300})>")
_MERGES = (
    re.compile(r"\AMerge pull request #(\d{1,12})\b"),
    re.compile(r"^See merge request (?:[\w./-]{1,300})?!(\d{1,12})\s*$", re.MULTILINE),
    re.compile(r"\AMerged in [^\n]{1,300} \(pull request #(\d{1,12})\)"),
    re.compile(r"\AMerged PR (\d{1,12}):"),
)
_SQUASHES = (
    re.compile(r"\A[^\n]{0,500}\(#(\d{1,12})\)[ \t]*(?:\n|\Z)"),
    re.compile(r"\A[^\n]{0,500}\(!(\d{1,12})\)[ \t]*(?:\n|\Z)"),
    *_MERGES[1:],
)


def pseudonym(name: str, address: str) -> str | None:
    """The same 16 hex digits for the same address (or name, if there is none); None for nobody."""
    person = address.strip().lower() or name.strip().lower()
    return hashlib.sha256(f"dlemm.person:{person}".encode()).hexdigest()[:16] if person else None


def commit_rows(repository: str, commits: Iterable[Commit]) -> list[dict[str, Any]]:
    """Rows of ``commits``."""
    return [
        {
            "repository": repository,
            "commit": commit.oid,
            "author": pseudonym(*commit.author),
            "at": commit.at,
            "parents": len(commit.parents),
            "reviewers": len(_reviewers(commit, {pseudonym(*commit.author)}) or ()),
        }
        for commit in commits
    ]


def change_rows(repository: str, commits: list[Commit]) -> list[dict[str, Any]]:
    """Rows of ``change_requests``: merged ones that the history names by a number, newest first.

    The author of a merge is whoever made the last commit merged, since the merge itself belongs to who pressed the
    button. A number that appears twice counts once, as its merge if there is one.
    """
    by_oid = {commit.oid: commit for commit in commits}
    rows: dict[str, dict[str, Any]] = {}
    for commit in sorted(commits, key=lambda c: (len(c.parents) < 2, -(c.at or 0), c.oid)):
        number = _number(commit)
        if number is None or number in rows:
            continue
        tip = by_oid.get(commit.parents[1]) if len(commit.parents) > 1 else commit
        author = pseudonym(*tip.author) if tip else None
        reviewers = _reviewers(commit, {author}) if author else None
        rows[number] = {
            "repository": repository,
            "number": number,
            "author": author,
            "merged_at": commit.at,
            "approvals": None if reviewers is None else len(reviewers),
        }
    return sorted(rows.values(), key=lambda row: (-(row["merged_at"] or 0), row["number"]))


def _number(commit: Commit) -> str | None:
    for pattern in _MERGES if len(commit.parents) > 1 else _SQUASHES:
        if found := pattern.search(commit.message):
            return found[1].lstrip("0") or "0"
    return None


def _reviewers(commit: Commit, authors: set[str | None]) -> set[str] | None:
    """Pseudonyms of those named as reviewers, authors left out; None when the message names no reviewer at all."""
    named = [_person(found["who"]) for found in _REVIEW.finditer(commit.message)]
    if not named:
        return None
    together = {_person(found["who"]) for found in _TOGETHER.finditer(commit.message)}
    return {person for person in named if person is not None and person not in authors | together}


def _person(who: str) -> str | None:
    found = _ADDRESS.search(who)
    return pseudonym(who.partition("<")[0], found[1] if found else "")
