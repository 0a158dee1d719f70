from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DLEMM_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=ROOT,
        env={**clean, "DLEMM_DATA": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DLEMM_DEBUG", "maybe", "must be true or false"),
        ("DLEMM_DATABASE", "mysql://x/y", "must start with sqlite:/// or postgres://"),
        ("DLEMM_SECRET_KEY", "short", "at least 32 characters"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_names_itself(tmp_path: Path, name: str, value: str, told: str) -> None:
    result = check(tmp_path, **{name: value})
    assert result.returncode != 0
    assert name in result.stderr
    assert told in result.stderr


def test_the_secret_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    assert check(tmp_path).returncode == 0
    key = (tmp_path / "secret_key").read_text()
    assert check(tmp_path).returncode == 0
    assert (tmp_path / "secret_key").read_text() == key
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_the_production_settings_have_no_deployment_warning(tmp_path: Path) -> None:
    result = check(tmp_path, "--deploy", "--fail-level", "WARNING", DLEMM_HTTPS="true", DLEMM_HOSTS="maturity.example")
    assert result.returncode == 0, result.stderr
