"""The call flow's pages: what they show, and to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from flask.testing import FlaskClient
from pydantic import Field

from appliance.core.document import parse
from appliance.core.fields import Label, ListField
from appliance.core.model import Object, Part
from appliance.kinds import KINDS
from appliance.pbx.flow.views import NODES_MAX
from appliance.pbx.routing.model import Destination, ToHangup, ToRingGroup
from tests.hil.portal_app import Portal, Rows, company, portal_over
from tests.unit.console.flow_pages import (
    PEOPLE,
    REFUSED,
    TO_NIGHT,
    arrows,
    boxes,
    connect,
    movable,
    post,
    undo_of,
)


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    with portal_over(tmp_path, company(PEOPLE), served=False) as made:
        yield made


@pytest.fixture
def client(portal: Portal) -> FlaskClient:
    return portal.app.test_client()


# -- looking ---------------------------------------------------------------------------------------------------------


def test_a_company_and_a_number(client: FlaskClient) -> None:
    page = client.get("/flow").text
    assert {"outside/", "trunk/line-1", "inbound_route/nuisance", "did/main", "ring_group/front-desk", "extension/ext-301",
            "to:service/echo", "to:hangup/rejected", "ring_group/night"} <= set(boxes(page))  # fmt: skip
    assert ("did/main", "ring_group/front-desk") in arrows(page)
    assert ("outside/", "inbound_route/nuisance") in arrows(page)
    assert "no call gets here" in boxes(page)["ring_group/night"]["said"]
    page = client.get("/flow?did=main").text
    assert "<h1>What happens to a call to +390200000200</h1>" in page
    assert boxes(page)["did/main"]["said"] == (
        "Public number: Main number; +390200000200; 1. Nuisance calls; otherwise: Front desk"
    )
    assert boxes(page)["inbound_route/nuisance"]["said"].startswith(
        "Inbound route: Nuisance calls; from callers with +390299999…; Destination: "
    )
    assert "did/branch" not in boxes(page)


def test_the_list_says_the_same_without_scripts(client: FlaskClient) -> None:
    listed = client.get("/flow?did=main").text.split('id="as-list"')[1].split("<dialog")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", listed).split())
    for text in ("Calls come in by: Line 1", "Main number", "1. Nuisance calls", "otherwise", "Front desk", "201 Reception",
                 "When nobody answers", "The call ends as unanswered", "Refuse the call Rejected"):  # fmt: skip
        assert text in words
    assert 'href="/objects/did/main?next=/flow?did%3Dmain#destination"' in listed


@pytest.mark.parametrize(
    ("typed", "leads_to"),
    [("+390200000200", "did=main"), ("0039 02 0000 0200", "did=main"), ("0200", "did=main"), ("200", "did=main"),
     ("+39 02 9999 9999", "number=%2B390299999999")],
)  # fmt: skip
def test_a_number_is_found_as_people_write_it(client: FlaskClient, typed: str, leads_to: str) -> None:
    assert client.get("/flow", query_string={"number": typed}).headers["Location"] == f"/flow?{leads_to}"


def test_a_number_that_isn_t_ours_and_one_that_is_none(client: FlaskClient) -> None:
    page = client.get("/flow?number=%2B390299999999").text
    assert arrows(page) >= {("called/+390299999999", "inbound_route/nuisance"), ("called/+390299999999", "nowhere/")}
    for typed in ("hello", "0", "+0", "<script>alert(1)</script>", "٣"):
        answer = client.get("/flow", query_string={"number": typed})
        assert answer.status_code == 200
        assert "is neither a number" in answer.text
        assert "<script>alert" not in answer.text


def test_a_search_and_what_is_wrong(client: FlaskClient, portal: Portal) -> None:
    assert set(boxes(client.get("/flow?q=ring+desk").text)) == {
        "trunk/line-1", "outside/", "did/main", "ring_group/front-desk",
    }  # fmt: skip
    assert "Nothing here matches." in client.get("/flow?q=nowhere").text
    portal.store.stage("boss", put=[parse(KINDS, "did", {"id": "bad", "number": "+390200000999", "company": "demo",
                                                         "destination": {"type": "ring_group", "ring_group": "gone"}})])  # fmt: skip
    page = client.get("/flow?problems=1").text
    assert {"did/bad", "ring_group/gone", "ring_group/night"} <= set(boxes(page))
    assert "did/main" not in boxes(page)
    assert boxes(page)["ring_group/gone"]["said"] == "Ring group: gone; doesn't exist"
    assert "with faults only (2)" in page


def test_faults_of_a_check_stand_at_their_box(client: FlaskClient, portal: Portal) -> None:
    portal.store.stage("boss", put=[parse(KINDS, "inbound_route", {"id": "late", "name": "Late", "order": 9,
                                                                   "caller": "+390299999", "destination": REFUSED})])  # fmt: skip
    assert (
        "its calls are taken by inbound_route/nuisance" in boxes(client.get("/flow").text)["inbound_route/late"]["said"]
    )


def test_without_numbers_it_is_said_what_to_do(tmp_path: Path) -> None:
    rows = [item for item in company() if item.kind not in ("did", "inbound_route", "ring_group")]
    with portal_over(tmp_path, rows, served=False) as portal:
        page = portal.app.test_client().get("/flow").text
        assert "There is no public number yet." in page
        assert 'href="/objects/did/new?next=/flow"' in page.split('class="empty"')[1].split("</div>")[0]
        portal.who = "auditor"
        assert "Ask an administrator to make one." in portal.app.test_client().get("/flow").text


def test_names_can_t_be_markup(client: FlaskClient, portal: Portal) -> None:
    nasty = '"><script>alert(1)</script>'
    portal.store.stage("boss", put=[parse(KINDS, "ring_group", {"id": "night", "name": nasty, "site": "torino",
                                                                "members": [{"extension": "ext-301"}]})])  # fmt: skip
    assert connect(client, "did/main/destination", TO_NIGHT).status_code == 200
    page = client.get("/flow?did=main").text
    assert "<script>alert" not in page
    assert nasty in boxes(page)["ring_group/night"]["said"]


def test_it_speaks_italian(client: FlaskClient) -> None:
    page = client.get("/flow?did=main", headers={"Accept-Language": "it"}).text
    assert "Che cosa succede a una chiamata a +390200000200" in page
    assert "altrimenti" in boxes(page)["did/main"]["said"]


def test_five_hundred_numbers(tmp_path: Path) -> None:
    many: list[tuple[str, dict[str, Any]]] = [
        ("did", {"id": f"d{n}", "number": f"+39021{n:06}", "company": "demo", "label": f"Desk {n}",
                 "destination": {"type": "extension", "extension": f"ext-20{n % 2 + 1}"}})
        for n in range(500)
    ]  # fmt: skip
    with portal_over(tmp_path, company(many), served=False) as portal:
        client = portal.app.test_client()
        page = client.get("/flow").text
        assert len(boxes(page)) < 20
        assert "250 public numbers" in page
        assert "… and 200 more: search for them." in page
        assert set(boxes(client.get("/flow?q=desk+499").text)) == {
            "trunk/line-1", "outside/", "did/d499", "extension/ext-202",
        }  # fmt: skip
        assert len(boxes(client.get("/flow?q=desk").text)) <= NODES_MAX


# -- who may what ----------------------------------------------------------------------------------------------------


def test_a_reader_looks_and_doesn_t_change(client: FlaskClient, portal: Portal) -> None:
    portal.who = "auditor"
    page = client.get("/flow").text
    assert movable(page) == set()
    assert "You may look at this, not change it." in page
    assert 'class="palette"' not in page
    assert "data-remove" not in page
    answer = connect(client, "did/main/destination", TO_NIGHT)
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert post(client, "/flow", _do="remove", object="did/main", _etag="*").status_code == 403
    steps = json.dumps([["put", "did", "main", {"destination": TO_NIGHT}, "*"]])
    assert post(client, "/flow", _do="undo", steps=steps).status_code == 403
    assert not portal.store.candidate("auditor")


def test_a_site_s_manager_sees_and_changes_what_is_there(client: FlaskClient, portal: Portal) -> None:
    portal.who = "torinese"
    page = client.get("/flow").text
    assert movable(page) == {"ring_group/night/no_answer"}
    assert (
        boxes(page)["ring_group/front-desk"]["said"] == "Ring group: front-desk; doesn't exist, or isn't shown to you"
    )
    assert "Front desk" not in page
    assert "Reception" not in page.replace("Branch reception", "")
    assert "no call gets here" not in page, "that can't be known"
    assert "trunk/line-1" not in boxes(page)
    assert connect(client, "ring_group/night/no_answer", REFUSED).status_code == 200
    hidden = connect(client, "ring_group/night/no_answer", {"type": "extension", "extension": "ext-201"})
    missing = connect(client, "ring_group/night/no_answer", {"type": "extension", "extension": "ext-999"})
    assert (hidden.status_code, missing.status_code) == (422, 422)
    assert hidden.text.split('role="alert"')[1].split("</div>")[0].replace("ext-201", "ext-999") == missing.text.split('role="alert"')[1].split("</div>")[0]  # fmt: skip
    found = client.get("/flow/targets?place=ring_group/night/no_answer&q=ext").get_json()["choices"]
    assert {json.loads(each["value"])["extension"] for each in found} == {"ext-301", "ext-302", "ext-303", "ext-304"}


def test_fields_that_may_not_be_seen_aren_t_shown(client: FlaskClient, portal: Portal) -> None:
    portal.who = "clerk"
    page = client.get("/flow").text
    assert set(boxes(page)) == {"outside/", "did/main", "did/branch", "did/echo"}
    assert boxes(page)["did/main"]["said"] == "Public number: Main number; +390200000200"
    answer = post(
        client, "/flow", _do="connect", place="did/main/destination", destination=json.dumps(REFUSED), _etag="*"
    )
    assert answer.status_code == 422
    assert not portal.store.candidate("clerk")


def test_who_sees_nothing_of_it_has_no_such_page(client: FlaskClient, portal: Portal) -> None:
    portal.who = "namer"
    assert client.get("/flow").status_code == 404
    assert post(client, "/flow", _do="remove", object="did/main", _etag="*").status_code == 404
    assert client.get("/flow/targets?place=did/main/destination").status_code == 404
    assert 'href="/flow"' not in client.get("/objects/extension").text


# -- a kind that comes later -----------------------------------------------------------------------------------------

Later = Annotated[ToRingGroup | ToHangup, Field(discriminator="type")]


class MenuKey(Part):
    """What a key does."""

    digit: str
    destination: Later


class Menu(Object):
    """A menu that callers choose from."""

    kind: ClassVar[str] = "menu"
    name: Label
    keys: Annotated[tuple[MenuKey, ...], ListField] = ()
    wrong_key: Destination | None = None


def test_a_kind_with_destinations_in_a_list_has_its_box_and_its_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "menu", Menu)
    keys = [{"digit": "1", "destination": TO_NIGHT}, {"digit": "2", "destination": REFUSED}]
    rows: Rows = [*PEOPLE, ("menu", {"id": "welcome", "name": "Welcome", "keys": keys})]
    with portal_over(tmp_path, company(rows), served=False) as portal:
        client = portal.app.test_client()
        page = client.get("/flow").text
        assert "Welcome" in boxes(page)["menu/welcome"]["said"]
        assert movable(page) >= {
            "menu/welcome/keys[0].destination",
            "menu/welcome/keys[1].destination",
            "menu/welcome/wrong_key",
        }
        assert "Keys 2: Destination: Refuse the call: Busy" in boxes(page)["menu/welcome"]["said"]
        answer = connect(client, "menu/welcome/keys[1].destination", TO_NIGHT)
        assert answer.status_code == 200, answer.text.split('role="alert"')[-1][:300]
        changed = portal.candidate("menu", "welcome")
        assert isinstance(changed, Menu)
        assert [key.destination for key in changed.keys] == [ToRingGroup(ring_group="night")] * 2
        assert [key.digit for key in changed.keys] == ["1", "2"]
        post(client, "/flow", _do="undo", steps=undo_of(answer.text))
        assert portal.candidate("menu", "welcome").keys[1].destination == ToHangup(reason="busy")  # type: ignore[union-attr]
        assert connect(client, "menu/welcome/keys[2].destination", TO_NIGHT).status_code == 422
        assert (
            connect(
                client, "menu/welcome/keys[1].destination", {"type": "extension", "extension": "ext-201"}
            ).status_code
            == 422
        )
        places = client.get("/flow/targets", query_string={"place": "menu/welcome/keys[0].destination"}).get_json()[
            "choices"
        ]
        assert {json.loads(each["value"])["type"] for each in places} == {"ring_group", "hangup"}
