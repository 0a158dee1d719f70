"""Makes any text fit for the report's font: what it cannot show is replaced visibly, and nothing is too long.

Takes text that anybody may have written; gives text in which every character has a glyph in every weight. A character
without one becomes its plain form where Unicode knows one ("２" becomes "2"), else ``□``. Reads the character table of
the font files itself (OpenType ``cmap``, format 4), so it never disagrees with the font that is used.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parents[2] / "templates" / "reports" / "fonts"
MISSING = "□"
_BREAK = "\u200b"  # a place where a line may be broken; it has no glyph and needs none
_LONG_WORD = re.compile(r"[!-~\u00a1-\u024f]{25,}")
_HASH = re.compile(r"[0-9a-f]{64}")


def fit(text: str, most: int) -> str:
    """``text`` on one line, at most ``most`` characters long (then ending in ``…``), each of them in the font."""
    text = "".join(_shown(character) for character in unicodedata.normalize("NFC", text[: most * 2]))
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def breakable(text: str) -> str:
    """``text`` with places to break inside very long words, except inside a hash that somebody may want to copy."""
    return _LONG_WORD.sub(_with_breaks, text)


def _with_breaks(match: re.Match[str]) -> str:
    word = match.group()
    return word if _HASH.fullmatch(word) else _BREAK.join(word)


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    if ord(character) in coverage():
        return character
    if unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return ""  # joiners, marks and direction marks belong to a neighbour and show nothing by themselves
    plain = unicodedata.normalize("NFKC", character)
    return plain if all(ord(part) in coverage() for part in plain) else MISSING


@cache
def coverage() -> frozenset[int]:
    """The characters that every weight of the font can show."""
    return frozenset.intersection(*(_characters(path) for path in sorted(FONTS.glob("*.ttf"))))


def _characters(path: Path) -> frozenset[int]:
    content = path.read_bytes()
    return frozenset(_format_4(content, _unicode_table(content)))


def _unicode_table(content: bytes) -> int:
    """Where the format 4 table for Unicode starts. Raises ``ValueError`` when the font has none."""
    (tables,) = struct.unpack_from(">H", content, 4)
    places = {content[12 + 16 * n : 16 + 16 * n]: 12 + 16 * n for n in range(tables)}
    (cmap,) = struct.unpack_from(">I", content, places[b"cmap"] + 8)
    (records,) = struct.unpack_from(">H", content, cmap + 2)
    for n in range(records):
        platform, encoding, offset = struct.unpack_from(">HHI", content, cmap + 4 + 8 * n)
        if (platform, encoding) == (3, 1) and struct.unpack_from(">H", content, cmap + offset) == (4,):
            return int(cmap + offset)
    raise ValueError("the font has no character table of format 4")


def _format_4(content: bytes, table: int) -> Iterator[int]:
    """The characters of a table of segments: ends, starts, deltas and offsets of glyph numbers."""
    (twice,) = struct.unpack_from(">H", content, table + 6)
    count = twice // 2
    ends = struct.unpack_from(f">{count}H", content, table + 14)
    starts = struct.unpack_from(f">{count}H", content, table + 16 + twice)
    deltas = struct.unpack_from(f">{count}H", content, table + 16 + 2 * twice)
    base = table + 16 + 3 * twice
    offsets = struct.unpack_from(f">{count}H", content, base)
    for n, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        for code in range(start, min(end, 0xFFFE) + 1):
            place = base + 2 * n + offset + 2 * (code - start)
            glyph = struct.unpack_from(">H", content, place)[0] if offset else code
            if glyph and (glyph + delta) % 0x10000:
                yield code
