"""What tests of the call flow's pages have in common: a company, and what stands in a page."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from flask.testing import FlaskClient

from tests.hil.portal_app import TOKEN, Portal, Rows

PEOPLE: Rows = [
    ("person", {"id": "second", "name": "Second", "roles": ["administrator"]}),
    ("person", {"id": "torinese", "name": "Torino", "roles": ["site-manager"], "sites": ["torino"]}),
    ("role", {"id": "numbers", "name": "Numbers", "permissions": ["did.number:view", "did.label:edit"]}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["numbers"]}),
    ("ring_group", {"id": "night", "name": "Night", "site": "torino", "members": [{"extension": "ext-301"}]}),
]  # fmt: skip
TO_NIGHT = {"type": "ring_group", "ring_group": "night"}
REFUSED = {"type": "hangup", "reason": "busy"}


def post(client: FlaskClient, path: str, **fields: Any) -> Any:
    return client.post(path, data={"csrf_token": TOKEN, **fields})


def boxes(page: str) -> dict[str, dict[str, str]]:
    """The boxes of the picture: node → attributes, and under ``said`` what it says."""
    found = {}
    for attributes, said in re.findall(
        r'<g class="node [^"]*" ([^>]*)>\s*<a class="box"[^>]*aria-label="([^"]*)"', page
    ):
        one = {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', attributes)}
        found[one["node"]] = {**one, "said": html.unescape(said)}
    return found


def arrows(page: str) -> set[tuple[str, str]]:
    return {
        (html.unescape(one), html.unescape(other))
        for one, other in re.findall(r'data-source="([^"]*)" data-target="([^"]*)"', page)
    }


def movable(page: str) -> set[str]:
    return set(re.findall(r'class="port[^"]* movable" data-port="([^"]*)"', page))


def said(page: str) -> str:
    return html.unescape(page.split('id="said"')[1].split(">")[1].split("<", maxsplit=1)[0])


def undo_of(page: str) -> str:
    return html.unescape(re.findall(r'name="steps" value="([^"]*)"', page)[0])


def connect(client: FlaskClient, place: str, to: Any, path: str = "/flow", **more: str) -> Any:
    etag = boxes(client.get(path).text)["/".join(place.split("/")[:2])]["etag"]
    return post(
        client, path, **{"_do": "connect", "place": place, "destination": json.dumps(to), "_etag": etag, **more}
    )


def destination(portal: Portal, id: str = "main") -> Any:
    item = portal.candidate("did", id)
    return None if item is None else item.model_dump(mode="json")["destination"]
