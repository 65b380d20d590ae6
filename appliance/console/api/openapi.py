"""The API's description (OpenAPI 3.1), made from the models of the document and of the requests."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any, Final

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from appliance.access.guarded import LISTED_MAX
from appliance.console.api import branches, calls, firewall, openapi_deliveries, openapi_history, turn
from appliance.console.api.changes import CommitBody, DiscardBody, ResolveBody, RollbackBody
from appliance.console.api.deliveries import ReplayBody, TestBody
from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.console.problems import MEDIA_TYPE
from appliance.kinds import KINDS

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer"}
META: Final[Schema] = {
    "type": "object",
    "description": "What is to be known about the object besides",
    "required": ["etag", "pending", "editable", "others"],
    "properties": {
        "etag": {"type": "string", "description": "For If-Match, in double quotes"},
        "pending": {
            "enum": ["", "added", "changed", "removed"],
            "description": "What your own pending changes do to it",
        },
        "editable": {"type": "array", "items": _TEXT, "description": "Names of the fields that you may change"},
        "others": {
            "type": "array",
            "description": "Who else is changing it now. It holds nobody up: what clashes is settled field by field",
            "items": {
                "type": "object",
                "required": ["who", "since", "doing"],
                "properties": {
                    "who": {"type": "string", "description": "As in revisions; empty if you may not see revisions"},
                    "since": {"type": "string", "description": "UTC; empty if it isn't known"},
                    "doing": {
                        "enum": ["pending", "form"],
                        "description": "Has pending changes of it, or its form open",
                    },
                },
            },
        },
        "password": {"type": "string", "description": "Of a new device that none was given for; shown this once"},
    },
}
PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "RFC 9457; error_id is stable",
    "required": ["type", "title", "status", "error_id", "detail", "hint"],
    "properties": {
        "type": {"type": "string", "format": "uri"}, "title": _TEXT, "status": _NUMBER, "error_id": _TEXT, "detail": _TEXT,
        "hint": _TEXT, "changed": {"type": "array", "items": _TEXT},
        "faults": {"type": "array", "items": {"$ref": f"{REF}Fault"}},
    },
}  # fmt: skip
_NULLABLE: Final[Schema] = {"type": ["string", "null"]}
COMMON: Final[dict[str, Schema]] = {
    "Meta": META,
    "Problem": PROBLEM,
    "Fault": {
        "type": "object",
        "description": "One thing that is wrong: where, what, and what would be right",
        "required": ["path", "message", "hint", "error_id", "severity"],
        "properties": {"path": _TEXT, "message": _TEXT, "hint": _TEXT, "error_id": _TEXT, "severity": {"enum": ["error", "warning"]}},
    },
    "Change": {
        "type": "object",
        "description": "One field; before and after as JSON text, null where there is none",
        "required": ["path", "before", "after"],
        "properties": {"path": _TEXT, "before": _NULLABLE, "after": _NULLABLE},
    },
    "Changes": {
        "type": "object", "required": ["changes"],
        "properties": {"changes": {"type": "array", "items": {"$ref": f"{REF}Change"}}},
    },
    "Revision": {
        "type": "object",
        "required": ["number", "parent", "author", "time", "message", "state", "reason"],
        "properties": {
            "number": _NUMBER, "parent": _NUMBER, "author": _TEXT, "time": _TEXT, "message": _TEXT,
            "state": {"enum": ["proposed", "committed", "failed", "superseded"]}, "reason": _TEXT,
        },
    },
    "Revisions": {
        "type": "object", "required": ["items"],
        "properties": {"items": {"type": "array", "items": {"$ref": f"{REF}Revision"}}},
    },
    "Outcome": {
        "type": "object", "required": ["revision"],
        "description": "What became of it, as the applier says: revision, state, effect, seconds left to confirm",
        "properties": {"revision": _NUMBER, "state": _TEXT},
    },
    "Plan": {
        "type": "object", "required": ["effect", "changes", "steps"],
        "properties": {
            "effect": {"enum": ["live", "drops_connections", "needs_restart"]},
            "changes": {"type": "array", "items": {"type": "object"}},
            "steps": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Others": {
        "type": "object", "required": ["authors"],
        "properties": {"authors": {"type": "array", "items": {
            "type": "object", "required": ["author", "changes"],
            "properties": {"author": _TEXT, "changes": {"type": "array", "items": {"$ref": f"{REF}Change"}}},
        }}},
    },
    "Conflicts": {
        "type": "object", "required": ["conflicts"],
        "properties": {"conflicts": {"type": "array", "items": {"$ref": f"{REF}Conflict"}}},
    },
    "Conflict": {
        "type": "object",
        "description": "One object that you and somebody else changed. POST /changes/resolve says whose holds",
        "required": ["object", "revision", "fields", "merged"],
        "properties": {
            "object": _TEXT, "revision": _NUMBER,
            "merged": {"type": "array", "items": _TEXT, "description": "Fields that only somebody else changed: they are merged"},
            "fields": {"type": "array", "items": {
                "type": "object", "required": ["name", "began", "mine", "theirs", "who", "when"],
                "properties": {
                    "name": {"type": "string", "description": "Path within the object; empty: the object itself, which one side removed"},
                    "began": {**_NULLABLE, "description": "What it was when you began, as JSON text; null: nothing. So mine, theirs"},
                    "mine": _NULLABLE, "theirs": _NULLABLE,
                    "who": {"type": "string", "description": "Who committed theirs; empty if you may not see revisions"}, "when": _TEXT,
                },
            }},
        },
    },
    "Kinds": {"type": "object", "required": ["kinds"], "properties": {"kinds": {"type": "array", "items": _TEXT}}},
    "State": {"type": "object", "description": "What is in force, and what waits; see the applier's protocol"},
}  # fmt: skip


def add_to(blueprint: Blueprint) -> None:
    """Add this resource: open to everybody, since it says nothing about the installation."""
    blueprint.get("/openapi.json")(describe)


def describe() -> Response:
    """The description."""
    return jsonify(description())


@cache
def description() -> Schema:
    """The whole OpenAPI document."""
    schemas: dict[str, Schema] = {**COMMON, **openapi_history.schemas(), **openapi_deliveries.schemas()}
    paths: dict[str, Any] = {}
    for kind, model in KINDS.items():
        schemas |= _schemas_of(kind, model)
        paths |= _paths_of(kind)
    schemas |= calls.SCHEMAS | branches.SCHEMAS | firewall.schemas() | turn.SCHEMAS
    for body in (
        CommitBody,
        RollbackBody,
        DiscardBody,
        ResolveBody,
        ReplayBody,
        TestBody,
        *calls.BODIES,
        *branches.BODIES,
        *firewall.BODIES,
    ):
        schemas[body.__name__] = _whole(body, schemas)
    paths |= (
        _changes()
        | calls.paths()
        | branches.paths()
        | firewall.paths()
        | turn.paths()
        | openapi_history.paths()
        | openapi_deliveries.paths()
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Centralino", "version": "1",
            "description": "The telephone system. Writes to its configuration are collected as your pending changes; POST /commits puts them into force. Calls that are up, calls that have ended, and statistics.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"bearer": []}],
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token made from one"}},
            "schemas": schemas,
            "responses": {"Problem": {"description": "It didn't work", "content": {MEDIA_TYPE: {"schema": {"$ref": f"{REF}Problem"}}}}},
        },
        "paths": paths,
    }  # fmt: skip


def _whole(model: type[BaseModel], schemas: dict[str, Schema]) -> Schema:
    """A model's schema; the parts that it is made of are put beside it."""
    made = model.model_json_schema(ref_template=REF + "{model}")
    schemas |= made.pop("$defs", {})
    return made


