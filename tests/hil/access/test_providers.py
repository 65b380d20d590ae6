"""Signing in by OpenID Connect: a real provider over HTTPS, and all that one must not be able to do."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from appliance.access import openid, outward
from appliance.access.openid import OpenId, reason_of
from appliance.access.providers import Begun, Finished, Providers
from appliance.access.sessions import Stage
from appliance.commands.findings import Grade
from appliance.commands.ways_in import ways_in
from appliance.core.document import parse
from appliance.core.errors import CentralinoError, NotFoundError, RefusedError, UnavailableError
from appliance.kinds import KINDS
from appliance.paths import Paths
from tests.hil.agents.authority import Authority
from tests.hil.agents.identity_provider import CLIENT, SECRET, Idp, provider
from tests.hil.agents.slapd import free_port
from tests.unit.access.ground import AGENT, HOME, MINUTE, PORTAL, Ground, quick_ground

CALLBACK = f"{PORTAL}/sign-in/with/sso/callback"


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Idp]:
    with provider(tmp_path_factory.mktemp("idp"), [CALLBACK, CALLBACK.replace("sso", "other")]) as running:
        yield running


class Room(Ground):
    """An installation with a provider."""

    idp: Idp
    providers: Providers

    def use(self, **fields: Any) -> None:
        """Put the provider into the document, some of it otherwise."""
        data = {
            "id": "sso", "name": "Company login", "issuer": self.idp.issuer, "client_id": CLIENT, "secret": "client",
            "authority": self.idp.authority.pem, **fields,
        }  # fmt: skip
        self.document = self.document.with_changes([parse(KINDS, "identity_provider", data)])

    def answer(self, begun: Begun) -> dict[str, str]:
        """What the provider sends the browser back with, of the address that it was sent to."""
        context = ssl.create_default_context(cadata=self.idp.authority.pem)
        found = httpx.get(begun.url, verify=context, trust_env=False, timeout=10)
        assert found.status_code == 302, found.text
        place = found.headers["location"]
        assert place.startswith(CALLBACK)
        return {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}

    def enters(self, wanted: str = "/", **options: Any) -> Finished:
        begun = self.providers.begin("sso", wanted, **options)
        return self.providers.finish("sso", begun.secret, self.answer(begun), HOME, AGENT)

    def fails(self, error_id: str) -> str:
        """The reason in the audit."""
        with pytest.raises(CentralinoError) as caught:
            self.enters()
        assert caught.value.error_id == error_id, self.why()
        return self.why()

    def why(self) -> str:
        entry = self.access.audit.entries(limit=1)[0]
        assert (entry.event, entry.detail["step"]) == ("failed", "provider")
        return str(entry.detail["reason"])


@pytest.fixture
def room(idp: Idp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setenv("CENTRALINO_PORTAL_URL", PORTAL)
    with quick_ground(f"sqlite:///{tmp_path}/store/access.db", tmp_path, monkeypatch, Room) as made:
        assert isinstance(made, Room)
        made.idp = idp
        made.clock.wall = time.time_ns() // 1_000_000  # the provider's tokens go by the real one
        made.secrets["client"] = SECRET
        made.providers = Providers(made.signin, made.secrets.get, openid=OpenId(made.clock))
        made.use()
        idp.set(user="ann", fault="", claims={})
        yield made


def test_somebody_whom_the_provider_knows_gets_in(room: Room) -> None:
    done = room.enters("/objects/extension?q=1")
    session = done.outcome.session
    assert (session.person, session.stage, done.wanted) == ("ann", Stage.FULL, "/objects/extension?q=1")
    assert room.access.audit.entries(limit=1)[0].detail["by"] == "provider sso"
    found = room.find(done.outcome)
    assert found is not None
    assert found.id == session.id


def test_what_the_provider_is_asked(room: Room) -> None:
    begun = room.providers.begin("sso", "/")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == CALLBACK
    assert set(asked["scope"].split()) == {"openid", "email", "profile"}
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"], begun.secret}) == 4
    other = parse_qs(urlsplit(room.providers.begin("sso", "/").url).query)
    assert not {asked[name] for name in ("state", "nonce", "code_challenge")} & {
        other[name][0] for name in ("state", "nonce", "code_challenge")
    }
    room.enters()
    exchanged = [each["form"] for each in room.idp.asked() if each["path"] == "/token"][-1]
    assert len(exchanged["code_verifier"]) == 43
    assert SECRET not in str(exchanged), "the secret goes in the header"
    for text in (begun.secret, asked["state"], asked["nonce"], exchanged["code_verifier"]):
        assert text not in room.everything(), "whoever reads the database can't go on with it"


def test_the_provider_sees_to_the_verifier(room: Room) -> None:
    """The peer is a real one: with another verifier, it gives nothing out."""
    one, other = room.providers.begin("sso", "/"), room.providers.begin("sso", "/")
    answer = room.answer(one)
    answer["state"] = parse_qs(urlsplit(other.url).query)["state"][0]
    with pytest.raises(RefusedError):
        room.providers.finish("sso", other.secret, answer, HOME, AGENT)  # a code slipped to another browser
    assert "answers 400" in room.why()


def test_an_answer_is_good_once_in_the_browser_that_asked(room: Room) -> None:
    begun, stranger = room.providers.begin("sso", "/"), room.providers.begin("sso", "/")
    answer = room.answer(begun)
    for secret in ("", stranger.secret, "x" * 5000, "\ud800"):
        with pytest.raises(RefusedError) as caught:
            room.providers.finish("sso", secret, answer, HOME, AGENT)
        assert caught.value.error_id == "provider_failed"
        assert "this browser" in room.why()
    assert room.providers.finish("sso", begun.secret, answer, HOME, AGENT).outcome.session.person == "ann"
    with pytest.raises(RefusedError):
        room.providers.finish("sso", begun.secret, answer, HOME, AGENT)
    assert "used already" in room.why()


def test_of_two_who_use_an_answer_at_once_one_gets_in(room: Room) -> None:
    begun = room.providers.begin("sso", "/")
    answer, got = room.answer(begun), []

    def use() -> None:
        try:
            got.append(room.providers.finish("sso", begun.secret, answer, HOME, AGENT).outcome.session.person)
        except RefusedError as error:
            got.append(error.error_id)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == ["ann", "provider_failed"]


def test_an_answer_comes_within_ten_minutes(room: Room) -> None:
    begun = room.providers.begin("sso", "/")
    answer = room.answer(begun)
    room.clock.pass_(11 * MINUTE)
    with pytest.raises(RefusedError):
        room.providers.finish("sso", begun.secret, answer, HOME, AGENT)
    assert "too late" in room.why()
    begun = room.providers.begin("sso", "/")
    answer = room.answer(begun)
    room.clock.set_wall(-30 * MINUTE)
    with pytest.raises(RefusedError):
        room.providers.finish("sso", begun.secret, answer, HOME, AGENT)


def test_one_provider_can_t_answer_for_another(room: Room) -> None:
    room.use(id="other")
    begun = room.providers.begin("sso", "/")
    answer = room.answer(begun)
    with pytest.raises(RefusedError):
        room.providers.finish("other", begun.secret, answer, HOME, AGENT)
    answer = room.answer(begun)
    with pytest.raises(RefusedError):
        room.providers.finish("sso", begun.secret, {**answer, "iss": "https://other.example.com"}, HOME, AGENT)
    assert "another provider" in room.why()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("issuer", "iss"), ("audience", "aud"), ("expired", "exp"), ("future", "in the future"), ("nonce", "nonce"),
        ("no_nonce", "nonce"), ("unknown_kid", "kid"), ("unsigned", "lgorithm"), ("shared_key", "lgorithm"),
        ("no_id_token", "no ID token"), ("at_hash", "at_hash"), ("azp", "azp"), ("other_userinfo", "somebody else's"),
        ("token_garbage", "answers 200"), ("token_endless", "without end"), ("redirect", "answers 307"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_with_a_token_nobody_gets_in(room: Room, fault: str, said: str) -> None:
    room.idp.set(fault=fault)
    assert said in room.fails("provider_failed")
    assert room.access.sessions.listed() == []
    room.idp.set(fault="")
    assert room.enters().outcome.session.person == "ann"


def test_the_clocks_may_differ_a_little(room: Room) -> None:
    room.clock.set_wall(-45_000)
    assert room.enters().outcome.session.person == "ann"
    room.clock.set_wall(-45_000)
    assert "in the future" in room.fails("provider_failed")


@pytest.mark.parametrize(
    ("fault", "error_id"), [("discovery_issuer", "provider_failed"), ("discovery_http", "provider_failed")]
)
def test_a_provider_that_says_strange_things_of_itself_isn_t_used(room: Room, fault: str, error_id: str) -> None:
    room.idp.set(fault=fault)
    assert ("issuer" in room.fails(error_id)) is (fault == "discovery_issuer")


@pytest.mark.parametrize("fault", ["discovery_silent", "token_silent", "token_500"])
def test_a_silent_provider_holds_nobody_up(room: Room, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid, "READ_S", 0.5)
    room.idp.set(fault=fault)
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        room.enters()
    assert caught.value.error_id == "provider_silent"
    assert time.monotonic() - begun < 3


def test_who_can_t_be_reached_or_has_another_s_certificate_isn_t_the_provider(room: Room) -> None:
    room.use(issuer=f"https://localhost:{free_port()}")
    with pytest.raises(UnavailableError):
        room.providers.begin("sso", "/")
    room.use(authority=None)  # no public authority knows it
    with pytest.raises(UnavailableError) as caught:
        room.providers.begin("sso", "/")
    assert "certificate" in reason_of(caught.value).lower()
    room.use(issuer=room.idp.issuer.replace("localhost", "127.0.0.1"))
    with pytest.raises(RefusedError):  # an issuer is compared to the letter
        room.providers.begin("sso", "/")


def test_keys_that_change_are_fetched_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.enters()
    room.idp.set(rotate=True)
    assert "kid" in room.fails("provider_failed").lower(), (
        "not at once, or unknown keys would have them fetched all the time"
    )
    monkeypatch.setattr(openid, "AGAIN_S", 0.0)
    before = [each["path"] for each in room.idp.asked()].count("/jwks")
    assert room.enters().outcome.session.person == "ann"
    assert room.enters().outcome.session.person == "ann"
    assert [each["path"] for each in room.idp.asked()].count("/jwks") == before + 1


def test_only_addresses_that_were_verified_count(room: Room) -> None:
    room.idp.set(user="bob")
    assert "hasn't verified" in room.fails("provider_unverified")
    room.use(unverified_email=True)
    assert room.enters().outcome.session.person == "bob"


def test_who_isn_t_in_the_document_stays_out(room: Room) -> None:
    room.idp.set(user="eve")
    assert "nobody of the document" in room.fails("provider_unknown")
    room.use(person_by="id", claim="preferred_username")
    assert "nobody of the document" in room.fails("provider_unknown")
    room.idp.set(user="bob")
    assert room.enters().outcome.session.person == "bob"
    room.use(claim="nothing_of_the_kind")
    assert "sent no nothing_of_the_kind" in room.fails("provider_failed")


def test_who_says_no_there_is_told_so_here(room: Room) -> None:
    room.idp.set(user="nobody")
    assert "access_denied" in room.fails("provider_denied")


def test_ours_is_asked_for_unless_the_document_takes_the_provider_s_second_factor(room: Room) -> None:
    room.must = True
    room.idp.set(claims={"amr": ["pwd", "mfa"], "acr": "urn:example:gold"})
    assert room.enters().outcome.session.stage is Stage.ENROL
    for values in (["mfa"], ["urn:example:gold", "else"]):
        room.use(second_factor=values)
        assert room.enters().outcome.session.stage is Stage.FULL
    room.use(second_factor=["hwk"])
    assert room.enters().outcome.session.stage is Stage.ENROL
    app, _codes = room.with_totp("ann")
    outcome = room.enters().outcome
    assert outcome.session.stage is Stage.PASSWORD
    assert room.signin.code(outcome.session, room.shown(app), HOME).session.stage is Stage.FULL


def test_groups_give_roles(room: Room) -> None:
    room.use(groups=[{"group": "Switchboard staff", "role": "operator"}, {"group": "audit", "role": "auditor"}])
    assert room.enters().outcome.session.roles == ()
    room.idp.set(claims={"groups": ["Switchboard staff", "others", 7]})
    assert room.enters().outcome.session.roles == ("operator",)
    room.idp.set(claims={"groups": "audit"})  # not a list
    assert room.enters().outcome.session.roles == ()


def test_a_fresh_proof_is_one(room: Room) -> None:
    asked = parse_qs(urlsplit(room.providers.begin("sso", "/", fresh=True).url).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    for claims in (
        {},
        {"auth_time": int(time.time()) - 3600},
        {"auth_time": int(time.time()) + 3600},
        {"auth_time": "x"},
    ):
        room.idp.set(claims=claims)
        with pytest.raises(RefusedError):
            room.enters(fresh=True)
    room.idp.set(claims={"auth_time": int(time.time()) - 5})
    assert room.enters(fresh=True).outcome.session.person == "ann"


def test_a_provider_that_was_taken_out_of_use_is_none(room: Room) -> None:
    begun = room.providers.begin("sso", "/")
    answer = room.answer(begun)
    room.use(enabled=False)
    for act in (lambda: room.providers.begin("sso", "/"), lambda: room.providers.finish("sso", begun.secret, answer)):
        with pytest.raises(NotFoundError):
            act()


def test_a_wrong_client_secret_lets_nobody_in(room: Room) -> None:
    room.secrets["client"] = "another"
    assert "answers 400" in room.fails("provider_failed")
    room.secrets["client"] = ""
    with pytest.raises(UnavailableError):
        room.enters()


def test_the_doctor_says_how_it_is(room: Room, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "cache")
    [found] = ways_in(paths, room.document)
    assert (found.grade, CALLBACK in found.message) == (Grade.OK, True)
    room.use(authority=Authority(days=10).pem)
    faulty, soon = ways_in(paths, room.document)
    assert (faulty.grade, "certificate" in faulty.message.lower()) == (Grade.FAULT, True)
    assert (soon.grade, "ends on" in soon.message) == (Grade.WARNING, True)


def test_nothing_secret_is_told_anywhere(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        begun = room.providers.begin("sso", "/")
        answer = room.answer(begun)
        caplog.clear()  # what the test's own client said
        token = room.providers.finish("sso", begun.secret, answer, HOME, AGENT).outcome.token
        room.idp.set(fault="expired")
        caplog.clear()
        room.fails("provider_failed")
    kept = (
        "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("appliance"))
        + room.everything()
    )
    for secret in (SECRET, begun.secret, answer["code"], answer["state"], token):
        assert secret not in kept
    assert begun.secret not in repr(begun)


def test_too_many_who_wait_are_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.idp.set(fault="discovery_silent")
    monkeypatch.setattr(openid, "READ_S", 1.0)
    narrow = Providers(room.signin, room.secrets.get, outward.Outward(1), OpenId(room.clock))
    said: list[str] = []

    def wait() -> None:
        with pytest.raises(UnavailableError) as caught:
            narrow.begin("sso", "/")
        said.append(caught.value.error_id)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(said) == ["outside_busy", "outside_busy", "provider_silent"]
