"""POST of an MLflow server's registry events, signed with the secret of the source that they belong to.

Gives 200 with the number of changes kept, also for a delivery that came before; 401 for everything that is not proven,
whether organisation, source, secret, signature or time is wrong; 400 for proven content that cannot be understood; 413.
"""

from __future__ import annotations

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from assessments.evidence import registry_events
from assessments.evidence.registry_events import MOST_BYTES, NotAccepted, NotUnderstood, Signed


class RegistryEventsView(APIView):
    """Receives the deliveries of a webhook; the signature alone opens it."""

    authentication_classes = []
    permission_classes = []

    def post(self, request: Request, key: str, source: str) -> Response:
        body = request.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            return _refused("The body is too large.", status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
        headers = request.headers
        signed = Signed(
            body,
            signature=headers.get("X-MLflow-Signature", ""),
            number=headers.get("X-MLflow-Delivery-Id", ""),
            time=headers.get("X-MLflow-Timestamp", ""),
        )
        try:
            kept = registry_events.accept(key, source, signed)
        except NotAccepted:
            return _refused("The signature is missing, wrong or too old.", status.HTTP_401_UNAUTHORIZED)
        except NotUnderstood as error:
            return _refused(str(error), status.HTTP_400_BAD_REQUEST)
        return Response({"kept": kept})


def _refused(detail: str, code: int) -> Response:
    return Response({"detail": detail}, code)
