"""The applier's protocol as values: one JSON object per line each way (pure but for JSON).

Request::   {"op": "apply", "revision": 13, "allow": ["drops_connections"], "confirm_s": 600, "offline": false}
Answers::   {"progress": "reloading res_pjsip.so"}            none or more, then one of
            {"ok": true, "result": {…}}
            {"ok": false, "error": {"type": "InvalidError", "error_id": …, "message": …, "hint": …, "faults": […]}}

========== =========================================================== =============================================
op         fields                                                      result
========== =========================================================== =============================================
plan       revision, confirm (whether it will have to be confirmed)    changes, steps (each with effect and text),
                                                                       effect, checkpoints
verify     revision or nothing (the committed document)                faults
apply      revision, allow, confirm_s, offline, at (ISO 8601)          revision, state, effect, verified,
                                                                       confirm_left_s, timing (step → s)
confirm    revision or nothing                                         revision, state
rollback   revision, author, message, allow, confirm_s, offline, at    as apply
unschedule revision (one that was to be applied at a time)             revision, state
state      —                                                           revision, generation, verified, busy, applying,
                                                                       confirm, scheduled, firewall, last_error,
                                                                       names
check      —                                                           mismatches (asks the engine for everything)
seal       id (of a secret), clear                                     sealed: for whoever may not read the key file
look_up    —                                                           names (those that are asked for again now)
========== =========================================================== =============================================
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from appliance.applier.confirm import LONGEST_S
from appliance.core.errors import Fault, InvalidError
from appliance.core.fields import ObjectId

LINE_MAX: Final = 64 * 1024
"""Bytes of one request."""
ANSWER_MAX: Final = 256 * 1024 * 1024
"""Bytes of one answer: the plan of a first import names every object."""

Revision = Annotated[int, Field(ge=0, le=2**31)]
Effects = Annotated[tuple[Literal["live", "drops_connections", "needs_restart"], ...], Field(max_length=3)]
Window = Annotated[float, Field(gt=0, le=LONGEST_S)]
Text = Annotated[str, Field(max_length=2000)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanRequest(_Request):
    op: Literal["plan"]
    revision: Revision
    confirm: bool = False


class VerifyRequest(_Request):
    op: Literal["verify"]
    revision: Revision | None = None


class ApplyRequest(_Request):
    op: Literal["apply"]
    revision: Revision
    allow: Effects = ()
    confirm_s: Window | None = None
    offline: bool = False
    at: AwareDatetime | None = None


class ConfirmRequest(_Request):
    op: Literal["confirm"]
    revision: Revision | None = None


class RollbackRequest(_Request):
    op: Literal["rollback"]
    revision: Revision
    author: Annotated[str, Field(min_length=1, max_length=200)]
    message: Text = ""
    allow: Effects = ()
    confirm_s: Window | None = None
    offline: bool = False
    at: AwareDatetime | None = None


class UnscheduleRequest(_Request):
    op: Literal["unschedule"]
    revision: Revision


class StateRequest(_Request):
    op: Literal["state"]


class CheckRequest(_Request):
    op: Literal["check"]


class SealRequest(_Request):
    op: Literal["seal"]
    id: ObjectId
    clear: Annotated[str, Field(min_length=1, max_length=4096, repr=False)]


class LookUpRequest(_Request):
    op: Literal["look_up"]


Request = (
    PlanRequest
    | VerifyRequest
    | ApplyRequest
    | ConfirmRequest
    | RollbackRequest
    | UnscheduleRequest
    | StateRequest
    | CheckRequest
    | SealRequest
    | LookUpRequest
)
_REQUEST: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="op")])


def parse(line: bytes) -> Request:
    """:raises InvalidError: the line is no request; every wrong field is named."""
    try:
        return _REQUEST.validate_json(line)
    except ValidationError as error:
        faults = [
            Fault(
                "request/" + ".".join(map(str, each["loc"])), each["msg"], "see appliance.applier.protocol", "request"
            )
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise InvalidError(faults) from None


def request_json(op: str, **fields: Any) -> dict[str, Any]:
    """A request as plain data; fields that are None are left out."""
    plain = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in fields.items()}
    return {"op": op, **{key: value for key, value in plain.items() if value is not None}}