def _schemas_of(kind: str, model: type[BaseModel]) -> dict[str, Schema]:
    """``<kind>``: as it is read; ``<kind>.new``, ``.replace``, ``.patch``: as it is written."""
    schemas: dict[str, Schema] = {}
    whole = _whole(model, schemas)
    fields = whole["properties"]
    without_id = {name: schema for name, schema in fields.items() if name != "id"}
    required = [name for name in whole.get("required", ()) if name != "id"]
    read = {**whole, "required": ["id", "_meta"], "properties": {**deepcopy(fields), "_meta": {"$ref": f"{REF}Meta"}}}
    if kind == "secret":
        # It is written in the clear and comes back hidden.
        value = {"type": ["string", "null"], "maxLength": 4096}
        without_id["value"] = fields["value"] = value
        read["properties"]["value"] = {"type": ["string", "null"]}
        whole["properties"] = fields
    if kind == "device":
        whole = {**whole, "required": [name for name in whole["required"] if name != "secret"]}
    patch = {name: _or_null(schema) for name, schema in without_id.items()}
    return {
        **schemas,
        kind: read,
        f"{kind}.new": whole,
        f"{kind}.replace": {**whole, "required": required, "properties": without_id},
        f"{kind}.patch": {**whole, "required": [], "properties": patch},
        f"{kind}.page": {
            "type": "object", "required": ["items", "total", "offset", "limit"],
            "properties": {"items": {"type": "array", "items": {"$ref": REF + kind}}, "total": _NUMBER, "offset": _NUMBER, "limit": _NUMBER},
        },
    }  # fmt: skip


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _paths_of(kind: str) -> dict[str, Any]:
    title = kind.replace("_", " ")
    one = f"{'an' if title[0] in 'aeiou' else 'a'} {title}"
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    match = {
        "name": "If-Match",
        "in": "header",
        "schema": {"type": "string"},
        "description": "The etag that you were given, in double quotes, or *",
    }
    query = [
        {"name": "text", "in": "query", "schema": _TEXT, "description": "Only those with this in one of their fields"},
        {"name": "sort", "in": "query", "schema": _TEXT, "description": "A field; with a hyphen before it: descending"},
        {"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": LISTED_MAX}},
    ]
    return {
        f"/objects/{kind}": {
            "get": operation(f"list_{kind}", f"List every {title}; other parameters are fields and the value they must have", f"{kind}.page", parameters=query),
            "post": operation(f"create_{kind}", f"Add {one}", kind, status=201, body=f"{kind}.new"),
        },
        f"/objects/{kind}/{{id}}": {
            "parameters": [id],
            "get": operation(f"get_{kind}", f"Show one {title}", kind),
            "put": operation(f"replace_{kind}", f"Replace {one}", kind, body=f"{kind}.replace", parameters=[{**match, "required": True}]),
            "patch": operation(f"change_{kind}", f"Change some fields of {one}", kind, body=f"{kind}.patch", parameters=[match]),
            "delete": operation(f"remove_{kind}", f"Remove {one}", "", status=204, parameters=[match]),
        },
    }  # fmt: skip


