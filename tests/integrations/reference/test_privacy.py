"""Scans for personal data and secrets, and how much a model gives away of its training rows."""

import numpy as np
import pytest

pytest.importorskip("torch")

from integrations.reference import privacy

pytestmark = pytest.mark.torch


def kinds(text: str) -> set[str]:
    return {found.kind for found in privacy.scan_text(text, "note")}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to someone@example.org today", "e-mail address"),
        ("call +44 20 7946 0018", "telephone number"),
        ("pay to GB29 NWBK 6016 1331 9268 19", "bank account"),
        ("born 1970-01-31 in a city", "date of birth"),
        ("card 4111 1111 1111 1111", "card number"),
    ],
)
def test_personal_data_in_free_text_are_found(text, kind):
    assert kinds(text) == {kind}


@pytest.mark.parametrize(
    "text",
    ["digits/training-24.0", "card 4111 1111 1111 1112", "0000 0000 0000 0000", "week 24, 1797 rows of 64 values"],
)
def test_ordinary_text_is_left_alone(text):
    assert kinds(text) == set()


def test_names_of_columns_and_headers_are_found_and_nothing_is_repeated():
    found = privacy.scan_record({"patient_name": "x", "ink": "y", "BirthDate": "z", "note": "a@b.example"}, "row")
    assert {one.where for one in found} == {"patient_name", "BirthDate", "row: note"}
    assert "a@b.example" not in repr(found)


def test_a_seeded_secret_is_caught_and_taken_away_again(tmp_path):
    assert privacy.seeded_secret_caught(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_scanner_that_finds_nothing_fails_its_seeded_secret(tmp_path, monkeypatch):
    monkeypatch.setattr(privacy, "scan_secrets", lambda files: [])
    assert not privacy.seeded_secret_caught(tmp_path)


def test_known_forms_of_secrets_are_found_and_placeholders_are_not(tmp_path):
    file = tmp_path / "settings.py"
    file.write_text('KEY_ID = "AKIA' + "ABCDEFGH23456789" + '"\n')
    assert [one.kind for one in privacy.scan_secrets([file])] == ["cloud access key"]
    file.write_text('password = "aaaaaaaaaaaaaaaaaaaaaa"\ntoken = environ["TOKEN"]\n')
    assert privacy.scan_secrets([file]) == []


def test_losses_are_cross_entropies():
    logits = np.array([[0.0, 0.0], [2.0, 0.0]], dtype=np.float32)
    expected = [np.log(2), np.log(1 + np.exp(-2.0))]
    assert privacy.losses(logits, np.array([1, 0])) == pytest.approx(expected, rel=1e-6)


def test_membership_is_a_coin_toss_for_equal_losses_and_certain_for_separate_ones():
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.6, 0.7])
    assert privacy.membership_auc(low, high) == 1.0
    assert privacy.membership_auc(high, low) == 0.0
    assert privacy.membership_auc(np.ones(5), np.ones(4)) == 0.5
