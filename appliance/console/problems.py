"""Our errors as RFC 9457 problem details: one status and one stable ``type`` for each ``error_id``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from appliance.core.errors import (
    ApplyError,
    CentralinoError,
    ConflictError,
    CorruptError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from appliance.core.errors_json import fault_json

TYPE: Final = "urn:centralino:error:"
"""Start of a problem's ``type``; the error id follows. docs/reference.md lists them all."""
MEDIA_TYPE: Final = "application/problem+json"

_BY_ID: Final[dict[str, int]] = {
    "forbidden": HTTPStatus.FORBIDDEN,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "csrf": HTTPStatus.FORBIDDEN,
    "exists": HTTPStatus.CONFLICT,
    "precondition_required": HTTPStatus.PRECONDITION_REQUIRED,
    "too_many_requests": HTTPStatus.TOO_MANY_REQUESTS,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "method": HTTPStatus.METHOD_NOT_ALLOWED,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "stale": HTTPStatus.PRECONDITION_FAILED,
}
_BY_TYPE: Final[tuple[tuple[type[CentralinoError], int], ...]] = (
    (InvalidError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ConflictError, HTTPStatus.CONFLICT),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (RefusedError, HTTPStatus.CONFLICT),
    (ApplyError, HTTPStatus.BAD_GATEWAY),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (CorruptError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(error: CentralinoError) -> int:
    """The HTTP status of an error."""
    if error.error_id in _BY_ID:
        return int(_BY_ID[error.error_id])
    return int(next((status for kind, status in _BY_TYPE if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY))


def problem(error: CentralinoError) -> dict[str, Any]:
    """The body: ``type``, ``title``, ``status``, ``detail``, ``hint``; every fault of an invalid document, and what changed in a
    conflict."""
    status = status_of(error)
    body: dict[str, Any] = {
        "type": TYPE + error.error_id,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "error_id": error.error_id,
        "detail": error.message,
        "hint": error.hint,
    }
    if isinstance(error, InvalidError):
        body["faults"] = [fault_json(fault) for fault in error.faults]
    if isinstance(error, ConflictError):
        body["changed"] = list(error.changed)
    return body
