"""The sign-in page's other ways in, as browsers and others ask for them. What a provider does is in tests/hil/access."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.console.portal.forms import Widget, columns, form_of
from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.organisation.model import DirectoryService, IdentityProvider
from tests.hil.portal_app import TOKEN, Portal, company, portal_over
from tests.unit.core.test_certificates import ONE, OTHER

HOME = "https://pbx.example.com"
NASTY = "<script>alert(1)</script>"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def portal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    monkeypatch.setenv("CENTRALINO_PORTAL_URL", HOME)
    issuer = f"https://localhost:{closed_port()}"
    rows = [
        ("secret", {"id": "client"}),
        ("identity_provider", {"id": "sso", "name": f"Company {NASTY}", "issuer": issuer, "client_id": "x", "secret": "client"}),
        ("identity_provider", {"id": "off", "name": "Off", "issuer": issuer, "client_id": "x", "secret": "client", "enabled": False}),
    ]  # fmt: skip
    with portal_over(tmp_path, company(rows), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    app: Flask = portal.app
    return app.test_client()


def get(client: FlaskClient, path: str, **headers: str) -> TestResponse:
    return client.get(path, base_url=HOME, headers={name.replace("_", "-"): value for name, value in headers.items()})


def use(portal: Portal, kind: str, **fields: object) -> None:
    store = portal.store
    store.promote(store.propose([parse(KINDS, kind, fields)], base=store.head().number, author="test").number)


def test_the_page_has_a_way_for_each_provider_in_use(client: FlaskClient) -> None:
    page = get(client, "/sign-in?next=/objects/site").text
    assert 'href="/sign-in/with/sso?next=/objects/site"' in page
    assert "&lt;script&gt;alert(1)" in page
    assert NASTY not in page
    assert "/sign-in/with/off" not in page
    assert "directory" not in page


def test_whoever_isn_t_signed_in_chooses_the_language_too(client: FlaskClient, portal: Portal) -> None:
    portal.who = "nobody"
    assert 'action="/preferences"' in get(client, "/sign-in?next=/calls").text
    moved = client.post("/preferences", base_url=HOME, data={"language": "it", "next": "/sign-in?next=/calls"})
    assert (moved.status_code, moved.headers["Location"]) == (303, "/sign-in?next=/calls")
    assert '<html lang="it"' in get(client, "/sign-in").text


def test_the_page_says_which_password_is_meant(client: FlaskClient, portal: Portal) -> None:
    use(portal, "directory_service", id="corp", name="Corp", servers=[{"host": "localhost"}], bind_dn="cn=a,dc=b",
        secret="client", base="dc=b")  # fmt: skip
    assert "The one of your company&#39;s directory." in get(client, "/sign-in").text


def test_a_provider_that_doesn_t_answer_leaves_the_other_ways(client: FlaskClient) -> None:
    answer = get(client, "/sign-in/with/sso")
    assert answer.status_code == 503
    assert "The provider doesn&#39;t answer" in answer.text
    assert 'name="password"' in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/sign-in/with/off", "/sign-in/with/nothing", "/sign-in/with/nothing/callback?code=x&state=y"]
)
def test_there_is_no_other_way(client: FlaskClient, path: str) -> None:
    assert get(client, path).status_code == 404


def test_it_begins_where_the_provider_leads_back_to(client: FlaskClient) -> None:
    answer = client.get("/sign-in/with/sso?next=/objects/did", base_url="https://192.0.2.1:8443")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{HOME}/sign-in/with/sso?next=/objects/did")
    for wanted in ("//example.com", "https://example.com", "/\\example.com"):
        answer = client.get(f"/sign-in/with/sso?next={wanted}", base_url="https://192.0.2.1:8443")
        place = urlsplit(answer.headers["Location"])
        assert f"{place.scheme}://{place.netloc}" == HOME
        assert parse_qs(place.query).get("next", ["/"]) == ["/"]


def test_no_other_site_begins_it_for_people(client: FlaskClient) -> None:
    answer = get(client, "/sign-in/with/sso?next=/objects/did", Sec_Fetch_Site="cross-site")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/objects/did")


@pytest.mark.parametrize(
    "query", ["", "code=x", "code=x&state=y", "state=y&error=access_denied", "code=%00&state=%ff", "code=" + "x" * 7000]
)
def test_an_answer_that_nobody_asked_for_opens_nothing(client: FlaskClient, portal: Portal, query: str) -> None:
    for cookie in ("", "guessed"):
        if cookie:
            client.set_cookie("__Host-provider", cookie, domain="pbx.example.com", secure=True)
        answer = get(client, f"/sign-in/with/sso/callback?{query}")
        assert answer.status_code == 401
        assert "didn&#39;t work" in answer.text
        assert "__Host-session" not in str(answer.headers)
    access = portal.app.extensions["centralino"].access
    assert access.sessions.listed() == []
    assert access.audit.entries(limit=1)[0].detail["reason"].startswith("sso: it isn't an answer")


def test_certificates_are_pasted_into_a_field_of_several_lines(client: FlaskClient, portal: Portal) -> None:
    for model in (DirectoryService, IdentityProvider):
        field = form_of(model).field("authority")
        assert field is not None
        assert field.widget is Widget.LINES
        assert field not in columns(form_of(model), 50)
    page = get(client, "/objects/identity_provider/sso").text
    assert "<textarea" in page
    fields = {"csrf_token": TOKEN, "name": "Login", "enabled": "on", "issuer": "https://login.example.com", "client_id": "x",
              "secret": "client", "scopes-0": "email", "claim": "email", "person_by": "email", "groups_claim": "groups",
              "authority": f"  {ONE}{OTHER}".replace("\n", "\r\n")}  # fmt: skip
    answer = client.post("/objects/identity_provider/sso", data=fields, base_url=HOME)
    assert answer.status_code in (302, 303), answer.text
    kept = portal.candidate("identity_provider", "sso")
    assert isinstance(kept, IdentityProvider)
    assert kept.authority == ONE + OTHER
    assert ONE.splitlines()[1] in get(client, "/objects/identity_provider/sso").text
    answer = client.post(
        "/objects/identity_provider/sso", data={**fields, "authority": "no certificate"}, base_url=HOME
    )
    assert answer.status_code == 422
    assert "Holds no certificate" in answer.text
