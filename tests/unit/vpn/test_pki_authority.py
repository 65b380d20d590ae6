"""Who gets which certificate, and what is taken back."""

from __future__ import annotations

import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.errors import CentralinoError, CorruptError, InvalidError, NotFoundError, RefusedError
from appliance.vpn.pki import Reason, Role, tls_crypt
from appliance.vpn.pki.lifetimes import YEAR
from appliance.vpn.pki.tending import concerning
from tests.unit.vpn.ground import DAY, START, Ground, csr


def refused(kind: type[CentralinoError], error_id: str) -> pytest.RaisesExc[CentralinoError]:
    return pytest.raises(kind, check=lambda error: error.error_id == error_id and bool(error.hint))


def test_nothing_goes_before_there_is_an_authority(tmp_path: Path) -> None:
    ground = Ground(tmp_path, made=False)
    assert not ground.authority.exists
    for action in (
        lambda: ground.authority.enrol("milan", csr()),
        ground.authority.issued,
        ground.authority.upkeep,
        ground.authority.faults,
        ground.authority.trust_clock,
        lambda: ground.authority.root.export("x" * 20),
    ):
        with refused(NotFoundError, "no_authority"):
            action()
    ground.authority.create()
    with refused(RefusedError, "exists"):
        ground.authority.create()


def test_keys_are_their_owners_alone(ground: Ground) -> None:
    ground.authority.enrol("milan", csr())
    assert stat.S_IMODE(ground.paths.ca.stat().st_mode) == 0o700
    public = {"crl.pem", "root.crt", "admit.sh"}
    for path in ground.paths.top.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_file() and path.name not in public and path.parent != ground.paths.admitted:
            assert mode == 0o600, path
        assert not mode & 0o022, path
    key = ground.paths.ca / "intermediate" / "1.pem"
    key.chmod(0o640)
    with refused(CorruptError, "key_exposed"):
        ground.authority.enrol("rome", csr())


def test_openvpns_user_gets_at_its_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        ground = Ground(tmp_path)
    finally:
        os.umask(before)
    for directory in (ground.paths.top, ground.paths.openvpn, ground.paths.admitted):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o711
    for path in (ground.paths.crl, ground.paths.admit, ground.paths.root_certificate):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_branch_is_enrolled(ground: Ground) -> None:
    granted = ground.authority.enrol("milan", csr())
    assert [each.name for each in ground.authority.living("milan")] == [granted.issued.name]
    assert ground.authority.find(granted.issued.name) == granted.issued
    assert ground.authority.find("milan.00000000") is None
    assert tls_crypt.metadata_of(ground.paths.tls_crypt.read_bytes(), granted.tls_crypt_key) == "milan.1"
    assert ground.admitted() == {"milan.1"}
    assert granted.ended == ()
    assert "PRIVATE" not in repr(granted)
    assert "tls" not in repr(granted)


def test_a_relays_key_follows_from_what_the_branch_is_given_and_dies_with_its_certificate(ground: Ground) -> None:
    first = ground.authority.enrol("milan", csr())
    other = ground.authority.enrol("rome", csr())
    keys = {tls_crypt.relay_key(each.tls_crypt_key): each.issued.site for each in (first, other)}
    assert ground.again().relay_keys() == keys
    assert {len(key) for key in keys} == {32}
    places = [ground.paths.ca / "relay", *(ground.paths.ca / "relay").iterdir()]
    assert [stat.S_IMODE(each.stat().st_mode) for each in places] == [0o700, 0o600, 0o600]
    ground.authority.revoke(first.issued.serial)
    assert set(ground.authority.relay_keys().values()) == {"rome"}
    second = ground.authority.enrol("milan", csr())
    assert tls_crypt.relay_key(second.tls_crypt_key) in ground.authority.relay_keys()
    assert not ground.authority.relay_keys().keys() & {tls_crypt.relay_key(first.tls_crypt_key)}
    (ground.paths.ca / "relay" / second.issued.serial).chmod(0o644)  # others may have read it
    (ground.paths.ca / "relay" / other.issued.serial).write_bytes(b"short")
    assert ground.authority.relay_keys() == {}
    with pytest.raises(ValueError):
        tls_crypt.relay_key(b"-----BEGIN CERTIFICATE-----")


