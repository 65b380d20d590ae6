"""Lists of revoked certificates: complete, renewed in time, and never taken for older than the one before."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from cryptography import x509

from appliance.vpn.pki import Reason
from appliance.vpn.pki.certificates import entry, list_number
from appliance.vpn.pki.lifetimes import BACKDATED, LIST
from appliance.vpn.pki.vault import certificate, signed_by
from tests.unit.vpn.ground import DAY, START, Ground, csr


def of_intermediate(ground: Ground) -> x509.CertificateRevocationList:
    return ground.crls()[0]


def test_there_is_a_list_of_every_authority_in_the_chain(ground: Ground) -> None:
    granted = ground.authority.enrol("milan", csr())
    below = x509.load_pem_x509_certificates(granted.chain)[1]
    root = certificate(granted.root)
    assert root is not None
    first, second = ground.crls()
    assert signed_by(first, below)
    assert signed_by(second, root)
    assert second.next_update_utc == root.not_valid_after_utc, "nobody may have the key to make another"


def test_reasons_are_told_as_rfc_5280_wants_it(ground: Ground) -> None:
    for reason in Reason:
        site = reason.value.replace("_", "-")
        serial = ground.authority.enrol(site, csr()).issued.serial
        ground.authority.revoke(serial, reason)
        found = of_intermediate(ground).get_revoked_certificate_by_serial_number(int(serial, 16))
        assert found is not None
        assert entry(found).reason is reason
        assert len(found.extensions) == (reason is not Reason.UNSPECIFIED)


def test_each_list_is_newer_than_the_one_before_even_within_a_second(ground: Ground) -> None:
    """OpenVPN 2.6 keeps some lists of before in memory: the newest time decides; and it looks at size and whole seconds."""
    seen = of_intermediate(ground)
    for site in ("milan", "rome", "turin"):
        stamp = ground.paths.crl.stat()
        ground.authority.enrol(site, csr())
        ground.authority.revoke_site(site)
        now, after = of_intermediate(ground), ground.paths.crl.stat()
        assert now.last_update_utc > seen.last_update_utc
        assert list_number(now) > list_number(seen)
        assert int(after.st_mtime) > int(stamp.st_mtime)
        seen = now
    ground.clock.pass_(timedelta(hours=-3))
    ground.authority.enrol("bari", csr())
    ground.authority.revoke_site("bari")
    assert of_intermediate(ground).last_update_utc > seen.last_update_utc, "a clock put back changes nothing"


def test_it_is_renewed_when_a_third_of_its_time_is_gone(ground: Ground) -> None:
    before = ground.paths.crl.read_bytes()
    ground.clock.now = START + LIST / 3 - timedelta(seconds=1)
    ground.authority.upkeep()
    assert ground.paths.crl.read_bytes() == before
    ground.clock.now = START + LIST / 3
    ground.authority.upkeep()
    assert of_intermediate(ground).next_update_utc == ground.clock.now + LIST
    assert of_intermediate(ground).last_update_utc == ground.clock.now - BACKDATED


def test_it_is_told_when_it_could_not_be_renewed(ground: Ground) -> None:
    for days, alarm in ((29, None), (31, "crl_stale"), (60, "crl_expires"), (90, "crl_expired")):
        ground.clock.now = START + days * DAY
        found = {each for each in ground.alarms() if each.startswith("crl_")}
        assert found == ({alarm} if alarm else set()), days


@pytest.mark.parametrize("years", [-20, 10])
def test_a_clock_that_was_far_off_locks_nobody_out_when_it_is_mended(ground: Ground, years: int) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.revoke(one.serial)
    ground.clock.now = START.replace(year=START.year + years)
    assert "clock_wrong" in {each.error_id for each in ground.authority.upkeep().faults}
    other = ground.authority.issued()[0]
    ground.authority.revoke(other.serial)  # revoking goes on
    assert one.serial in ground.listed()
    ground.clock.now = START + DAY
    ground.authority.upkeep()
    now = of_intermediate(ground)
    assert now.next_update_utc is not None
    assert now.last_update_utc < ground.clock.now < now.next_update_utc
    assert ground.listed() == {one.serial, other.serial}


def test_the_list_of_an_older_intermediate_stays_as_long_as_its_certificates(ground: Ground) -> None:
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.root.renew_intermediate()
    ground.authority.revoke(one.serial)
    assert len(ground.crls()) == 3
    assert [len(list(each)) for each in ground.crls()] == [1, 0, 0]
    ground.paths.crl.write_bytes(b"".join(ground.paths.crl.read_bytes().partition(b"-----END X509 CRL-----\n")[2:]))
    ground.authority.upkeep()
    assert len(ground.crls()) == 3, "a list that is missing is no objection for OpenVPN: it must not be missing"


def test_a_list_by_somebody_else_is_none(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Ground(tmp_path_factory.mktemp("other"))
    ground.paths.crl.write_bytes(other.paths.crl.read_bytes())
    assert "crl_expired" in ground.alarms()
    ground.authority.upkeep()
    assert not {each for each in ground.alarms() if each.startswith("crl_")}


def test_a_file_from_the_future_does_not_drag_its_time_along(ground: Ground) -> None:
    ahead = ground.paths.crl.stat().st_mtime + 1_000_000
    os.utime(ground.paths.crl, (ahead, ahead))
    ground.authority.enrol("milan", csr())
    ground.authority.revoke_site("milan")
    assert ground.paths.crl.stat().st_mtime < ahead
