"""Signing in by a directory: a real slapd over TLS, and servers that are silent, false, or somebody in between."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.access import signin
from appliance.access.directory import directory as module
from appliance.access.sessions import Stage
from appliance.access.signin import Outcome
from appliance.commands.findings import Grade
from appliance.commands.ways_in import ways_in
from appliance.core.document import parse
from appliance.core.errors import RefusedError
from appliance.handed import FILE
from appliance.kinds import KINDS
from appliance.organisation.model import Person
from appliance.paths import Paths
from tests.hil.agents.authority import Authority
from tests.hil.agents.slapd import (
    BASE,
    BOSSES,
    EMPTY,
    PEOPLE,
    READER,
    READER_PASSWORD,
    STAFF,
    Slapd,
    free_port,
    group,
    person,
    slapd,
)
from tests.unit.access.ground import ABROAD, AGENT, HOME, PASSWORD, SECOND, Ground, quick_ground

ANN, BOB, ODD, GUEST = "basalt lantern 7", "kestrel umbra 8", "thimble 9 è", "granite 10"
ODD_NAME = "o'dd (sales)* #1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    people = [
        person("ann", "Ann Example", "A.Example@example.com", ANN),
        person("robert", "Bob Sample", ["robert@example.com", "bob@example.com"], BOB),
        person(ODD_NAME, "Odd Name", "odd@example.com", ODD),
        person("guest", "Not in the document", "guest@example.com", GUEST),
        person("one", "Twin", "twin@example.com", "twins are two"),
        person("two", "Twin", "twin@example.com", "twins are two"),
        person("nomail", "No Mail", "none", "has no address"),
        group(f"cn=groups-need-a-place,ou=groups,{BASE}", READER),
        group(STAFF, f"uid=ann,{PEOPLE}", f"uid=robert,{PEOPLE}"),
        group(BOSSES, f"uid=ann,{PEOPLE}"),
        (f"ou=elsewhere,{PEOPLE}", {"objectClass": ["referral", "extensibleObject"], "ou": "elsewhere",
                                    "ref": "ldap://127.0.0.1:1/ou=people,dc=example,dc=org"}),
    ]  # fmt: skip
    with slapd(tmp_path_factory.mktemp("slapd"), people) as running:
        yield running


class Room(Ground):
    """An installation with a directory."""

    server: Slapd

    def use(self, **fields: Any) -> None:
        """Put the directory into the document, some of it otherwise."""
        data = {
            "id": "corp", "name": "Company", "servers": [{"host": "localhost", "port": self.server.tls_port}],
            "authority": self.server.authority.pem, "bind_dn": READER, "secret": "reader", "base": PEOPLE,
            "user_class": "inetOrgPerson", **fields,
        }  # fmt: skip
        self.document = self.document.with_changes([parse(KINDS, "directory_service", data)])

    def add(self, id: str, email: str | None, *roles: str) -> None:
        self.document = self.document.with_changes([Person(id=id, name=id, email=email, roles=roles)])

    def tries(self, name: str, password: str, address: str = HOME) -> Outcome:
        return self.signin.password(name, password, address, AGENT)

    def refused(self, name: str, password: str, address: str = HOME) -> str:
        with pytest.raises(RefusedError) as caught:
            self.tries(name, password, address)
        return caught.value.error_id

    def why(self) -> str:
        """What the audit says of the last failure."""
        entry = self.access.audit.entries(limit=1)[0]
        assert entry.event == "failed"
        return str(entry.detail.get("directory"))


@pytest.fixture
def room(server: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    url = f"sqlite:///{tmp_path}/store/access.db"
    with quick_ground(url, tmp_path, monkeypatch, Room) as made:
        assert isinstance(made, Room)
        made.server = server
        made.secrets["reader"] = READER_PASSWORD
        made.use()
        yield made


@pytest.mark.parametrize("name", ["ann", "ANN", " ann ", "a.example@example.com", "EXAMPLE\\ann"])
def test_the_directory_s_password_opens_the_door(room: Room, name: str) -> None:
    outcome = room.tries(name, ANN)
    assert (outcome.session.person, outcome.session.stage, outcome.session.roles) == ("ann", Stage.FULL, ())
    assert room.access.audit.entries(limit=1)[0].detail["by"] == "directory corp"
    assert room.refused(name, ANN + "x") == "sign_in_failed"
    assert room.why() == "corp: wrong password"


def test_people_are_found_by_names_that_only_the_directory_knows(room: Room) -> None:
    assert room.tries("robert", BOB).session.person == "bob"
    assert room.tries("robert@example.com", BOB).session.person == "bob"
    room.use(login_attributes=["mail"])
    assert room.refused("robert", BOB) == "sign_in_failed"
    assert room.why() == "corp: not in the directory"


def test_starttls_is_as_good(room: Room) -> None:
    room.use(security="starttls", servers=[{"host": "localhost", "port": room.server.port}])
    assert room.tries("ann", ANN).session.person == "ann"
    assert room.refused("ann", "wrong") == "sign_in_failed"
    room.use(security="ldaps", servers=[{"host": "localhost", "port": room.server.port}])  # TLS to a port without
    assert room.refused("ann", ANN) == "directory_silent"


@pytest.mark.parametrize("password", ["", "\x00", "\ud800", ANN + "\x00", "\x00" + ANN])
def test_no_password_is_no_password(room: Room, password: str) -> None:
    """This server takes a bind without a password for anybody, as RFC 4513 section 5.1.2 warns."""
    assert room.refused("ann", password) == "sign_in_failed"


@pytest.mark.parametrize(
    "name", ["*", "a*", "ann)(uid=*", "ann)(|(uid=*", "*)(objectClass=*", "\\61nn", "ann\x00", "(&(uid=ann))", "",
             "uid=ann," + PEOPLE, "\ud800", "x" * 100_000],
)  # fmt: skip
def test_no_name_means_more_than_itself(room: Room, name: str) -> None:
    assert room.refused(name, ANN) == "sign_in_failed"
    assert room.tries("ann", ANN).session.person == "ann"  # and the directory isn't taken for broken


def test_odd_names_are_found_as_they_are(room: Room) -> None:
    room.add("odd", "odd@example.com")
    assert room.tries(ODD_NAME, ODD).session.person == "odd"


def test_who_isn_t_in_the_document_stays_out(room: Room) -> None:
    before = room.server.searches().count(f'BIND dn="uid=guest,{PEOPLE}"')
    assert room.refused("guest", GUEST) == "sign_in_failed"
    assert room.why() == "corp: nobody of the document"
    after = room.server.searches().count(f'BIND dn="uid=guest,{PEOPLE}"')
    assert before == after == 0, "others' passwords can't be guessed at through us"


def test_whom_two_entries_or_two_people_could_mean_stays_out(room: Room) -> None:
    room.add("twin", "twin@example.com")
    assert room.refused("twin@example.com", "twins are two") == "sign_in_failed"
    assert room.why() == "corp: several entries have that name"
    assert room.tries("one", "twins are two").session.person == "twin"
    room.add("other", "TWIN@example.com")
    assert room.refused("one", "twins are two") == "sign_in_failed"
    assert room.why() == "corp: nobody of the document"


def test_people_without_an_address_aren_t_those_without_a_value(room: Room) -> None:
    room.add("blank", None)
    room.use(person_attribute="description")  # nobody has one
    assert room.refused("ann", ANN) == "sign_in_failed"
    assert room.why() == "corp: nobody of the document"
    room.use(person_by="id", person_attribute="uid")
    assert room.tries("a.example@example.com", ANN).session.person == "ann"


def test_a_required_group_and_roles_by_group(room: Room) -> None:
    room.use(required_group=STAFF)
    assert room.tries("robert", BOB).session.person == "bob"
    room.use(required_group=BOSSES)
    assert room.refused("robert", BOB) == "sign_in_failed"
    assert room.why() == "corp: not in the group"
    assert room.refused("robert", "wrong") == "sign_in_failed"
    assert room.why() == "corp: wrong password"
    room.use(required_group=EMPTY)  # there is no such group
    assert room.refused("ann", ANN) == "sign_in_failed"
    room.use(groups=[{"group": STAFF, "role": "operator"}, {"group": BOSSES, "role": "auditor"}])
    assert room.tries("robert", BOB).session.roles == ("operator",)
    outcome = room.tries("ann", ANN)
    assert outcome.session.roles == ("operator", "auditor")
    session, found = room.signin.session_of(outcome.token) or pytest.fail("the session is there")
    assert (session.roles, found.roles) == (("operator", "auditor"), ("operator", "auditor"))
    room.use(groups=[{"group": BOSSES, "role": "auditor"}])  # what isn't given any more ends at once
    session, found = room.signin.session_of(outcome.token) or pytest.fail("the session is there")
    assert (session.roles, found.roles) == (("auditor",), ("auditor",))


def test_roles_by_group_demand_a_second_factor_too(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.signin, "_must", lambda person: "administrator" in person.roles)
    assert room.tries("ann", ANN).session.stage is Stage.FULL
    room.use(groups=[{"group": STAFF, "role": "administrator"}])
    assert room.tries("ann", ANN).session.stage is Stage.ENROL


def test_who_has_a_second_factor_is_asked_for_it(room: Room) -> None:
    app, _codes = room.with_totp("ann")
    outcome = room.tries("ann", ANN)
    assert outcome.session.stage is Stage.PASSWORD
    assert room.signin.code(outcome.session, room.shown(app), HOME).session.stage is Stage.FULL


def test_a_fresh_proof_is_asked_of_the_directory_too(room: Room) -> None:
    session = room.tries("robert", BOB).session
    assert room.signin.again(session, BOB, HOME).session.person == "bob"
    session = room.tries("robert", BOB).session
    for wrong in ("", "x", ANN):
        with pytest.raises(RefusedError):
            room.signin.again(session, wrong, HOME)
    room.clock.pass_(3600 * SECOND)
    room.add("bob", "a.example@example.com")  # the entry is another one's now
    with pytest.raises(RefusedError):
        room.signin.again(session, BOB, HOME)


def test_passwords_kept_here_go_on_or_not_as_the_document_says(room: Room) -> None:
    room.enter("ann")
    room.add("boss", "boss@example.com", "administrator")
    room.enter("boss")
    for id in ("ann", "boss"):
        assert room.tries(id, PASSWORD).session.person == id
    room.use(local_passwords="administrators")
    assert room.refused("ann", PASSWORD) == "sign_in_failed"
    assert room.tries("ann", ANN).session.person == "ann"
    assert room.tries("boss", PASSWORD).session.person == "boss"
    room.use(local_passwords="administrators", enabled=False)
    assert room.tries("ann", PASSWORD).session.person == "ann"
    assert room.refused("robert", BOB) == "sign_in_failed"


def test_guesses_are_slowed_down_whatever_name_they_are_made_under(room: Room) -> None:
    for number in range(5):
        assert room.refused(("robert", "robert@example.com", "bob@example.com", "bob")[number % 4], "wrong", ABROAD)
    binds = room.server.searches().count(f'BIND dn="uid=robert,{PEOPLE}"')
    assert room.refused("robert", BOB, ABROAD) == "sign_in_failed"
    assert room.server.searches().count(f'BIND dn="uid=robert,{PEOPLE}"') == binds, "it isn't even tried"
    room.clock.pass_(20 * 60 * SECOND)
    assert room.tries("robert", BOB, ABROAD).session.person == "bob"


def test_two_directories_are_asked_one_after_the_other(room: Room) -> None:
    room.use(id="a-first", base=f"ou=groups,{BASE}")
    room.use(id="b-second")
    assert room.tries("ann", ANN).session.person == "ann"
    room.use(id="a-first", servers=[{"host": "localhost", "port": free_port()}])
    assert room.tries("ann", ANN).session.person == "ann"
    assert room.refused("ann", "wrong") == "directory_silent"


# -- servers that aren't as they should be ------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of a test's own on loopback; ``act`` has each connection in a thread. Its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                taken.append(connection)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            act(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        for each in (listener, *taken):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def silent(connection: socket.socket) -> None:
    connection.recv(1)
    threading.Event().wait(30)


def dripping(connection: socket.socket) -> None:
    """The beginning of a TLS record, and then a byte now and then: a time-out for each read never comes."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while True:
        connection.sendall(b"\x00")
        time.sleep(0.05)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVER_S", 0.6)
    monkeypatch.setattr(module, "WHOLE_S", 2.0)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("act", [silent, dripping])
