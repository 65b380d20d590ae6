"""What every resource of the API needs of a request: who asks, its body, its parameters."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from flask import current_app, g, request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from appliance.access.guarded import GuardedDocument
from appliance.access.permissions import Subject
from appliance.access.transactions import Transactions
from appliance.console.identify import Identity
from appliance.console.services import Services
from appliance.core.errors import Fault, InvalidError, RefusedError

JSON_TYPES: Final = frozenset({"application/json", "application/merge-patch+json"})
_ETAG: Final = re.compile(r'\s*"([A-Za-z0-9]{1,64})"\s*|\s*(\*)\s*')


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def services() -> Services:
    """Of this process."""
    found: Services = current_app.extensions["centralino"]
    return found


def subject() -> Subject:
    """Who asks.

    :raises RefusedError: ``unauthenticated``: nobody we know. The same whatever is wrong with the proof.
    """
    identity: Identity | None = g.identity
    if identity is None:
        raise RefusedError(
            "sign in, or send a key", "Authorization: Bearer, with an API key or a token", error_id="unauthenticated"
        )
    return identity.subject


def document() -> GuardedDocument:
    """The document as the asker may see it."""
    return services().document(subject())


def transactions() -> Transactions:
    """The asker's way to change it."""
    return services().transactions(subject())


def json_object() -> dict[str, Any]:
    """The body, which must be a JSON object.

    :raises InvalidError: it isn't, or holds a name twice.
    :raises RefusedError: ``media_type``.
    """
    if request.mimetype not in JSON_TYPES:
        raise RefusedError(
            "the request's body is not JSON", "send Content-Type: application/json", error_id="media_type"
        )
    try:
        data = request.get_json(force=True, cache=False)
    except RequestEntityTooLarge:
        raise
    except Exception:  # noqa: BLE001 (whatever the parser found, deep nesting included)
        raise InvalidError([Fault("body", "is not valid JSON", "send one JSON object", "json")]) from None
    if not isinstance(data, dict):
        raise InvalidError([Fault("body", "is not a JSON object", 'for example {"label": "Reception"}', "json")])
    if _has_nul(data):
        raise InvalidError([Fault("body", "holds a character that can't be stored (U+0000)", "leave it out", "json")])
    return data


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value or any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return any(_has_nul(inner) for pair in value.items() for inner in pair)
    return isinstance(value, list) and any(map(_has_nul, value))


Model = TypeVar("Model", bound=Body)


def body(model: type[Model]) -> Model:
    """The body as a model; an empty one counts as ``{}``. Raises InvalidError with every fault."""
    data = json_object() if request.content_length or request.mimetype else {}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidError(
            [
                Fault(
                    "body/" + ".".join(map(str, each["loc"])),
                    each["msg"].removeprefix("Value error, "),
                    "",
                    each["type"],
                )
                for each in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from None


def number(name: str, default: int, least: int, most: int) -> int:
    """A whole number among the query's parameters. Raises InvalidError."""
    text = request.args.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise InvalidError([Fault(f"query/{name}", "is not a number that is allowed here", f"{least} to {most}", name)])
    return int(text)


def expected_etag() -> str | None:
    """The object that the asker last saw, from ``If-Match`` (RFC 9110 section 13.1.1); None: not said. Raises InvalidError."""
    text = request.headers.get("If-Match")
    if text is None:
        return None
    match = _ETAG.fullmatch(text)
    if match is None:
        raise InvalidError(
            [Fault("header/If-Match", "is not one etag", 'for example "5d41402abc4b2a76b9719d", or *', "etag")]
        )
    return match[1] or "*"
