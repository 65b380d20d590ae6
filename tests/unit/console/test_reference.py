"""The API's documentation page: every operation is there, with what goes in and comes out."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from appliance.console.api.openapi import description
from appliance.console.portal.reference import operations_by_group
from tests.hil.portal_app import company, portal_over


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    with portal_over(tmp_path_factory.mktemp("reference"), company(), served=False) as portal:
        client = portal.app.test_client()
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
        yield client


def test_every_operation_is_on_some_page(client: FlaskClient) -> None:
    shown = set()
    for group in operations_by_group():
        page = client.get(f"/reference?of={group}")
        assert page.status_code == 200, group
        shown |= set(re.findall(r'class="card operation" id="(\w+)"', page.text))
    wanted = {
        each["operationId"]
        for item in description()["paths"].values()
        for name, each in item.items()
        if name != "parameters"
    }
    assert shown == wanted


def test_an_operation_tells_its_parameters_its_fields_and_a_body_to_begin_with(client: FlaskClient) -> None:
    page = client.get("/reference?of=extension").text
    one = page.split('id="create_extension"')[1].split("</details>")[0]
    assert "<code>/api/v1/objects/extension</code>" in one
    assert "<code>ring_seconds</code>" in one
    body = json.loads(html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", one, re.S)[1]))  # type: ignore[index]
    assert {"id", "number", "site"} <= body.keys()
    listed = page.split('id="list_extension"')[1].split("</details>")[0]
    assert 'data-where="query"' in listed
    assert "It is done as you" not in listed, "looking changes nothing"
    assert "It is done as you" in one


def test_fields_inside_fields_are_told(client: FlaskClient) -> None:
    page = client.get("/reference?of=ring_group").text
    assert 'class="level-1"><code>extension</code>' in page, "of a member"


def test_what_there_is_not_is_said(client: FlaskClient) -> None:
    assert client.get("/reference?of=<script>").status_code == 404
    assert "<script>alert" not in client.get("/reference?of=<script>alert").text