def test_a_lost_answer_is_given_again(ground: Ground) -> None:
    request = csr()
    first, second = (ground.again().enrol("milan", request) for _ in range(2))
    assert first.issued == second.issued
    assert len(ground.authority.issued("milan")) == 1


def test_an_enrolment_that_is_told_again_late_takes_no_renewal_away(ground: Ground) -> None:
    request = csr()
    old = ground.authority.enrol("milan", request).issued
    ground.clock.now = old.due
    new = ground.authority.renew(old.serial, csr()).issued
    assert ground.authority.enrol("milan", request).ended == ()
    assert ground.authority.living("milan") == [old, new]


def test_a_cold_spare_takes_the_place_of_the_edge(ground: Ground) -> None:
    old = ground.authority.enrol("milan", csr())
    request = csr()
    new = ground.authority.enrol("milan", request)
    assert new.ended == (old.issued,)
    assert ground.authority.enrol("milan", request).ended == (old.issued,), "told again: it may not have been ended"
    revoked = ground.authority.revoked()[old.issued.serial]
    assert (revoked.reason, revoked.replaced_by, revoked.when) == (Reason.SUPERSEDED, new.issued.serial, START)
    assert ground.listed() == {old.issued.serial}
    assert ground.admitted() == {"milan.2"}
    assert ground.authority.living("milan") == [new.issued]


def test_keys_are_not_used_twice(ground: Ground) -> None:
    request = csr()
    ground.authority.enrol("milan", request)
    with refused(RefusedError, "key_reused"):
        ground.authority.enrol("rome", request)
    ground.authority.revoke_site("milan", Reason.KEY_COMPROMISE)
    with refused(RefusedError, "key_reused"):
        ground.authority.enrol("milan", request)


@pytest.mark.parametrize("site", ["", "Milan", "milan.1", "-milan", "../milan", "m" * 41, "milan\n"])
def test_a_site_must_have_a_name_that_can_stand_in_a_certificate(ground: Ground, site: str) -> None:
    with refused(InvalidError, "bad_site"):
        ground.authority.enrol(site, csr())


def test_renewal_over_the_tunnel(ground: Ground) -> None:
    old = ground.authority.enrol("milan", csr()).issued
    with refused(RefusedError, "not_due"):
        ground.authority.renew(old.serial, csr())
    ground.clock.now = old.due
    request = csr()
    new = ground.authority.renew(old.serial, request)
    assert new.ended == ()
    assert (new.issued.generation, new.issued.replaces) == (1, old.serial)
    assert ground.authority.living("milan") == [old, new.issued], "the old one is good until the new one was used"
    assert ground.authority.renew(old.serial, request).issued == new.issued
    with refused(RefusedError, "renewed_already"):
        ground.authority.renew(old.serial, csr())
    assert ground.authority.confirm(new.issued.serial) == (old,)
    assert ground.authority.confirm(new.issued.serial) == (old,)
    assert ground.authority.living("milan") == [new.issued]
    assert ground.admitted() == {"milan.1"}
    with refused(RefusedError, "certificate_over"):
        ground.authority.renew(old.serial, csr())


def test_a_renewal_that_got_lost_is_replaced_after_an_hour(ground: Ground) -> None:
    old = ground.authority.enrol("milan", csr()).issued
    ground.clock.now = old.due
    lost = ground.authority.renew(old.serial, csr()).issued
    ground.clock.pass_(timedelta(hours=1))
    new = ground.authority.renew(old.serial, csr())
    assert new.ended == (lost,)
    assert ground.authority.living("milan") == [old, new.issued]


def test_an_old_certificate_that_is_seen_again_confirms_nothing_newer_away(ground: Ground) -> None:
    old = ground.authority.enrol("milan", csr()).issued
    ground.clock.now = old.due
    new = ground.authority.renew(old.serial, csr()).issued
    assert ground.authority.confirm(old.serial) == ()
    assert ground.authority.living("milan") == [old, new]


