"""The description of deliveries."""

from __future__ import annotations

from typing import Any, Final

from appliance.console.api.deliveries import NUMBER_MAX
from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.notifications.runs import RunState
from appliance.notifications.service import LISTED_MAX
from appliance.notifications.state import State

PREFIX: Final = "deliveries."
_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_MAYBE: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}


def _object(about: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": about, "required": list(properties), "properties": properties}


def _page(of: str, **more: Schema) -> Schema:
    return _object("Newest first", items={"type": "array", "items": {"$ref": f"{REF}{PREFIX}{of}"}}, **more)


def schemas() -> dict[str, Schema]:
    """Deliveries, endpoints, files."""
    delivery = _object(
        "One event to one endpoint",
        number=_NUMBER,
        id={**_TEXT, "description": "Webhook-Id: the same at each attempt"},
        endpoint=_TEXT,
        type=_TEXT,
        stream={**_TEXT, "description": "What it is about: those of one stream are delivered in order"},
        time={**_TIME, "description": "When it happened"},
        state={"enum": [each.value for each in State]},
        created=_TIME,
        attempts=_NUMBER,
        next_try={**_MAYBE, "description": "Not before then; null: it doesn't wait"},
        tried=_MAYBE,
        finished={**_MAYBE, "description": "When it was delivered or given up"},
        status={"type": ["integer", "null"], "description": "Last HTTP status; null: there was no answer"},
        error={**_TEXT, "description": "Why the last attempt failed"},
        body={"type": ["object", "null"], "description": "What is sent; null: you may not see every call"},
    )
    endpoint = _object(
        "How an endpoint does",
        id=_TEXT,
        waiting=_NUMBER,
        dead=_NUMBER,
        delivered=_NUMBER,
        failing_since={**_MAYBE, "description": "null: it works"},
        succeeded={**_MAYBE, "description": "When it last took something"},
        error=_TEXT,
    )
    file = _object(
        "A file of a scheduled export",
        number=_NUMBER,
        export=_TEXT,
        file=_TEXT,
        state={"enum": [each.value for each in RunState]},
        attempts=_NUMBER,
        first_call={**_NUMBER, "description": "Number in the history of the first call that it holds"},
        last_call=_NUMBER,
        error=_TEXT,
        since=_TIME,
        until=_TIME,
        tried=_MAYBE,
        finished=_MAYBE,
    )
    next_page: Schema = {
        "type": ["integer", "null"],
        "description": "Send it as before for the next page; null: there is none",
    }
    return {
        f"{PREFIX}Delivery": delivery,
        f"{PREFIX}Endpoint": endpoint,
        f"{PREFIX}File": file,
        f"{PREFIX}Page": _page("Delivery", next=next_page),
        f"{PREFIX}Endpoints": _page("Endpoint"),
        f"{PREFIX}Files": _page("File"),
        f"{PREFIX}Count": _object("How many will be sent again", count=_NUMBER),
    }


def paths() -> dict[str, Any]:
    """The operations."""
    limit = _query("limit", "Entries on a page", {"type": "integer", "minimum": 1, "maximum": LISTED_MAX})
    page = [
        _query("state", "Only those in this state", {"enum": [each.value for each in State]}),
        _query("endpoint", "Only those to this endpoint", _TEXT),
        limit,
        _query("before", "The next page", {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX}),
    ]
    delivery, count = f"{PREFIX}Delivery", f"{PREFIX}Count"
    id = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]
    export = [{"name": "export", "in": "path", "required": True, "schema": _TEXT}]
    return {
        "/deliveries": {"get": operation("list_deliveries", "What was sent to whom, newest first", f"{PREFIX}Page", parameters=page)},
        "/deliveries/replay": {"post": operation("replay_dead_letters", "Send dead letters again, under the same ids", count, body="ReplayBody")},
        "/deliveries/test": {"post": operation("test_endpoint", "Send an endpoint an event that says nothing", delivery, status=201, body="TestBody")},
        "/deliveries/endpoints": {"get": operation("list_endpoints", "How each endpoint does", f"{PREFIX}Endpoints")},
        "/deliveries/files": {"get": operation("list_files", "Files of scheduled exports, newest first", f"{PREFIX}Files", parameters=[_query("export", "Only those of this export", _TEXT), limit])},
        "/deliveries/files/{export}/retry": {"parameters": export, "post": operation("retry_file", "Try an export's file now", count)},
        "/deliveries/{id}": {
            "parameters": id,
            "get": operation("get_delivery", "One delivery", delivery),
            "delete": operation("discard_delivery", "Forget a dead letter", "", status=204),
        },
        "/deliveries/{id}/replay": {"parameters": id, "post": operation("replay_delivery", "Send a delivery again, under the same id", delivery)},
    }  # fmt: skip


def _query(name: str, about: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": about}
