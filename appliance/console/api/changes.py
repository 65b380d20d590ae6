"""Pending changes, plans, commits and revisions."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import AwareDatetime, Field

from appliance.access.conflicts import Conflict
from appliance.access.transactions import Commit
from appliance.applier.confirm import LONGEST_S
from appliance.console.api.requests import Body, body, number, transactions
from appliance.core.errors import Fault, InvalidError
from appliance.store import FieldChange, Revision

Effects = Annotated[tuple[Literal["drops_connections", "needs_restart"], ...], Field(max_length=2)]


class CommitBody(Body):
    """How pending changes are to be committed."""

    message: Annotated[str, Field(max_length=2000, description="Why: shown in the history")] = ""
    confirm_s: Annotated[
        float | None, Field(gt=0, le=LONGEST_S, description="Undone after so many seconds unless confirmed")
    ] = None
    allow: Annotated[Effects, Field(description="Effects beyond live that may happen")] = ()
    at: Annotated[AwareDatetime | None, Field(description="When, with a time zone; none: now")] = None


class RollbackBody(CommitBody):
    """Which revision's content is to be the newest."""

    revision: Annotated[int, Field(ge=0, le=2**31 - 1)]


class DiscardBody(Body):
    """Which pending changes to forget; nothing: all."""

    objects: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z_]+/[a-z0-9-]+$")], ...] | None,
        Field(max_length=10_000, description="Paths such as extension/ext-201"),
    ] = None


class ResolveBody(Body):
    """Who wins where you and somebody else changed the same field of one object."""

    object: Annotated[str, Field(pattern=r"^[a-z_]+/[a-z0-9-]+$", description="Path such as extension/ext-201")]
    revision: Annotated[int, Field(ge=0, le=2**31 - 1, description="As GET /changes/conflicts told it")]
    choices: Annotated[
        dict[str, Literal["mine", "theirs"]],
        Field(
            max_length=1000,
            description="Name of each field that clashes (empty: the object itself), and whose is to hold",
        ),
    ]


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/changes")(pending)
    blueprint.post("/changes/discard")(discard)
    blueprint.get("/changes/others")(others)
    blueprint.get("/changes/conflicts")(conflicts)
    blueprint.post("/changes/resolve")(resolve)
    blueprint.post("/plans")(plan)
    blueprint.post("/commits")(commit)
    blueprint.post("/commits/confirm")(confirm)
    blueprint.post("/commits/rollback")(rollback)
    blueprint.delete("/schedule/<int:revision>")(unschedule)
    blueprint.get("/state")(state)
    blueprint.get("/revisions")(revisions)
    blueprint.get("/revisions/<int:revision>/changes")(changes_of)


def pending() -> Response:
    """The asker's pending changes, field by field."""
    return jsonify({"changes": list(map(_change, transactions().pending()))})


def discard() -> Response:
    """Forget pending changes."""
    wanted = body(DiscardBody).objects
    keys = None if wanted is None else [(path.split("/")[0], path.split("/")[1]) for path in wanted]
    transactions().discard(keys)
    return pending()


def others() -> Response:
    """What other people have pending, as far as the asker may see it; under an empty name for who may not see who it is."""
    found = transactions().others()
    return jsonify({"authors": [{"author": who, "changes": list(map(_change, what))} for who, what in found.items()]})


def conflicts() -> Response:
    """What the asker and others both changed, to be settled before it can be committed."""
    found = transactions().conflicts.open()
    return jsonify({"conflicts": list(map(_conflict, found))})


def resolve() -> Response:
    """Settle one object's; answers what is left."""
    wanted = body(ResolveBody)
    kind, _, id = wanted.object.partition("/")
    transactions().conflicts.settle(kind, id, wanted.choices, wanted.revision)
    return conflicts()


def plan() -> Response:
    """What committing the pending changes would do to the telephone system."""
    return jsonify(transactions().plan())


def commit() -> Response:
    """Commit the pending changes; answers once they are in force, scheduled, or refused."""
    return jsonify(transactions().commit(_how(body(CommitBody))))


def confirm() -> Response:
    """Keep what was committed with a confirm window."""
    return jsonify(transactions().confirm())


def rollback() -> Response:
    """Make an old revision's content the newest."""
    wanted = body(RollbackBody)
    return jsonify(transactions().rollback(wanted.revision, _how(wanted)))


def unschedule(revision: int) -> Response:
    """Take a revision off the schedule."""
    return jsonify(transactions().unschedule(_revision(revision)))


def state() -> Response:
    """What is in force, what waits."""
    return jsonify(transactions().state())


def revisions() -> Response:
    """Revisions, newest first: ``?before=<number>&limit=50``."""
    before = number("before", 0, 1, 2**31 - 1) if "before" in request.args else None
    found = transactions().history(number("limit", 50, 1, 1000), before)
    return jsonify({"items": list(map(_revision_json, found))})


def changes_of(revision: int) -> Response:
    """What one revision changed, or would have."""
    return jsonify({"changes": list(map(_change, transactions().changes_of(_revision(revision))))})


def _revision(number: int) -> int:
    if number >= 2**31:
        raise InvalidError(
            [Fault("path/revision", "is not a revision's number", "GET /revisions lists them", "revision")]
        )
    return number


def _how(wanted: CommitBody) -> Commit:
    return Commit(wanted.message, wanted.confirm_s, wanted.allow, wanted.at)


def _change(change: FieldChange) -> dict[str, Any]:
    return {"path": change.path, "before": change.before, "after": change.after}


def _conflict(found: Conflict) -> dict[str, Any]:
    fields = [
        {
            "name": one.name, "began": _text(one.began), "mine": _text(one.mine), "theirs": _text(one.theirs),
            "who": one.who, "when": one.when,
        }
        for one in found.clashes
    ]  # fmt: skip
    return {"object": found.path, "revision": found.revision, "fields": fields, "merged": list(found.merged)}


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _revision_json(found: Revision) -> dict[str, Any]:
    return {
        "number": found.number, "parent": found.parent, "author": found.author, "time": found.time,
        "message": found.message, "state": found.state.value, "reason": found.reason,
    }  # fmt: skip
