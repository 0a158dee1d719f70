"""POST of facts by programs: a token in, a batch judged as a whole, an answer that says exactly what was wrong.

Takes ``{"table", "rows", "batch"}`` or ``{"tables", "batch"}`` with ``Authorization: Bearer …``; gives 201 for a new
batch, 200 for one sent again, and else a status with ``detail`` and ``faults``, when nothing was kept. No session and
no cookie plays a part, so there is nothing a foreign page could forge.
"""

from __future__ import annotations

from typing import Any

import orjson
from django.http import Http404
from rest_framework import status
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from assessments.evidence import pushed


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = (
        f"A batch may have at most {pushed.MOST_BYTES >> 20} MB and {pushed.MOST_ROWS} rows; send it in pieces."
    )


class Differs(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "A batch of this key was accepted before with other rows; nothing was kept. Use a new key."


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <token>`` of a source that receives facts."""

    def authenticate(self, request: Request) -> tuple[None, pushed.PushToken]:
        scheme, _space, text = get_authorization_header(request).partition(b" ")
        token = pushed.token_of(text.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        if token is None:
            raise AuthenticationFailed("The token is missing, unknown or revoked.")
        return None, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasToken(BasePermission):
    """The caller showed a valid token; whom it lets in where is the view's question."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, pushed.PushToken)


class FactsView(APIView):
    """Receives facts for the source that the token belongs to; 404 for any organisation but its own."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [HasToken]

    def post(self, request: Request, key: str) -> Response:
        token = request.auth
        if not isinstance(token, pushed.PushToken) or token.source.organisation.key != key:
            raise Http404
        try:
            batch, new = pushed.accept(token, _body(request))
        except pushed.BatchRefused as refused:
            detail = "Nothing was kept, because the batch has faults."
            faults = [fault.to_json() for fault in refused.faults]
            return Response({"detail": detail, "faults": faults}, status.HTTP_400_BAD_REQUEST)
        except pushed.BatchTooLarge as error:
            raise TooLarge from error
        except pushed.BatchDiffers as error:
            raise Differs from error
        answer = {"batch": batch.key, "tables": batch.tables, "sha256": batch.sha256, "new": new}
        return Response(answer, status.HTTP_201_CREATED if new else status.HTTP_200_OK)


def _body(request: Request) -> Any:
    """The JSON of the request, read from the stream up to the limit and not further."""
    content = request.read(pushed.MOST_BYTES + 1)
    if len(content) > pushed.MOST_BYTES:
        raise TooLarge
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ValidationError({"detail": f"The body is not JSON: {error}"}) from error
