"""The manual, served as help: Markdown files under ``templates/docs``, written by us and rendered without HTML."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

PAGES = (
    "start",
    "commands",
    "evidence",
    "sources",
    "projects",
    "scoring",
    "gaming",
    "indicators",
    "model-files",
    "reports",
    "packs",
    "reference",
    "settings",
    "faults",
    "figures",
)
"""The pages of the manual in reading order; each is ``templates/docs/<name>.md``, in Chinese ``<name>.zh.md``."""


def folder() -> Path:
    """Where the manual lies."""
    return Path(settings.BASE_DIR) / "templates" / "docs"


@login_not_required
def page(request: HttpRequest, name: str = "start") -> HttpResponse:
    """One page of the manual, beside the list of all."""
    if name not in PAGES:
        raise Http404
    chinese = str(getattr(request, "LANGUAGE_CODE", "en")).startswith("zh")
    pages = [(page_name, _title(page_name, chinese)) for page_name in PAGES]
    return render(request, "pages/help.html", {"pages": pages, "name": name, "content": _rendered(name, chinese)})


@cache
def _rendered(name: str, chinese: bool) -> SafeString:
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(_text(name, chinese))
    # Links between pages are written name.md, so that they also work where the files are read as such.
    html = re.sub(r'href="([a-z-]+)\.md"', lambda match: f'href="{reverse("help-page", args=[match[1]])}"', html)
    return mark_safe(html)  # noqa: S308 - our own text, and the renderer escapes HTML


def _title(name: str, chinese: bool) -> str:
    return _text(name, chinese).partition("\n")[0].lstrip("# ")


@cache
def _text(name: str, chinese: bool) -> str:
    translated = folder() / f"{name}.zh.md"
    path = translated if chinese and translated.exists() else folder() / f"{name}.md"
    return path.read_text(encoding="utf-8")
