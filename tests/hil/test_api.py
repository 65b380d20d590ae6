"""The REST API over the running product: what is committed there is what the engine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console.app import create_app
from appliance.console.services import Services
from tests.hil.office import Office, open_office
from tests.unit.console.asking import Api, Askers

PEOPLE = [
    *(("person", {"id": role, "name": role, "roles": [role]}) for role in ("administrator", "it-manager")),
    ("person", {"id": "branch", "name": "B", "roles": ["site-manager"], "sites": ["branch"]}),
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("api"), PEOPLE) as office:
        for device in ("201-1", "203-1"):
            office.phone(device)
        yield office


@pytest.fixture(scope="module")
def ask(office: Office) -> Iterator[Askers]:
    services = Services.open(office.system.paths)
    yield Askers(create_app(services))
    services.close()


@pytest.fixture
def api(ask: Askers) -> Iterator[Api]:
    api = ask("administrator")
    yield api
    api("POST", "/changes/discard")


def name_shown(office: Office, number: str = "203") -> str:
    """How a caller's display names an extension."""
    call = office.phone("201-1").call(number).ringing()
    incoming = office.phone(f"{number}-1").incoming()
    shown = next(
        m.headers["P-Asserted-Identity"]
        for m in office.phone("201-1").messages(call.id)
        if m.headers.get("P-Asserted-Identity")
    )
    call.hangup()
    incoming.closed()
    return shown.split("<")[0].strip().strip('"')


def test_what_is_committed_is_what_phones_see(office: Office, api: Api) -> None:
    assert name_shown(office) == "Desk 203"
    api("PATCH", "/objects/extension/ext-203", {"label": "Ufficio 🙂 acquisti"})
    assert name_shown(office) == "Desk 203", "pending is not in force"
    plan = api("POST", "/plans").json
    assert plan["effect"] == "live"
    assert plan["changes"] == [{"path": "extension/ext-203", "action": "changed"}]
    done = api("POST", "/commits", {"message": "A name"}).json
    assert done["state"] == "committed"
    assert name_shown(office) == "Ufficio 🙂 acquisti"
    assert api("GET", "/changes").json == {"changes": []}
    newest = api("GET", "/revisions?limit=1").json["items"][0]
    assert (newest["number"], newest["author"], newest["message"]) == (done["revision"], api.author, "A name")
    assert api("GET", f"/revisions/{done['revision']}/changes").json["changes"][0]["path"] == "extension/ext-203/label"
    back = api("POST", "/commits/rollback", {"revision": newest["parent"]}).json
    assert back["revision"] > done["revision"]
    assert name_shown(office) == "Desk 203"


def test_a_commit_that_must_be_confirmed(office: Office, api: Api, ask: Askers) -> None:
    api("PATCH", "/objects/extension/ext-203", {"label": "For a while"})
    done = api("POST", "/commits", {"confirm_s": 300}).json
    assert 0 < done["confirm_left_s"] <= 300
    assert api("GET", "/state").json["confirm"]["revision"] == done["revision"]
    stranger = ask("branch")("POST", "/commits/confirm")
    assert (stranger.status_code, stranger.json["error_id"]) == (403, "forbidden")
    assert api("POST", "/commits/confirm").json["revision"] == done["revision"]
    assert api("GET", "/state").json["confirm"] is None


def test_a_fault_stops_a_commit_and_names_the_field(office: Office, api: Api) -> None:
    api("PATCH", "/objects/extension/ext-203", {"number": "204"})
    before = api("GET", "/state").json["revision"]
    refused = api("POST", "/commits")
    assert refused.status_code == 422
    assert any(fault["path"].startswith("extension/ext-20") and fault["hint"] for fault in refused.json["faults"])
    assert api("GET", "/state").json["revision"] == before
    assert len(api("GET", "/changes").json["changes"]) == 1, "what was refused can be mended"


def test_what_drops_connections_is_asked_for(office: Office, api: Api, ask: Askers) -> None:
    api("PATCH", "/objects/listener/udp", {"port": 5070})
    assert api("POST", "/plans").json["effect"] == "drops_connections"
    refused = api("POST", "/commits")
    assert (refused.status_code, refused.json["error_id"]) == (409, "drops_connections")


def test_two_people_change_the_same_object(office: Office, api: Api, ask: Askers) -> None:
    other = ask("it-manager")
    api("PATCH", "/objects/extension/ext-206", {"label": "Mine"})
    other("PATCH", "/objects/extension/ext-206", {"label": "Theirs"})
    seen = api("GET", "/changes/others").json["authors"]
    assert [(each["author"], each["changes"][0]["path"]) for each in seen] == [
        (other.author, "extension/ext-206/label")
    ]
    assert other("POST", "/commits").status_code == 200
    late = api("POST", "/commits")
    assert late.status_code == 409
    assert late.json["changed"] == ["extension/ext-206/label"]


def test_a_branchs_manager_changes_the_branch(office: Office, ask: Askers) -> None:
    manager = ask("branch")
    assert manager("PATCH", "/objects/extension/ext-301", {"label": "Officina"}).status_code == 200
    assert manager("PATCH", "/objects/extension/ext-201", {"label": "x"}).status_code == 404
    assert manager("POST", "/commits", {"message": "Ours"}).status_code == 200
    assert [each["author"] for each in manager("GET", "/revisions").json["items"]] == [manager.author]


def test_a_new_phone_gets_a_password_and_registers(office: Office, api: Api) -> None:
    api("POST", "/objects/extension", {"id": "ext-210", "number": "210", "site": "hq"})
    made = api("POST", "/objects/device", {"id": "210-1", "extension": "ext-210"})
    password = made.json["_meta"]["password"]
    assert password not in api("GET", "/objects/device/210-1").text
    assert api("POST", "/commits").status_code == 200
    office.system.passwords["210-1"] = password
    office.phone("210-1").call("*65").established().closed(20)
    for path in (Path(office.system.paths.state / "appliance.applier.log"), office.system.paths.engine.messages):
        assert password not in path.read_text(errors="replace")
