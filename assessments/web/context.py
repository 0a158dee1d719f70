"""What every template may use besides its own page's values."""

from __future__ import annotations

from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    """The name of the address, so that the menu can mark the page one is on."""
    match = request.resolver_match
    return {"page": match.url_name if match else ""}