def test_a_silent_server_holds_nobody_up_and_the_next_is_asked(
    room: Room, act: Callable[[socket.socket], None]
) -> None:
    with listening(act) as port:
        good = {"host": "localhost", "port": room.server.tls_port}
        room.use(servers=[{"host": "localhost", "port": port}, good])
        begun = time.monotonic()
        assert room.tries("ann", ANN).session.person == "ann"
        assert time.monotonic() - begun < 2
        begun = time.monotonic()
        assert room.tries("ann", ANN).session.person == "ann"
        assert time.monotonic() - begun < 0.5, "it isn't asked again at once"


@pytest.mark.usefixtures("hurried")
def test_nor_does_one_whose_answer_never_ends(room: Room, tmp_path: Path) -> None:
    """It has the right certificate, and sends a byte of a long answer now and then."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*room.server.authority.issue(tmp_path / "tls", "localhost"))

    def act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1000)
            tls.sendall(b"\x30\x84\x00\x10\x00\x00")
            while True:
                tls.sendall(b"\x00")
                time.sleep(0.05)

    with listening(act) as port:
        good = {"host": "localhost", "port": room.server.tls_port}
        room.use(servers=[{"host": "localhost", "port": port}, good])
        begun = time.monotonic()
        assert room.tries("ann", ANN).session.person == "ann"
        assert time.monotonic() - begun < 2


@pytest.mark.usefixtures("hurried")
def test_when_nobody_answers_everybody_is_told_the_same_and_local_passwords_work(room: Room) -> None:
    room.enter("ann")
    room.add("boss", "boss@example.com", "administrator")
    room.enter("boss")
    room.use(local_passwords="administrators", servers=[{"host": "localhost", "port": free_port()}])
    for name, password in (
        ("ann", ANN),
        ("ann", "wrong"),
        ("nobody", "x"),
        ("robert", BOB),
        ("ann", PASSWORD),
        ("boss", "x"),
    ):
        assert room.refused(name, password, ABROAD) == "directory_silent", name
    assert room.tries("boss", PASSWORD, HOME).session.person == "boss"


def test_failures_have_one_answer_and_one_time(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.enter("ann")
    monkeypatch.setattr(signin, "DIRECTORY_FAILURE_S", 0.5)
    answers, times = set(), []
    for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("guest", "wrong"), ("guest", GUEST), ("robert", "")):
        begun = time.monotonic()
        with pytest.raises(RefusedError) as caught:
            room.tries(name, password, ABROAD)
        times.append(time.monotonic() - begun)
        answers.add((caught.value.error_id, caught.value.message, caught.value.hint))
    assert len(answers) == 1
    assert all(0.5 <= each < 1 for each in times), times


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("case", ["unknown authority", "another name", "expired", "nothing trusted"])
def test_no_password_goes_to_who_has_no_good_certificate(room: Room, tmp_path: Path, case: str) -> None:
    authority = Authority()
    hosts = ("ldap.example.com",) if case == "another name" else ("localhost",)
    files = authority.issue(tmp_path / "false", *hosts, days=-1 if case == "expired" else 7)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    heard: list[bytes] = []

    def act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            heard.append(tls.recv(1000))

    trusted = {"unknown authority": Authority("Test authority").pem, "nothing trusted": None}.get(case, authority.pem)
    with listening(act) as port:
        room.use(servers=[{"host": "localhost", "port": port}], authority=trusted)
        assert room.refused("ann", ANN) == "directory_silent"
        if case == "another name":  # the same is taken under the name that it has
            assert "directory_unreachable" not in room.why()
    assert not any(heard)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("answer", ["refuses", "garbage", "closes", "slips something in"])
def test_no_password_goes_out_without_tls(room: Room, answer: str) -> None:
    """Somebody in between who answers STARTTLS as it suits them."""
    heard = bytearray()
    refusal = bytes.fromhex("300c02010178070a010204000400")
    success = bytes.fromhex("300c02010178070a010004000400")
    injected = bytes.fromhex("300c02010261070a010004000400")  # "you are signed in already"

    def act(connection: socket.socket) -> None:
        heard.extend(connection.recv(1000))
        said = {"refuses": refusal, "garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n", "closes": b""}
        connection.sendall(said.get(answer, success + injected))
        if answer != "closes":
            while data := connection.recv(1000):
                heard.extend(data)

    with listening(act) as port:
        room.use(security="starttls", servers=[{"host": "localhost", "port": port}])
        assert room.refused("ann", ANN) == "directory_silent"
    for secret in (ANN, READER_PASSWORD, READER):
        assert secret.encode() not in heard


@pytest.mark.usefixtures("hurried")
def test_a_wrong_account_for_looking_people_up_is_told_to_whoever_runs_it(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.secrets["reader"] = "not this one"
    with caplog.at_level(logging.WARNING):
        assert room.refused("ann", ANN) == "directory_silent"
    assert "doesn't take the account" in caplog.text
    assert room.why() == "corp: directory_account"
    (_service, problems), *_ = room.signin.directories.probe(room.document)
    assert [problem.error_id for problem in problems] == ["directory_account"]
    room.secrets["reader"] = ""
    (_service, problems), *_ = room.signin.directories.probe(room.document)
    assert "centralino secret set reader" in problems[0].hint
    room.secrets["reader"] = READER_PASSWORD
    (_service, problems), *_ = room.signin.directories.probe(room.document)
    assert problems == []


@pytest.mark.usefixtures("hurried")
def test_the_doctor_says_how_it_is(room: Room, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "cache")
    place = paths.handed_to("console")
    place.mkdir(parents=True)
    (place / FILE).write_text(json.dumps({"reader": READER_PASSWORD}))
    assert [(found.grade, found.message) for found in ways_in(paths, room.document)] == [
        (Grade.OK, "corp answers and takes us")
    ]
    room.use(servers=[{"host": "localhost", "port": free_port()}, {"host": "localhost", "port": room.server.tls_port}])
    [found] = ways_in(paths, room.document)
    assert (found.grade, "refuses connections" in found.message) == (Grade.FAULT, True)
    (place / FILE).write_text("{}")
    assert "centralino secret set reader" in list(ways_in(paths, room.document))[1].mend
    assert list(ways_in(paths, None)) == []


@pytest.mark.usefixtures("hurried")
def test_no_secret_is_told_anywhere(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        room.tries("ann", ANN)
        room.refused("ann", "a wrong one")
        room.secrets["reader"] = "another wrong one"
        room.refused("ann", ANN)
    kept = caplog.text + room.everything()
    for secret in (ANN, "a wrong one", READER_PASSWORD, "another wrong one"):
        assert secret not in kept


@pytest.mark.usefixtures("hurried")
def test_many_who_wait_leave_room_for_others(room: Room) -> None:
    room.add("boss", "boss@example.com", "administrator")
    room.enter("boss")
    with listening(silent) as port:
        room.use(servers=[{"host": "localhost", "port": port}])
        waiting = [
            threading.Thread(target=room.refused, args=("ann", ANN, f"192.0.2.{number}")) for number in range(12)
        ]
        for thread in waiting:
            thread.start()
        begun = time.monotonic()
        assert room.tries("boss", PASSWORD).session.person == "boss"
        assert time.monotonic() - begun < 1
        for thread in waiting:
            thread.join(10)
            assert not thread.is_alive()
