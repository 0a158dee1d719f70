"""Read-only REST: the organisations of the caller and the newest scorecard of each, exact fractions included."""

from __future__ import annotations

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.exceptions import APIException
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from assessments.evidence.store import EvidenceDamaged
from assessments.organisations.models import Organisation, OrganisationQuerySet
from assessments.ratings.results import latest


class OrganisationSerializer(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ("key", "name", "demo")


class OrganisationList(ListAPIView[Organisation]):
    """Organisations the caller is a member of."""

    serializer_class = OrganisationSerializer

    def get_queryset(self) -> OrganisationQuerySet:
        return Organisation.objects.visible_to(self.request.user)


class ScorecardView(APIView):
    """The newest scorecard, with the pack id it can be verified against; 404 for a foreign organisation."""

    def get(self, request: Request, key: str) -> Response:
        organisation = get_object_or_404(Organisation.objects.visible_to(request.user), key=key)
        result = latest(organisation)
        if result is None:
            raise Http404
        try:
            scorecard = result.scorecard().to_json()
        except EvidenceDamaged as error:
            raise APIException(str(error)) from error
        return Response({"pack_id": result.assessment.pack_id, "scorecard": scorecard})
