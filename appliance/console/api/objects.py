"""Objects of the document: ``/objects/<kind>`` and ``/objects/<kind>/<id>``, the same for every kind.

Reads give the document with the asker's own pending changes; writes go among them, and nothing happens to the telephone system until
they are committed (``POST /commits``). ``If-Match`` guards against edits that somebody else's would be lost by.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from appliance.access.entries import Entry
from appliance.access.guarded import LISTED_MAX
from appliance.console.api.requests import document, expected_etag, json_object, number
from appliance.core.errors import ConflictError, Fault, InvalidError, RefusedError

PARAMETERS = frozenset({"text", "sort", "offset", "limit"})
"""Of a list; any other is a field and the value that it must have."""


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/objects")(list_kinds)
    blueprint.get("/objects/<kind>")(list_objects)
    blueprint.post("/objects/<kind>")(create)
    blueprint.get("/objects/<kind>/<id>")(show)
    blueprint.put("/objects/<kind>/<id>")(replace)
    blueprint.patch("/objects/<kind>/<id>")(patch)
    blueprint.delete("/objects/<kind>/<id>")(delete)


def list_kinds() -> Response:
    """Kinds of which the asker may see something."""
    return jsonify({"kinds": document().kinds()})


def list_objects(kind: str) -> Response:
    """A page of objects: ``?text=…&site=…&sort=-number&offset=100&limit=100``."""
    doc = document()
    sort = request.args.get("sort", "id")
    where = {name: value for name, value in request.args.items() if name not in PARAMETERS}
    offset, limit = number("offset", 0, 0, 10_000_000), number("limit", 100, 1, LISTED_MAX)
    found = doc.search(
        kind,
        text=request.args.get("text", "")[:200],
        where=where,
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        offset=offset,
        limit=limit,
    )
    items = [as_json(entry) for entry in found.entries]
    return jsonify({"items": items, "total": found.total, "offset": offset, "limit": limit})


def show(kind: str, id: str) -> Response:
    """One object, with its etag."""
    return _answer(document().get(kind, id))


def create(kind: str) -> Response:
    """A new object; its ``id`` is in the body."""
    data = json_object()
    id = data.get("id")
    if not isinstance(id, str):
        raise InvalidError([Fault(f"{kind[:40]}/?/id", "is missing", "give the new object an id", "missing")])
    response = _answer(document().put(kind, id, data, new=True))
    response.status_code = 201
    response.headers["Location"] = url_for(".show", kind=kind, id=id)
    return response


def replace(kind: str, id: str) -> Response:
    """All of an object that the asker may see; what is left out goes back to its default. Needs ``If-Match``."""
    expected = expected_etag()
    if expected is None:
        raise RefusedError(
            "say which version you replace",
            "send the etag that you were given as If-Match, or *",
            error_id="precondition_required",
        )
    return _guarded(lambda: document().put(kind, id, json_object(), expected=expected))


def patch(kind: str, id: str) -> Response:
    """Some fields (RFC 7396); null takes one back to its default."""
    expected = expected_etag()
    return _guarded(lambda: document().put(kind, id, json_object(), expected=expected, patch=True))


def delete(kind: str, id: str) -> Response:
    """Remove it, among the pending changes."""
    expected = expected_etag()

    def act() -> None:
        document().remove(kind, id, expected=expected)

    _guarded_call(act)
    return Response(status=204)


def _guarded(call: Any) -> Response:
    return _answer(_guarded_call(call))


def _guarded_call(call: Any) -> Any:
    """An etag that doesn't match any more is 412, not 409 (RFC 9110 section 15.5.13)."""
    try:
        return call()
    except ConflictError as error:
        error.error_id = "stale"
        raise


def _answer(entry: Entry) -> Response:
    response = jsonify(as_json(entry))
    response.headers["ETag"] = f'"{entry.etag}"'
    return response


def as_json(entry: Entry) -> dict[str, Any]:
    """An object's visible fields, and what is to be known about it."""
    meta: dict[str, Any] = {
        "etag": entry.etag, "pending": entry.pending, "editable": sorted(entry.editable),
        "others": [{"who": one.who, "since": one.since, "doing": one.doing} for one in entry.others],
    }  # fmt: skip
    if entry.password is not None:
        meta["password"] = entry.password
    return {**entry.fields, "_meta": meta}