def _changes() -> dict[str, Any]:
    number = {
        "name": "revision",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    }
    page = [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
        {"name": "before", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
    ]
    return {
        "/objects": {"get": operation("list_kinds", "Kinds of objects that you may see", "Kinds")},
        "/changes": {"get": operation("pending_changes", "Your pending changes", "Changes")},
        "/changes/discard": {"post": operation("discard_changes", "Forget pending changes", "Changes", body="DiscardBody")},
        "/changes/others": {"get": operation("others_changes", "What other people have pending", "Others")},
        "/changes/conflicts": {"get": operation("list_conflicts", "Fields that you and others both changed, to be settled before you commit", "Conflicts")},
        "/changes/resolve": {"post": operation("resolve_conflict", "Say whose changes of an object's fields hold", "Conflicts", body="ResolveBody")},
        "/plans": {"post": operation("plan", "What committing your pending changes would do", "Plan")},
        "/commits": {"post": operation("commit", "Commit your pending changes", "Outcome", body="CommitBody")},
        "/commits/confirm": {"post": operation("confirm", "Keep what was committed with a confirm window", "Outcome")},
        "/commits/rollback": {"post": operation("rollback", "Make an old revision's content the newest", "Outcome", body="RollbackBody")},
        "/schedule/{revision}": {"parameters": [number], "delete": operation("unschedule", "Take a revision off the schedule", "Outcome")},
        "/state": {"get": operation("state", "What is in force, and what waits", "State")},
        "/revisions": {"get": operation("list_revisions", "Revisions, newest first", "Revisions", parameters=page)},
        "/revisions/{revision}/changes": {"parameters": [number], "get": operation("revision_changes", "What a revision changed", "Changes")},
    }  # fmt: skip
