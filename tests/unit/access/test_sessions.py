"""Sessions and what is made from them and from keys: tokens."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from appliance.access.signing import SigningKeys
from appliance.access.tokens import LASTS, Claims
from appliance.core.errors import CorruptError, InvalidError, NotFoundError, RefusedError
from appliance.store import access as table
from tests.unit.access.ground import ABROAD, AGENT, DAY, HOME, HOUR, MINUTE, PASSWORD, SECOND, Ground


def test_a_session_ends_after_twelve_idle_hours_and_seven_days(ground: Ground) -> None:
    outcome = ground.enter()
    ground.clock.pass_(11 * HOUR)
    assert ground.find(outcome) is not None
    ground.clock.pass_(13 * HOUR)
    assert ground.find(outcome) is None
    used = ground.signin.password("ann", PASSWORD, HOME, AGENT)
    for _ in range(7 * 24 // 8):
        assert ground.find(used) is not None
        ground.clock.pass_(8 * HOUR)
    ground.clock.pass_(SECOND)
    assert ground.find(used) is None


def test_a_session_from_the_future_is_over(ground: Ground) -> None:
    outcome = ground.enter()
    ground.clock.set_wall(-4 * MINUTE)
    assert ground.find(outcome) is not None
    ground.clock.set_wall(-2 * MINUTE)
    assert ground.find(outcome) is None
    assert ground.signin.password("ann", PASSWORD, HOME).session.person == "ann"  # nobody is locked out


def test_use_is_written_once_a_minute(ground: Ground) -> None:
    outcome = ground.enter()
    written = []
    for _ in range(10):
        ground.clock.pass_(20 * SECOND)
        assert ground.access.sessions.find(outcome.token, ABROAD) is not None
        session = ground.access.sessions.listed("ann")[0]
        written.append((session.seen, session.address))
    assert len(set(written)) == 3
    assert written[-1][1] == ABROAD


def test_sessions_are_listed_and_ended(ground: Ground) -> None:
    first, second, third = (
        ground.enter(),
        *(ground.signin.password("ann", PASSWORD, HOME, f"browser {n}") for n in (1, 2)),
    )
    other = ground.enter("bob")
    sessions = ground.access.sessions
    assert {each.agent for each in sessions.listed("ann")} == {AGENT, "browser 1", "browser 2"}
    assert len(sessions.listed()) == 4
    assert sessions.end(first.session.id, author="ann", address=HOME) == "ann"
    with pytest.raises(NotFoundError):
        sessions.end(first.session.id)
    assert ground.find(first) is None
    assert sessions.end_all("ann", but=third.session.id) == 1
    assert ground.find(second) is None
    assert ground.find(third) is not None
    assert sessions.end_unknown({"ann"}) == 1
    assert ground.find(other) is None
    assert ground.events("session_ended") == [("session_ended", "ann")] * 2 + [("session_ended", "bob")]
    for wrong in ("", "x", "\ud800", "\x00", "a" * 100_000, third.session.id):
        assert sessions.find(wrong) is None


def test_a_session_of_garbage_is_none(ground: Ground) -> None:
    outcome = ground.enter()
    with ground.access.database.write() as connection:
        connection.execute(table.session.update().values(stage="god"))
    assert ground.find(outcome) is None
    assert ground.access.sessions.listed() == []
    ground.access.sessions.end(outcome.session.id)


# -- tokens ---------------------------------------------------------------------------------------------------------------


def not_good(ground: Ground, token: str, audience: str = "api") -> None:
    with pytest.raises(RefusedError) as caught:
        ground.access.tokens.verify(token, audience)
    assert caught.value.error_id == "token_invalid"


def test_a_token_says_who_and_what_for_a_quarter_of_an_hour(ground: Ground) -> None:
    key, _ = ground.access.keys.make("ann", "script", ["extension:view", "trunk:view"])
    tokens = ground.access.tokens
    token = tokens.of_key(key, "api", ["trunk:view"])
    expires = ground.clock.wall // 1000 * 1000 + LASTS
    assert tokens.verify(token, "api") == Claims("ann", ("trunk:view",), "api", expires, key.id, None)
    assert tokens.verify(tokens.of_key(key, "api"), "api").scopes == ("extension:view", "trunk:view")
    with pytest.raises(InvalidError, match="no scope"):
        tokens.of_key(key, "api", ["trunk:view", "*:edit"])
    not_good(ground, token, "hub")
    ground.clock.pass_(15 * MINUTE + SECOND)
    not_good(ground, token)
    token = tokens.of_key(key, "api")
    ground.clock.set_wall(-HOUR)
    not_good(ground, token)  # from the future


def test_a_token_ends_with_its_key_or_session(ground: Ground) -> None:
    outcome = ground.enter()
    key, _ = ground.access.keys.make("ann", "script", ["*:view"], days=1)
    tokens = ground.access.tokens
    by_key, by_session = tokens.of_key(key, "api"), tokens.of_session(outcome.session, "hub", ["extension:view"])
    assert tokens.verify(by_session, "hub").session == outcome.session.id
    ground.access.sessions.end(outcome.session.id)
    not_good(ground, by_session, "hub")
    ground.access.keys.revoke(key.id)
    not_good(ground, by_key)
    short, _ = ground.access.keys.make("ann", "script", ["*:view"], days=1)
    ground.clock.pass_(DAY - MINUTE)
    token = tokens.of_key(short, "api")
    ground.clock.pass_(MINUTE)
    not_good(ground, token)


def test_a_forged_token_is_no_good(ground: Ground) -> None:
    key, _ = ground.access.keys.make("ann", "script", ["*:view"])
    good = ground.access.tokens.of_key(key, "api")
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    kid = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def signed(**changed: object) -> str:
        """As if somebody had our key."""
        real = ground.access.signing.newest()
        return jwt.encode(
            {"alg": "Ed25519", "typ": "at+jwt", "kid": real.kid}, {**claims, **changed}, real, algorithms=["Ed25519"]
        )

    public = json.dumps(ground.access.signing.newest().as_dict(private=False)).encode()
    stranger = OKPKey.generate_key("Ed25519", {"kid": kid})
    wrong = [
        f"{part({'alg': 'none', 'kid': kid, 'typ': 'at+jwt'})}.{body}.",
        f"{head}.{part({**claims, 'sub': 'bob'})}.{signature}",
        jwt.encode({"alg": "HS256", "kid": kid, "typ": "at+jwt"}, claims, OctKey.import_key(public), algorithms=["HS256"]),
        jwt.encode({"alg": "Ed25519", "kid": kid, "typ": "at+jwt"}, claims, stranger, algorithms=["Ed25519"]),
        signed(sub="bob"),
        signed(iss="somebody"),
        signed(exp=claims["exp"] + 3600),
        signed(src="key:nothing"),
        signed(src="session:" + key.id),
        signed(aud="hub"),
        "", "a.b.c", "\u00e9.\u00e9.\u00e9", "x" * 100_000, good + "x",
    ]  # fmt: skip
    for token in wrong:
        not_good(ground, token)
    assert ground.access.tokens.verify(signed(), "api").person == "ann"


def test_the_signing_key_is_rotated_without_loss(ground: Ground) -> None:
    key, _ = ground.access.keys.make("ann", "script", ["*:view"])
    tokens = ground.access.tokens
    path = ground.access.signing.path
    first = tokens.of_key(key, "api")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    SigningKeys(path).rotate()  # another process
    second = tokens.of_key(key, "api")
    assert head_of(first)["kid"] != head_of(second)["kid"]
    for token in (first, second):
        assert tokens.verify(token, "api").person == "ann"
    ground.access.signing.rotate()
    assert tokens.verify(first, "api").person == "ann"
    ground.access.signing.rotate()
    not_good(ground, first)
    assert tokens.verify(second, "api").person == "ann"


def head_of(token: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))
    return found


def test_a_signing_key_that_others_can_read_or_that_is_garbage_is_told(ground: Ground) -> None:
    key, _ = ground.access.keys.make("ann", "script", ["*:view"])
    tokens, path = ground.access.tokens, ground.access.signing.path
    token = tokens.of_key(key, "api")
    path.chmod(0o640)
    with pytest.raises(CorruptError) as caught:
        tokens.verify(token, "api")
    assert caught.value.error_id == "key_exposed"
    path.chmod(0o600)
    assert tokens.verify(token, "api").person == "ann"
    for garbage in ("", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}', "\x00" * 100):
        path.write_text(garbage)
        with pytest.raises(CorruptError) as caught:
            tokens.of_key(key, "api")
        assert caught.value.error_id == "bad_key"
    path.unlink()
    not_good(ground, token)
    assert tokens.verify(tokens.of_key(key, "api"), "api").person == "ann"