def test_expired_and_unknown_ones_are_not_renewed(ground: Ground) -> None:
    old = ground.authority.enrol("milan", csr()).issued
    ground.clock.now = old.ends
    with refused(RefusedError, "certificate_over"):
        ground.authority.renew(old.serial, csr())
    with refused(NotFoundError, "no_certificate"):
        ground.authority.renew("0" * 32, csr())
    server = next(each for each in ground.authority.issued() if not each.site)
    ground.clock.now = START
    with refused(RefusedError, "certificate_over"):
        ground.authority.renew(server.serial, csr())


def test_revoking_is_idempotent_and_keeps_the_first_reason(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    assert ground.authority.revoke(one.serial, Reason.KEY_COMPROMISE) == (one,)
    before = ground.paths.crl.read_bytes()
    ground.clock.pass_(DAY)
    assert ground.authority.revoke(one.serial, Reason.CESSATION) == (one,)
    assert ground.authority.revoke_site("milan") == (one,)
    assert ground.authority.revoked()[one.serial].reason is Reason.KEY_COMPROMISE
    assert ground.paths.crl.read_bytes() == before
    assert ground.admitted() == set()
    with refused(NotFoundError, "no_certificate"):
        ground.authority.revoke("f" * 32)


def test_no_certificate_outlives_the_intermediate(ground: Ground) -> None:
    ground.authority.root.verify_copy(ground.authority.root.export("x" * 20), "x" * 20)
    ground.authority.root.remove()
    limit = START + 5 * YEAR
    while ground.clock.now < limit - 100 * DAY:
        ground.clock.pass_(300 * DAY)
        ground.authority.upkeep()
    granted = ground.authority.enrol("milan", csr())
    assert granted.issued.ends == limit
    ground.clock.now = limit
    with refused(RefusedError, "authority_expired"):
        ground.authority.enrol("rome", csr())
    assert "intermediate_due" in ground.alarms()


def test_the_server_certificate_is_renewed_in_time(ground: Ground) -> None:
    first = ground.paths.server.read_bytes()
    server = ground.authority.server()
    assert server is not None
    ground.clock.now = server.due - timedelta(seconds=1)
    assert not ground.authority.upkeep().server_renewed
    assert ground.paths.server.read_bytes() == first
    ground.clock.now = server.due
    assert ground.authority.upkeep().server_renewed
    assert not ground.authority.upkeep().server_renewed
    assert ground.paths.server.read_bytes() != first
    shown = ground.authority.server()
    assert shown is not None
    assert shown.ends > server.ends
    assert shown.begins == server.begins, "an edge whose clock stopped months ago takes it"


@pytest.mark.parametrize("damage", [b"", b"garbage\n", None])
def test_what_openvpn_reads_is_made_again(ground: Ground, damage: bytes | None) -> None:
    ground.authority.enrol("milan", csr())
    gone = ground.authority.enrol("milan", csr()).ended[0]
    for path in [each for each in ground.paths.openvpn.rglob("*") if each.is_file()]:
        path.unlink() if damage is None else path.write_bytes(damage)
    assert {"crl_expired", "server_certificate"} <= ground.alarms()
    done = ground.again().upkeep()
    assert done.server_renewed
    assert {each.error_id for each in done.faults} == {"root_not_exported"}
    assert ground.listed() == {gone.serial}
    assert ground.admitted() == {"milan.2"}
    assert ground.paths.root_certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert tls_crypt.is_server_key(ground.paths.tls_crypt.read_bytes())


def test_a_damaged_record_is_told_and_can_still_be_revoked(ground: Ground) -> None:
    one, other = (ground.authority.enrol(site, csr()).issued for site in ("milan", "rome"))
    (ground.paths.ca / "issued" / f"{one.serial}.json").write_bytes(b"{")
    ground.again()
    assert "record_damaged" in ground.alarms()
    assert ground.authority.living("rome") == [other]
    assert ground.authority.revoke(one.serial) == ()
    assert ground.listed() == {one.serial}
    assert "record_damaged" not in ground.alarms()


def test_a_damaged_revocation_still_revokes(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.revoke(one.serial)
    (ground.paths.ca / "revoked" / f"{one.serial}.json").write_bytes(b"")
    ground.paths.crl.unlink()
    ground.again().upkeep()
    assert ground.listed() == {one.serial}
    assert ground.authority.living("milan") == []


@pytest.mark.parametrize("lost", ["issued", "revoked", "intermediate/1.pem", "root.crt", "tls-crypt-v2.key"])
def test_a_lost_part_is_told_and_openvpn_keeps_its_list(ground: Ground, lost: str) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.revoke(one.serial)
    before = ground.paths.crl.read_bytes()
    (ground.paths.ca / lost).rename(ground.paths.top / "elsewhere")
    ground.again()
    with pytest.raises(CorruptError):
        ground.authority.enrol("rome", csr())
    faults = ground.authority.upkeep().faults
    assert {each.error_id for each in faults} & {"registry_lost", "authority_damaged"}
    assert all("backup" in each.hint for each in faults if each.error_id in ("registry_lost", "authority_damaged"))
    assert ground.paths.crl.read_bytes() == before


def test_what_expired_long_ago_is_forgotten(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.revoke(one.serial)
    for _ in range(4):
        ground.clock.pass_(200 * DAY)
        ground.authority.upkeep()
    assert ground.authority.issued("milan") == [], "a year after its end"
    assert ground.authority.revoked() == {}
    assert ground.listed() == set()


def test_an_edge_that_does_not_renew_is_told(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.clock.now = one.due
    assert "branch_certificate" not in ground.alarms()
    ground.clock.now = one.urgent
    assert "branch_certificate" in ground.alarms()
    ground.authority.renew(one.serial, csr())
    assert "branch_certificate" not in ground.alarms()


def test_a_certificate_that_ended_is_told_until_the_branch_is_enrolled_anew_or_none_any_more(ground: Ground) -> None:
    """It used to be forgotten at the very moment from which on nobody gets in by it."""
    milan = ground.authority.enrol("milan", csr()).issued
    rome = ground.authority.enrol("rome", csr(), role=Role.THIRD_PARTY).issued
    ground.clock.now = milan.ends
    [told] = [each for each in ground.authority.faults() if each.error_id.startswith("branch_certificate")]
    assert (told.error_id, told.path) == ("branch_certificate_ended", "vpn/site/milan")
    assert told.hint == "enrol it anew: centralino vpn enrol milan"
    assert concerning([told], {"milan"}) == (told,)
    assert concerning([told], {"rome"}) == ()
    ground.authority.enrol("milan", csr())
    assert not {"branch_certificate", "branch_certificate_ended"} & ground.alarms()
    ground.clock.now = rome.ends
    hints = [each.hint for each in ground.authority.faults() if each.path == "vpn/site/rome"]
    assert hints == ["enrol it anew: centralino vpn bundle rome"]
    ground.clock.now = rome.urgent
    ground.authority.revoke_site("rome")
    ground.clock.now = rome.ends
    assert "vpn/site/rome" not in {each.path for each in ground.authority.faults()}, "it was meant to be shut out"


def test_two_processes_take_turns(ground: Ground) -> None:
    """Each holds what it read before; the directory decides."""
    mine, theirs = ground.authority, ground.again()
    one = mine.enrol("milan", csr()).issued
    assert theirs.enrol("milan", csr()).ended == (one,)
    assert len(mine.issued("milan")) == 2
    assert mine.living("milan")[0].generation == 2


def test_records_say_what_people_ask_of_them(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr(ec.generate_private_key(ec.SECP384R1()))).issued
    plain = json.loads((ground.paths.ca / "issued" / f"{one.serial}.json").read_text())
    assert (plain["role"], plain["site"], plain["generation"], plain["issuer"]) == ("branch", "milan", 1, 1)
    assert one.due == one.begins + (one.ends - one.begins) * 2 / 3
