"""Second factors: authenticator apps, recovery codes, passkeys; who must have one, and who may change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from appliance.access.sessions import Stage
from appliance.access.signin import Outcome
from appliance.core.errors import CorruptError, InvalidError, NotFoundError, RefusedError
from appliance.store import access as table
from tests.hil.agents.authenticator import Authenticator
from tests.unit.access.ground import ABROAD, AGENT, DAY, HOME, HOUR, MINUTE, PASSWORD, SECOND, Ground


def half(ground: Ground, person: str = "ann") -> Outcome:
    """The password was right."""
    return ground.signin.password(person, PASSWORD, HOME, AGENT)


def refused(do: Callable[[], Any], error_id: str = "sign_in_failed") -> None:
    with pytest.raises(RefusedError) as caught:
        do()
    assert caught.value.error_id == error_id


def invalid(do: Callable[[], Any], error_id: str = "passkey_invalid") -> str:
    with pytest.raises(InvalidError) as caught:
        do()
    assert caught.value.error_id == error_id
    return caught.value.faults[0].message


# -- authenticator apps and recovery codes --------------------------------------------------------------------------------


def test_a_code_is_asked_for_once_there_is_an_app(ground: Ground) -> None:
    app, _ = ground.with_totp()
    first = half(ground)
    assert first.session.stage is Stage.PASSWORD
    refused(lambda: ground.signin.code(first.session, "000000", HOME))
    full = ground.signin.code(first.session, f" {ground.shown(app)[:3]} {ground.shown(app)[3:]}", HOME)
    assert full.session.stage is Stage.FULL
    assert full.session.id == first.session.id
    assert full.session.csrf != first.session.csrf
    assert ground.find(first) is None  # a token that somebody slipped in before is worth nothing now
    found = ground.find(full)
    assert found is not None
    assert found.stage is Stage.FULL
    assert ground.events("password_right", "signed_in")[-2:] == [("password_right", "ann"), ("signed_in", "ann")]


def test_each_step_once_and_one_step_around(ground: Ground) -> None:
    app, _ = ground.with_totp()
    for steps in (-3, -2, 2, 3):
        session = half(ground).session
        refused(lambda: ground.signin.code(session, ground.shown(app, steps), HOME))  # noqa: B023
    for steps in (0, 1):  # the one before was used when the app was added
        code = ground.shown(app, steps)
        assert ground.signin.code(half(ground).session, code, HOME).session.stage is Stage.FULL
        again = half(ground).session
        refused(lambda: ground.signin.code(again, code, HOME))  # noqa: B023
    last = half(ground).session
    refused(lambda: ground.signin.code(last, ground.shown(app, -1), HOME))


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_makes_no_used_code_good_and_no_new_one_bad(ground: Ground, jump: int) -> None:
    app, _ = ground.with_totp()
    used = ground.shown(app)
    ground.signin.code(half(ground).session, used, HOME)
    ground.clock.set_wall(jump)
    ground.signin.code(half(ground).session, ground.shown(app), HOME)
    ground.clock.set_wall(-jump)
    session = half(ground).session
    refused(lambda: ground.signin.code(session, used, HOME))
    assert ground.signin.code(session, ground.shown(app, 1), HOME).session.stage is Stage.FULL


def test_recovery_codes_are_good_once_each(ground: Ground) -> None:
    _, codes = ground.with_totp()
    assert len(set(codes)) == 10
    for number, code in enumerate(codes):
        typed = code if number % 2 else code.replace("-", " ").upper()
        outcome = ground.signin.code(half(ground).session, typed, HOME)
        assert outcome.recovery_codes == 9 - number
        session = half(ground).session
        refused(lambda: ground.signin.code(session, code, HOME))  # noqa: B023
    full = ground.signin.again(ground.signin.code(half(ground).session, new_codes(ground)[0]).session, PASSWORD)
    again = ground.factors.new_recovery_codes(full.session, HOME)
    assert ground.access.held("ann").recovery_codes == 10
    ground.clock.pass_(HOUR)
    refused(lambda: ground.factors.new_recovery_codes(full.session), "prove_again")
    assert ground.signin.code(full.session, again[0], HOME).recovery_codes == 9  # a fresh proof as well


def new_codes(ground: Ground) -> tuple[str, ...]:
    from appliance.access import recovery

    with ground.access.database.write() as connection:
        return recovery.make(connection, "ann")


def test_codes_of_another_person_are_no_good(ground: Ground) -> None:
    app, codes = ground.with_totp()
    ground.with_totp("bob")
    session = half(ground, "bob").session
    refused(lambda: ground.signin.code(session, ground.shown(app), HOME))
    refused(lambda: ground.signin.code(session, codes[0], HOME))
    with ground.access.database.write() as connection:  # nor is a seed moved from one row to another
        sealed = connection.execute(table.totp.select().where(table.totp.c.person == "ann")).one().sealed
        connection.execute(table.totp.update().where(table.totp.c.person == "bob").values(sealed=sealed))
    with pytest.raises(CorruptError, match="authenticator of bob"):
        ground.signin.code(session, ground.shown(app), HOME)


def test_guessing_codes_is_slowed_down_but_not_for_the_owner_at_home(ground: Ground) -> None:
    app, codes = ground.with_totp()
    stranger = ground.signin.password("ann", PASSWORD, ABROAD, AGENT).session
    for _ in range(5):
        refused(lambda: ground.signin.code(stranger, "000000", ABROAD))
    refused(lambda: ground.signin.code(stranger, codes[0], ABROAD))
    assert ground.access.held("ann").recovery_codes == 10  # not even looked at
    assert ground.signin.code(half(ground).session, ground.shown(app), HOME).session.stage is Stage.FULL


def test_a_lost_key_file_leaves_recovery_codes(ground: Ground) -> None:
    app, codes = ground.with_totp()
    (ground.state / "keys" / "secret.key").unlink()
    session = half(ground).session
    with pytest.raises(CorruptError, match="authenticator of ann") as caught:
        ground.signin.code(session, ground.shown(app), HOME)
    assert caught.value.error_id == "bad_key"
    assert "centralino access reset ann" in caught.value.hint
    (ground.state / "keys" / "secret.key").write_text("garbage")
    assert ground.signin.code(session, codes[0], HOME).session.stage is Stage.FULL


def test_half_a_session_lasts_ten_minutes(ground: Ground) -> None:
    app, _ = ground.with_totp()
    outcome = half(ground)
    ground.clock.pass_(9 * MINUTE)
    assert ground.find(outcome) is not None
    ground.clock.pass_(2 * MINUTE)
    assert ground.find(outcome) is None
    assert ground.shown(app)


def test_another_app_takes_the_first_one_s_place_only_with_its_code(ground: Ground) -> None:
    app, codes = ground.with_totp()
    session = ground.signin.code(half(ground).session, codes[0], HOME).session
    ground.factors.begin_totp(session)
    assert invalid(lambda: ground.factors.confirm_totp(session, ground.shown(app), HOME), "code_wrong")
    assert ground.signin.code(session, ground.shown(app), HOME).session.stage is Stage.FULL  # the old one goes on
    session = ground.signin.code(half(ground).session, codes[1], HOME).session
    other = type(app)(ground.factors.begin_totp(session).secret)
    ground.clock.pass_(2 * MINUTE)
    enrolled = ground.factors.confirm_totp(session, ground.shown(other), HOME)
    assert enrolled.recovery_codes == ()  # those there are stay
    ground.clock.pass_(MINUTE)
    last = half(ground).session
    refused(lambda: ground.signin.code(last, ground.shown(app), HOME))
    assert ground.signin.code(last, ground.shown(other), HOME).session.stage is Stage.FULL


# -- who must have one ----------------------------------------------------------------------------------------------------


def test_who_must_have_a_factor_may_only_add_one(ground: Ground) -> None:
    ground.must = True
    outcome = ground.enter()
    assert outcome.session.stage is Stage.ENROL
    refused(lambda: ground.signin.change_password(outcome.session, PASSWORD, "x"), "session_stage")
    refused(lambda: ground.signin.code(outcome.session, "000000"), "session_stage")
    refused(lambda: ground.factors.new_recovery_codes(outcome.session), "session_stage")
    refused(lambda: ground.access.tokens.of_session(outcome.session, "api", ["*:view"]), "session_stage")
    ground.clock.pass_(20 * MINUTE)  # finding the telephone takes a while
    import pyotp

    app = pyotp.TOTP(ground.factors.begin_totp(outcome.session).secret)
    enrolled = ground.factors.confirm_totp(outcome.session, ground.shown(app), HOME)
    assert enrolled.outcome.session.stage is Stage.FULL
    assert len(enrolled.recovery_codes) == 10
    assert ground.find(outcome) is None
    assert half(ground).session.stage is Stage.PASSWORD


def test_a_thief_of_the_password_can_not_add_a_factor_beside_the_owner_s(ground: Ground) -> None:
    """The thief signed in when there was no factor yet, and waits."""
    ground.must = True
    ground.enter()
    thief, owner = half(ground), half(ground)
    seed = ground.factors.begin_passkey(thief.session)
    device = Authenticator("https://pbx.example.com:8443")
    ceremony = ground.factors.begin_passkey(owner.session)
    ground.factors.add_passkey(owner.session, ceremony.token, Authenticator(device.origin).make(ceremony.options), "o")
    assert ground.find(thief) is None
    with pytest.raises(NotFoundError):
        ground.factors.add_passkey(thief.session, seed.token, device.make(seed.options), "t")
    assert [key.name for key in ground.access.held("ann").passkeys] == ["o"]


def test_factors_change_only_after_a_fresh_proof(ground: Ground) -> None:
    outcome = ground.enter()
    ground.clock.pass_(16 * MINUTE)
    session = ground.access.sessions.find(outcome.token)
    assert session is not None
    refused(lambda: ground.factors.begin_totp(session), "prove_again")
    refused(lambda: ground.signin.again(session, "granite-walnut-saddle", HOME))
    proved = ground.signin.again(session, PASSWORD, HOME)
    assert ground.factors.begin_totp(proved.session).secret
    ground.clock.set_wall(-HOUR)  # a proof from the future is none
    refused(lambda: ground.factors.begin_totp(proved.session), "prove_again")


def test_the_last_factor_takes_the_recovery_codes_with_it(ground: Ground) -> None:
    app, codes = ground.with_totp()
    session = ground.signin.code(half(ground).session, ground.shown(app), HOME).session
    ground.factors.remove_totp(session, HOME)
    assert ground.access.held("ann").recovery_codes == 0
    assert half(ground).session.stage is Stage.FULL
    with pytest.raises(NotFoundError):
        ground.factors.remove_totp(session, HOME)
    refused(lambda: ground.factors.new_recovery_codes(session), "no_factor")
    assert codes


# -- passkeys -------------------------------------------------------------------------------------------------------------


def sign_in(ground: Ground, device: Authenticator) -> Outcome:
    ceremony = ground.signin.passkey_options()
    return ground.signin.passkey(ceremony.token, device.sign(ceremony.options), HOME, AGENT)


def test_a_passkey_signs_in_without_a_name_or_a_password(ground: Ground) -> None:
    device = ground.with_passkey()
    options = json.loads(ground.signin.passkey_options().options)
    assert options["userVerification"] == "required"
    assert not options.get("allowCredentials")
    outcome = sign_in(ground, device)
    assert (outcome.session.person, outcome.session.stage) == ("ann", Stage.FULL)
    assert half(ground).session.stage is Stage.PASSWORD  # it is a second factor, too
    held = ground.access.held("ann")
    assert [(key.name, key.used) for key in held.passkeys] == [("desk key", ground.clock.wall)]
    assert held.recovery_codes == 10


def test_a_passkey_is_made_discoverable_with_the_user_verified_and_tells_nobody_who_it_is(ground: Ground) -> None:
    ceremony = ground.factors.begin_passkey(ground.enter().session)
    options = json.loads(ceremony.options)
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["rp"]["id"] == "pbx.example.com"
    assert "ann" not in options["user"]["id"]
    assert len(options["user"]["id"]) == 43


def test_a_passkey_as_second_factor_raises_the_session(ground: Ground) -> None:
    device = ground.with_passkey()
    ground.with_passkey("bob")
    first = half(ground)
    ceremony = ground.signin.passkey_options()
    full = ground.signin.passkey(ceremony.token, device.sign(ceremony.options), HOME, AGENT, first.session)
    assert full.session.id == first.session.id
    assert ground.find(first) is None
    other = half(ground, "bob")
    ceremony = ground.signin.passkey_options()
    refused(lambda: ground.signin.passkey(ceremony.token, device.sign(ceremony.options), HOME, AGENT, other.session))


def test_a_challenge_is_good_once_and_for_five_minutes(ground: Ground) -> None:
    device = ground.with_passkey()
    ceremony = ground.signin.passkey_options()
    answer = device.sign(ceremony.options)
    assert ground.signin.passkey(ceremony.token, answer, HOME, AGENT).session.person == "ann"
    refused(lambda: ground.signin.passkey(ceremony.token, answer, HOME, AGENT))
    refused(lambda: ground.signin.passkey(ceremony.token, device.sign(ceremony.options), HOME, AGENT))
    late = ground.signin.passkey_options()
    ground.clock.pass_(5 * MINUTE + SECOND)
    refused(lambda: ground.signin.passkey(late.token, device.sign(late.options), HOME, AGENT))
    spent = ground.signin.passkey_options()
    refused(lambda: ground.signin.passkey(spent.token, "{}", HOME, AGENT))
    refused(
        lambda: ground.signin.passkey(spent.token, device.sign(spent.options), HOME, AGENT)
    )  # bad answers use it up
    one, other = ground.signin.passkey_options(), ground.signin.passkey_options()
    refused(lambda: ground.signin.passkey(one.token, device.sign(other.options), HOME, AGENT))


def test_a_challenge_for_one_thing_is_no_good_for_another(ground: Ground) -> None:
    session, other = ground.enter().session, ground.enter("bob").session
    device = Authenticator("https://pbx.example.com:8443")
    mine = ground.factors.begin_passkey(session)
    invalid(lambda: ground.factors.add_passkey(other, mine.token, device.make(mine.options), "x"))
    mine = ground.factors.begin_passkey(session)
    refused(lambda: ground.signin.passkey(mine.token, device.make(mine.options), HOME))


@pytest.mark.parametrize("wrong", ["origin", "user", "counter", "signature", "handle", "unknown", "garbage"])
def test_a_passkey_that_is_not_right_is_refused(ground: Ground, wrong: str) -> None:
    device = ground.with_passkey()
    sign_in(ground, device)
    ceremony = ground.signin.passkey_options()
    match wrong:
        case "origin":
            device.origin = "https://pbx.example.net:8443"
        case "user":
            device.verified = False
        case "counter":  # a copy of the device: its counter lags behind
            device.pace = 0
        case "signature":
            device.key = Authenticator(device.origin).key
        case "handle":
            device.user = b"x" * 32
        case "unknown":
            device.id = b"y" * 32
    answer = '{"id": 1, "response": []}' if wrong == "garbage" else device.sign(ceremony.options)
    refused(lambda: ground.signin.passkey(ceremony.token, answer, HOME, AGENT))
    entry = ground.access.audit.entries(limit=1)[0]
    assert (entry.event, entry.detail["step"]) == ("failed", "passkey")


@pytest.mark.parametrize("wrong", ["origin", "user", "known", "garbage"])
def test_a_passkey_that_is_not_right_is_not_added(ground: Ground, wrong: str) -> None:
    device = ground.with_passkey()
    if wrong == "origin":
        device.origin = "https://pbx.example.net:8443"
    device.verified = wrong != "user"
    session = ground.enter("bob").session
    ceremony = ground.factors.begin_passkey(session)
    answer = "[]" if wrong == "garbage" else device.make(ceremony.options)
    invalid(lambda: ground.factors.add_passkey(session, ceremony.token, answer, "x"))
    assert not ground.access.held("bob").factor


def test_passkeys_are_told_apart_and_removed(ground: Ground) -> None:
    device = ground.with_passkey()
    session = sign_in(ground, device).session
    ceremony = ground.factors.begin_passkey(session)
    assert json.loads(ceremony.options)["excludeCredentials"][0]["id"] == json.loads(device.sign(ground.signin.passkey_options().options))["id"]  # fmt: skip
    other = Authenticator(device.origin)
    ground.clock.pass_(SECOND)
    added = ground.factors.add_passkey(session, ceremony.token, other.make(ceremony.options), "telephone", HOME)
    assert added.recovery_codes == ()
    session = added.outcome.session
    first, second = ground.access.held("ann").passkeys
    assert (first.name, second.name) == ("desk key", "telephone")
    ground.factors.remove_passkey(session, first.id, HOME)
    ceremony = ground.signin.passkey_options()
    refused(lambda: ground.signin.passkey(ceremony.token, device.sign(ceremony.options), HOME, AGENT))
    bob = ground.enter("bob").session
    with pytest.raises(NotFoundError):
        ground.factors.remove_passkey(bob, second.id, HOME)  # somebody else's
    assert sign_in(ground, other).session.person == "ann"
    ground.factors.remove_passkey(session, second.id, HOME)
    held = ground.access.held("ann")
    assert (held.factor, held.recovery_codes) == (False, 0)
