"""Signing in: passwords, links, throttling, one answer to whatever is wrong, and nothing secret kept in clear."""

from __future__ import annotations

import logging
import statistics
import time
from pathlib import Path

import pytest

from appliance.access import passwords, signin
from appliance.access.apikeys import ApiKey
from appliance.access.sessions import Stage
from appliance.access.signin import Outcome
from appliance.core.errors import CentralinoError, InvalidError, NotFoundError, RefusedError
from appliance.store import access as table
from tests.unit.access.ground import (
    ABROAD,
    AGENT,
    DAY,
    HOME,
    HOUR,
    MINUTE,
    OTHER,
    PASSWORD,
    SECOND,
    Ground,
    open_ground,
)

WRONG = "granite-walnut-saddle"


def refused(ground: Ground, name: str = "ann", password: str = WRONG, address: str = ABROAD) -> None:
    with pytest.raises(RefusedError) as caught:
        ground.signin.password(name, password, address, AGENT)
    assert caught.value.error_id == "sign_in_failed"


def enters(ground: Ground, name: str = "ann", password: str = PASSWORD, address: str = HOME) -> Outcome:
    return ground.signin.password(name, password, address, AGENT)


@pytest.mark.parametrize("name", ["ann", "ANN", " a.Example@EXAMPLE.com "])
def test_id_and_email_are_login_names(ground: Ground, name: str) -> None:
    ground.enter()
    outcome = enters(ground, name)
    assert (outcome.session.person, outcome.session.stage) == ("ann", Stage.FULL)
    found = ground.find(outcome)
    assert found is not None
    assert (found.id, found.address, found.agent) == (outcome.session.id, HOME, AGENT)
    assert len(found.csrf) == 64
    assert found.csrf == outcome.session.csrf


def test_an_email_of_two_people_is_nobodys(ground: Ground) -> None:
    ground.enter()
    bob = ground.document.objects["person"]["bob"]
    ground.document = ground.document.with_changes([bob.model_copy(update={"email": "a.example@example.com"})])
    refused(ground, "a.example@example.com", PASSWORD, HOME)
    assert enters(ground).session.person == "ann"


