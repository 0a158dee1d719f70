"""Signing in, with a brake on guessing passwords."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase

ATTEMPTS = 10
WINDOW_SECONDS = 300


def open_to_all(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view that needs no signing in, such as choosing the language of the sign-in page."""
    return login_not_required(view)


class SignIn(LoginView):
    """The sign-in page. After ten wrong passwords for one name from one address it waits five minutes."""

    template_name = "pages/sign_in.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if cache.get(_key(request), 0) >= ATTEMPTS:
            form = self.get_form_class()(request)
            return self.render_to_response(self.get_context_data(form=form, locked=True), status=429)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        key = _key(self.request)
        cache.add(key, 0, WINDOW_SECONDS)
        cache.incr(key)
        return super().form_invalid(form)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        cache.delete(_key(self.request))
        return super().form_valid(form)


def _key(request: HttpRequest) -> str:
    # The form strips spaces round the name, so the brake has to as well.
    who = f"{request.POST.get('username', '').strip()}|{request.META.get('REMOTE_ADDR', '')}"
    return "sign-in:" + hashlib.sha256(who.encode()).hexdigest()
