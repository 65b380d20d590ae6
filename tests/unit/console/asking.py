"""Requests to the API by people of the document, each with an API key of its own."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.console.services import Services


class Api:
    """Somebody's requests: whoever isn't in the document has a key that nobody made."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self._client, self.key = client, key
        self.author = f"key:{key.partition('_')[2].partition('_')[0]}"

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> TestResponse:
        more = {
            "Authorization": f"Bearer {self.key}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = {} if data is None else {"data": json.dumps(data), "content_type": "application/json"}
        return self._client.open(f"/api/v1{path}", method=method, headers=more, **body)


class Askers:
    """One application, and everybody who asks it."""

    def __init__(self, app: Flask) -> None:
        self.app, self.client = app, app.test_client()
        self.services: Services = app.extensions["centralino"]
        self._keys: dict[str, str] = {}

    def __call__(self, person: str, scopes: tuple[str, ...] = ("*:edit",)) -> Api:
        return Api(self.client, self.key(person, scopes))

    def key(self, person: str, scopes: tuple[str, ...] = ("*:edit",)) -> str:
        """An API key of this person, made at the first time."""
        if person == "stranger":
            return "ck_0000000000000000_nobody"
        name = " ".join((person, *scopes))
        if name not in self._keys:
            self._keys[name] = self.services.access.keys.make(person, "test", scopes)[1]
        return self._keys[name]
