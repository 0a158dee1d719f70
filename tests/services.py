"""Servers that a test may need: skipped visibly where one is missing, failed where all of them are expected."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def missing(what: str) -> None:
    """Skip the test, or fail it when ``DLEMM_REQUIRE_SERVICES`` says that nothing may be missing."""
    if os.environ.get("DLEMM_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is expected here and missing")
    absent(what)


def absent(what: str) -> None:
    """Skip the test visibly: a server that a test starts itself, and that not every machine can install."""
    pytest.skip(f"{what} is not on this machine")


def chromium() -> str:
    """The path of a Chromium browser."""
    for name in CHROMIUM:
        if path := shutil.which(name):
            return path
    missing("Chromium")
    raise AssertionError