def test_whatever_is_wrong_the_answer_is_one(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same error, no sooner than FAILURE_S, and as much computing for an unknown account as for a known one."""
    said, waited, computed = [], {}, {}
    with open_ground(url, tmp_path) as ground:
        ground.enter()
        cases = {"unknown": "nobody", "wrong": "ann", "without a password": "bob", "throttled": "ann"}
        for case, name in cases.items():
            if case == "throttled":
                with monkeypatch.context() as patch:
                    patch.setattr(signin, "FAILURE_S", 0.0)
                    for _ in range(8):
                        refused(ground)
            times = []
            for _ in range(3):
                begun, cpu = time.monotonic(), time.process_time()
                with pytest.raises(RefusedError) as caught:
                    ground.signin.password(name, WRONG, ABROAD, AGENT)
                times.append(time.process_time() - cpu)
                waited.setdefault(case, []).append(time.monotonic() - begun)
                said.append((caught.value.error_id, caught.value.message, caught.value.hint))
            computed[case] = statistics.median(times)
    assert len(set(said)) == 1
    assert min(min(times) for times in waited.values()) >= signin.FAILURE_S
    assert computed["unknown"] > computed["wrong"] / 2  # a hash each; without one it is a twentieth
    assert computed["without a password"] > computed["wrong"] / 2
    assert computed["throttled"] < computed["wrong"] / 2  # throttling saves the work


def test_a_link_is_good_once_for_a_day_and_the_newest_only(ground: Ground) -> None:
    def no_good(token: str) -> None:
        with pytest.raises(RefusedError) as caught:
            ground.signin.link(token, OTHER, HOME, AGENT)
        assert caught.value.error_id == "link_invalid"

    first = ground.access.links.make("ann")
    second = ground.access.links.make("ann")
    no_good(first)
    with pytest.raises(InvalidError) as caught:
        ground.signin.link(second, "ann.example.password", HOME, AGENT)
    assert [fault.error_id for fault in caught.value.faults] == ["password_personal"]
    assert ground.signin.link(second, PASSWORD, HOME, AGENT).session.person == "ann"  # it was still good
    no_good(second)
    old = ground.access.links.make("ann")
    ground.clock.pass_(DAY + SECOND)
    no_good(old)
    ground.clock.pass_(-MINUTE)
    future = ground.access.links.make("ann")
    ground.clock.set_wall(-HOUR)
    no_good(future)  # it would be good for 25 hours
    no_good("")
    no_good("x" * 10_000)
    gone = ground.access.links.make("bob")
    ground.remove("bob")
    no_good(gone)
    with pytest.raises(InvalidError, match="link/hours"):
        ground.access.links.make("ann", hours=0)


def test_a_new_password_ends_all_other_sessions(ground: Ground) -> None:
    first = ground.enter()
    second, third = enters(ground), enters(ground)
    with pytest.raises(InvalidError) as invalid:
        ground.signin.change_password(third.session, PASSWORD, "Password2026!", HOME)
    assert [fault.error_id for fault in invalid.value.faults] == ["password_common"]
    with pytest.raises(RefusedError):
        ground.signin.change_password(third.session, WRONG, OTHER, HOME)
    assert ground.find(second) is not None
    changed = ground.signin.change_password(third.session, PASSWORD, OTHER, HOME)
    assert [ground.find(each) for each in (first, second, third)] == [None, None, None]  # the third's token is renewed
    found = ground.find(changed)
    assert found is not None
    assert found.id == third.session.id
    refused(ground, "ann", PASSWORD, HOME)
    assert enters(ground, "ann", OTHER).session.stage is Stage.FULL
    ground.enter(password=PASSWORD)  # by a link as well
    assert ground.find(changed) is None


def test_a_password_hashed_with_lower_parameters_is_hashed_anew(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "HASHER", passwords.PasswordHasher(time_cost=1, memory_cost=512, parallelism=1))
        ground.enter()
    assert "m=512" in ground.everything()
    enters(ground)
    assert "m=512" not in ground.everything()
    assert "m=1024" in ground.everything()  # as high as in these tests
    enters(ground)


def test_a_garbled_hash_lets_nobody_in_and_is_told_in_the_log(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.enter()
    with ground.access.database.write() as connection:
        connection.execute(table.credential.update().values(password="$argon2id$garbage"))
    with caplog.at_level(logging.ERROR):
        refused(ground, "ann", PASSWORD, HOME)
    assert "centralino access link" in caplog.text
    assert PASSWORD not in caplog.text


def test_strangers_are_slowed_down_and_the_owner_is_not(ground: Ground) -> None:
    ground.enter()  # from HOME
    for _ in range(5):
        refused(ground)
    refused(ground, "ann", PASSWORD)  # right, but too early
    assert ground.events("throttled") == [("throttled", "ann")]
    assert enters(ground).session.person == "ann"  # at home nobody notices
    refused(ground, "ann", PASSWORD)  # and that doesn't open the door abroad
    ground.clock.pass_(SECOND)
    assert enters(ground, address=ABROAD).session.person == "ann"
    for number in range(12):
        refused(ground, address=f"203.0.113.{number}")  # many addresses, one account
    refused(ground, "ann", PASSWORD, "203.0.113.99")
    assert enters(ground, address=ABROAD).session.person == "ann"  # the owner was there by now


def test_waiting_doubles_to_a_quarter_of_an_hour_and_is_forgotten(ground: Ground) -> None:
    ground.enter()

    def looked_at() -> bool:
        before = len(ground.events("failed"))
        refused(ground)
        return len(ground.events("failed")) > before

    assert [looked_at() for _ in range(6)] == [True] * 5 + [False]
    for seconds in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900):
        ground.clock.pass_(seconds * SECOND // 2 - 10)  # a little is forgotten meanwhile
        assert not looked_at(), seconds
        ground.clock.pass_(seconds * SECOND // 2 + 10)
        assert looked_at(), seconds
        assert not looked_at()
    ground.clock.pass_(DAY)
    assert enters(ground, address=ABROAD).session.person == "ann"


def test_at_home_the_wait_is_a_minute_at_most(ground: Ground) -> None:
    ground.enter()
    for _ in range(40):
        refused(ground, address=HOME)
        ground.clock.pass_(2 * SECOND)
    refused(ground, "ann", PASSWORD, HOME)
    ground.clock.pass_(MINUTE)
    assert enters(ground).session.person == "ann"


def test_one_address_that_tries_many_accounts_is_slowed_down(ground: Ground) -> None:
    ground.enter()
    ground.enter("bob", "203.0.113.1")
    for number in range(30):
        refused(ground, f"user{number}", address=f"2001:db8:0:1::{number:x}")  # one customer has a /64
    before = len(ground.events("failed"))
    refused(ground, "bob", PASSWORD, "2001:db8:0:1::ffff")
    assert len(ground.events("failed")) == before
    assert enters(ground, "bob", address="2001:db8:0:2::1").session.person == "bob"


@pytest.mark.parametrize("by", [-30 * DAY, 30 * DAY])
def test_setting_the_clock_neither_opens_nor_shuts(ground: Ground, by: int) -> None:
    ground.enter()
    for _ in range(12):
        refused(ground)
        ground.clock.pass_(150 * SECOND)
    refused(ground)
    ground.clock.set_wall(by)
    before = len(ground.events("failed"))
    refused(ground, "ann", PASSWORD)
    assert len(ground.events("failed")) == before  # still waiting
    ground.clock.pass_(15 * MINUTE)
    assert enters(ground, address=ABROAD).session.person == "ann"  # but no longer than it was to be


@pytest.mark.parametrize("off", [0, -30 * DAY, 30 * DAY])
def test_a_restart_neither_opens_nor_shuts(ground: Ground, off: int) -> None:
    """Whatever the clock shows afterwards: a wait goes on, and ends."""
    ground.enter()
    for _ in range(15):
        refused(ground)
        ground.clock.pass_(15 * MINUTE)
    refused(ground)
    ground.clock.restart(off=off)
    before = len(ground.events("failed"))
    refused(ground, "ann", PASSWORD)
    assert len(ground.events("failed")) == before
    ground.clock.pass_(15 * MINUTE)
    assert enters(ground, address=ABROAD).session.person == "ann"


def test_throttled_attempts_do_not_fill_the_audit(ground: Ground) -> None:
    ground.enter()
    for _ in range(60):
        refused(ground)
    for _ in range(60):
        with pytest.raises(RefusedError):
            ground.signin.passkey("x", "{}", ABROAD)
    assert len(ground.access.audit.entries(limit=1000)) < 50


def test_somebody_removed_from_the_document_is_out(ground: Ground) -> None:
    outcome = ground.enter()
    ground.enter("bob")
    _, key = ground.access.keys.make("ann", "script", ["*:view"])
    assert ground.signin.session_of(outcome.token, HOME) is not None
    ground.remove("ann")
    assert ground.signin.session_of(outcome.token, HOME) is None
    assert ground.find(outcome) is None
    refused(ground, "ann", PASSWORD, HOME)
    assert ground.access.unknown({"bob"}) == ["ann"]
    assert ground.access.forget_unknown(set()) == []  # no document has nobody in it
    assert ground.access.held("bob").password
    assert ground.access.forget_unknown({"bob"}) == ["ann"]
    assert ground.access.forget_unknown({"bob"}) == []
    assert not ground.access.held("ann").password
    assert ground.access.held("bob").password
    assert ground.access.keys.find(key) is None


def test_reset_forgets_and_ends(ground: Ground) -> None:
    _, codes = ground.with_totp()
    ground.access.keys.make("ann", "script", ["*:view"])
    outcome = enters(ground)
    assert outcome.session.stage is Stage.PASSWORD
    assert ground.access.reset("ann", author="tester") == 1
    held = ground.access.held("ann")
    assert (held.password, held.factor, held.recovery_codes) == (False, False, 0)
    with pytest.raises(RefusedError):
        ground.signin.code(outcome.session, codes[0], HOME)
    assert ground.find(outcome) is None
    refused(ground, "ann", PASSWORD, HOME)
    assert ground.enter().session.stage is Stage.FULL


def test_nothing_that_opens_a_door_is_kept_in_clear(ground: Ground) -> None:
    app, codes = ground.with_totp()
    link = ground.access.links.make("bob")
    outcome = enters(ground)
    full = ground.signin.code(outcome.session, codes[0], HOME)
    _, key = ground.access.keys.make("ann", "script", ["*:view"])
    refused(ground, "my-secret-typed-as-name", WRONG)
    kept = ground.everything()
    for secret in (PASSWORD, WRONG, app.secret, link, outcome.token, full.token, full.session.csrf, key.split("_", 2)[2],
                   "my-secret-typed-as-name", *codes, *(code.replace("-", "") for code in codes)):  # fmt: skip
        assert secret not in kept
    assert "sealed:v1:" in kept
    assert PASSWORD not in repr(outcome)
    assert full.token not in repr(full) + repr(full.session)
    assert full.session.csrf not in repr(full.session)


def test_what_strangers_send_is_kept_as_one_harmless_line(ground: Ground) -> None:
    ground.enter()
    hostile = "a\r\nSet-Cookie: x\x00\u202e<script>" + "y" * 5000
    outcome = ground.signin.password("ann", PASSWORD, "192.0.2.1", hostile)
    assert outcome.session.agent.startswith("a Set-Cookie: x <script>yyy")
    assert len(outcome.session.agent) == 200
    for name in ("ann\x00", "\ud800", "a" * 100_000, "'; DROP TABLE session; --"):
        refused(ground, name, "\ud800\x00" + "b" * 100_000, "no address\n")
    assert all("\n" not in entry.address for entry in ground.access.audit.entries())


def test_a_session_of_another_stage_changes_nothing(ground: Ground) -> None:
    _, codes = ground.with_totp()
    half = enters(ground).session
    for attempt in (
        lambda: ground.signin.change_password(half, PASSWORD, OTHER),
        lambda: ground.signin.again(half, PASSWORD),
        lambda: ground.factors.begin_totp(half),
        lambda: ground.factors.begin_passkey(half),
        lambda: ground.factors.remove_totp(half),
        lambda: ground.factors.new_recovery_codes(half),
        lambda: ground.access.tokens.of_session(half, "api", ["*:view"]),
    ):
        with pytest.raises(RefusedError) as caught:
            attempt()
        assert caught.value.error_id == "session_stage"
    assert ground.signin.code(half, codes[0]).session.stage is Stage.FULL


def test_keys_are_made_found_and_revoked(ground: Ground) -> None:
    keys = ground.access.keys
    made, text = keys.make("ann", "Wallboard\n", ["extension:view", "trunk.status:view", "extension:view"], days=30)
    assert text.startswith(f"ck_{made.id}_")
    assert (made.name, made.scopes) == ("Wallboard", ("extension:view", "trunk.status:view"))
    found = keys.find(text)
    assert isinstance(found, ApiKey)
    assert found == made
    assert keys.get(made.id).used == ground.clock.wall
    for wrong in ("", "ck_", text[:-1], text + "x", text.replace(made.id, "a" * 12), text[:-4] + "AAAA", "ck_\u00e9"):
        assert keys.find(wrong) is None
    ground.clock.pass_(30 * DAY)
    assert keys.find(text) is None  # expired
    other, again = keys.make("ann", "x", ["*:edit"])
    keys.revoke(other.id, author="tester")
    keys.revoke(other.id, author="tester")
    assert keys.find(again) is None
    assert ground.events("key_made", "key_revoked") == [("key_made", "ann")] * 2 + [("key_revoked", "ann")]
    with pytest.raises(InvalidError) as caught:
        keys.make("ann", " ", ["extension", "*:delete"], days=0)
    assert [fault.path for fault in caught.value.faults] == ["key/name", "key/scopes[0]", "key/scopes[1]", "key/days"]
    with pytest.raises(NotFoundError):
        keys.revoke("nothing")
    with ground.access.database.write() as connection:
        connection.execute(table.api_key.update().values(scopes="garbage"))
    with pytest.raises(CentralinoError, match="can't be read back"):
        keys.listed()
    keys.revoke(made.id)  # it can be revoked all the same


def test_the_judge_of_bans_is_told_who_failed_and_who_came_in(ground: Ground) -> None:
    """Of a name that nobody has only a number: people type passwords into the wrong field."""
    app, _ = ground.with_totp()
    ground.reports.clear()
    refused(ground)
    for _ in range(2):
        refused(ground, WRONG, "ann")
    first = enters(ground)
    with pytest.raises(RefusedError):
        ground.signin.code(first.session, "000000", HOME)
    ground.signin.tell_failure(ABROAD, "passkey", "another person's")
    assert ground.reports[0] == ("portal", ABROAD, "failed", "ann", "wrong password")
    assert ground.reports[1] == ground.reports[2]
    assert ground.reports[1][3].startswith("unknown ")
    assert [each[1:4] for each in ground.reports[3:]] == [(HOME, "failed", "ann"), (ABROAD, "failed", "passkey")]
    assert not any(WRONG in said for each in ground.reports for said in each)
    ground.reports.clear()
    ground.signin.code(first.session, ground.shown(app), HOME)
    assert ground.reports == [("portal", HOME, "succeeded", "ann")]


def test_attempts_that_are_not_looked_at_are_told_too(ground: Ground) -> None:
    for _ in range(8):
        refused(ground)
    assert [each[:4] for each in ground.reports] == [("portal", ABROAD, "failed", "ann")] * 8
    assert ground.reports[-1][4] == "too many attempts"
