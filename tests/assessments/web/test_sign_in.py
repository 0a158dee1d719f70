from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from assessments.web.sign_in import ATTEMPTS
from tests.assessments.conftest import World


def test_a_wrong_password_is_said_in_the_users_words(client: Client, world: World) -> None:
    response = client.post(reverse("sign-in"), {"username": "alice", "password": "wrong"})
    assert "User name or password is wrong" in response.content.decode()


def test_guessing_is_braked_even_for_the_right_password(client: Client, world: World) -> None:
    for _ in range(ATTEMPTS):
        client.post(reverse("sign-in"), {"username": "alice", "password": "wrong"})
    response = client.post(reverse("sign-in"), {"username": "alice", "password": "alice-password"})
    assert response.status_code == 429
    assert "Too many attempts" in response.content.decode()


def test_spaces_round_the_name_do_not_go_past_the_brake(client: Client, world: World) -> None:
    for _ in range(ATTEMPTS):
        client.post(reverse("sign-in"), {"username": "alice", "password": "wrong"})
    response = client.post(reverse("sign-in"), {"username": " alice ", "password": "alice-password"})
    assert response.status_code == 429


def test_the_operators_pages_have_no_door_of_their_own(client: Client, db: None) -> None:
    answer = client.get("/admin/login/?next=/admin/")
    assert answer["Location"] == f"{reverse('sign-in')}?next=/admin/"
    assert client.post("/admin/login/", {"username": "a", "password": "b"}).status_code == 302


def test_one_persons_mistakes_do_not_lock_another_out(client: Client, world: World) -> None:
    for _ in range(ATTEMPTS):
        client.post(reverse("sign-in"), {"username": "alice", "password": "wrong"})
    response = client.post(reverse("sign-in"), {"username": "bob", "password": "bob-password"})
    assert response.status_code == 302


@pytest.mark.parametrize("host", ["localhost:8123", "192.0.2.7:9000", "maturity.example", "[::1]:8000"])
def test_signing_in_works_under_any_host_name_address_and_port(world: World, host: str) -> None:
    browser = Client(enforce_csrf_checks=True, SERVER_NAME=host.rsplit(":", 1)[0], HTTP_HOST=host)
    token = browser.get(reverse("sign-in")).context["csrf_token"]
    answer = browser.post(
        reverse("sign-in"),
        {"username": "alice", "password": "alice-password", "csrfmiddlewaretoken": str(token)},
        HTTP_ORIGIN=f"http://{host}",
    )
    assert answer.status_code == 302


def test_after_signing_in_no_one_is_sent_to_another_site(client: Client, world: World) -> None:
    answer = client.post(
        reverse("sign-in"),
        {"username": "alice", "password": "alice-password", "next": "https://elsewhere.example/"},
    )
    assert answer["Location"] == reverse("home")


def test_the_language_can_be_chosen_before_signing_in(client: Client, db: None) -> None:
    client.post(reverse("set_language"), {"language": "zh-hans", "next": reverse("sign-in")})
    assert "登录" in client.get(reverse("sign-in")).content.decode()


def test_pages_forbid_foreign_scripts_and_frames(client: Client, db: None) -> None:
    headers = client.get(reverse("sign-in")).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
