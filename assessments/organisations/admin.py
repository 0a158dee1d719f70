"""Operators' view of organisations, projects and members."""

from django.contrib import admin

from assessments.organisations.models import Membership, Organisation, Project

admin.site.register([Organisation, Project, Membership])
