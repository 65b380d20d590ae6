"""The REST API, version 1: resources below ``/api/v1``, described by ``/api/v1/openapi.json``."""

from __future__ import annotations

from flask import Blueprint, request

from appliance.console.api import (
    branches,
    calls,
    changes,
    client_source,
    deliveries,
    firewall,
    history,
    objects,
    openapi,
    turn,
)
from appliance.console.api.requests import subject

__all__ = ["blueprint"]

blueprint = Blueprint("api", __name__)
for part in (objects, changes, calls, branches, firewall, history, deliveries, turn, openapi, client_source):
    part.add_to(blueprint)


@blueprint.before_request
def _signed_in() -> None:
    """Before anything else is said about a request: who isn't known learns nothing from it."""
    if request.endpoint not in ("api.describe", "api.client"):
        subject()
