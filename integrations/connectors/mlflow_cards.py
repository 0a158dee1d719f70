"""The outline of a text document among the artifacts, such as a model card: its headings, length and fingerprint.

Takes a path and the bytes behind it, which anybody may have written; gives a row of ``cards`` without the text. Only
file names on a short list are ever asked for: a model or a picture is not fetched to find out that it is none.
"""

from __future__ import annotations

import hashlib
import re

from integrations.connectors.mlflow_rows import Row

_NAMES = re.compile(r"(^|/)([^/]*card[^/]*\.md|readme\.md|model_card[^/]*|datasheet[^/]*\.md)$", re.IGNORECASE)
_TECHNICAL_FILE = re.compile(r"(^|/)technical_file/[^/]+\.md$", re.IGNORECASE)
_TEXT_ENDINGS = ("", "md", "markdown", "rst", "txt")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MOST_HEADINGS = 200
_LONGEST_HEADING = 200  # characters
_LONGEST_PATH = 500


def is_card(path: str) -> bool:
    """The path names a document that is worth an outline, by its name alone."""
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    if len(path) > _LONGEST_PATH or (dot and ending.lower() not in _TEXT_ENDINGS):
        return False
    return bool(_NAMES.search(path) or _TECHNICAL_FILE.search(path))


def outline(owner: str, path: str, content: bytes) -> Row | None:
    """The row of a document; None when the content is no UTF-8 text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    found = headings(text)
    return {
        "owner": owner,
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "length": len(text),
        "headings": "\n".join(found),
    }


def headings(text: str) -> list[str]:
    """The headings of a Markdown text in order, at most 200, each cut at 200 characters; those in code are none."""
    found: list[str] = []
    fence, before = "", ""
    for line in _without_front_matter(text.splitlines()):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not line[mark.end() :].strip() else fence
        elif mark:
            fence, before = mark[1], ""
        elif title := _title(line, before):
            found.append("".join(c for c in title[:_LONGEST_HEADING] if c.isprintable()))
            before = ""
        else:
            before = line
    return found[:_MOST_HEADINGS]


def _without_front_matter(lines: list[str]) -> list[str]:
    """The lines after a block of settings that a document may begin with."""
    if lines[:1] != ["---"] or "---" not in lines[1:]:
        return lines
    return lines[lines.index("---", 1) + 1 :]


def _title(line: str, before: str) -> str:
    """The heading that a line is, or that it makes of the line before; empty when it is neither."""
    heading = _HEADING.match(line)
    if heading is None:
        return before.strip() if _UNDERLINE.match(line) else ""
    title = line[heading.end() :].strip()
    bare = title.rstrip("#")
    return bare.rstrip() if bare[-1:] in ("", " ", "\t") else title
