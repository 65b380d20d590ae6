"""The root's key goes out, goes away, and comes back for a new intermediate."""

from __future__ import annotations

import pytest
from cryptography import x509

from appliance.core.errors import InvalidError, NotFoundError, RefusedError
from appliance.vpn.pki import Reason
from appliance.vpn.pki.certificates import entry
from appliance.vpn.pki.lifetimes import INTERMEDIATE, due
from tests.unit.vpn.ground import DAY, PASSPHRASE, START, Ground, csr
from tests.unit.vpn.test_pki_authority import refused


def away(ground: Ground) -> bytes:
    """The root's key, exported and removed."""
    copy = ground.authority.root.export(PASSPHRASE)
    ground.authority.root.verify_copy(copy, PASSPHRASE)
    ground.authority.root.remove()
    return copy


def test_it_is_removed_only_when_a_copy_was_shown_to_be_good(ground: Ground) -> None:
    root = ground.authority.root
    with refused(RefusedError, "not_exported"):
        root.remove()
    copy = root.export(PASSPHRASE)
    assert b"ENCRYPTED" in copy
    assert b"BEGIN CERTIFICATE" in copy
    with refused(RefusedError, "not_exported"):
        root.remove()
    assert "root_not_exported" in ground.alarms()
    root.verify_copy(copy, PASSPHRASE)
    assert "root_not_exported" not in ground.alarms()
    root.remove()
    root.remove()
    assert not root.here
    assert not (ground.paths.ca / "root.key").exists()
    with refused(RefusedError, "no_root_key"):
        root.export(PASSPHRASE)
    root.bring_back(copy, PASSPHRASE)
    assert root.here
    assert (ground.paths.ca / "root.key").stat().st_mode & 0o777 == 0o600


def test_an_accent_may_be_typed_in_two_ways(ground: Ground) -> None:
    copy = ground.authority.root.export("citt\u00e0 granito noce viola")
    ground.authority.root.verify_copy(copy, "citta\u0300 granito noce viola")


def test_copies_that_are_refused(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, other = ground.authority.root, Ground(tmp_path_factory.mktemp("other")).authority.root
    copy = root.export(PASSPHRASE)
    with refused(InvalidError, "weak_passphrase"):
        root.export("walnut")
    for wrong, passphrase in (
        (copy, "another passphrase"), (copy, ""), (b"", PASSPHRASE), (copy[:200], PASSPHRASE),
        (other.export(PASSPHRASE), PASSPHRASE), ((ground.paths.ca / "root.key").read_bytes(), PASSPHRASE),
    ):  # fmt: skip
        for action in (root.verify_copy, root.bring_back, root.renew_intermediate):
            with refused(InvalidError, "bad_copy"):
                action(wrong, passphrase)
    assert not root.exported


def test_everything_but_a_new_intermediate_goes_without_the_root_key(ground: Ground) -> None:
    copy = away(ground)
    one = ground.authority.enrol("milan", csr()).issued
    ground.clock.now = one.due
    new = ground.authority.renew(one.serial, csr()).issued
    ground.authority.confirm(new.serial)
    assert ground.authority.upkeep().server_renewed
    assert ground.listed() == {one.serial}
    with refused(RefusedError, "no_root_key"):
        ground.authority.root.renew_intermediate()
    assert ground.authority.root.renew_intermediate(copy, PASSPHRASE) == 2
    assert not ground.authority.root.here, "it was in memory only"
    assert ground.authority.enrol("rome", csr()).issued.issuer == 2
    assert ground.authority.living("milan") == [new]


def test_the_intermediate_is_renewed_by_itself_while_the_key_is_here(ground: Ground) -> None:
    begins = START - 2 * DAY
    ground.clock.now = due(begins, START + INTERMEDIATE) - DAY
    ground.authority.trust_clock()
    assert not ground.authority.upkeep().intermediate_renewed
    ground.clock.pass_(DAY)
    done = ground.authority.upkeep()
    assert done.intermediate_renewed
    assert "intermediate_due" not in {each.error_id for each in done.faults}
    assert not ground.authority.upkeep().intermediate_renewed


def test_without_the_key_it_is_asked_for(ground: Ground) -> None:
    away(ground)
    ground.clock.now = due(START, START + INTERMEDIATE)
    ground.authority.trust_clock()
    found = next(each for each in ground.authority.upkeep().faults if each.error_id == "intermediate_due")
    assert found.severity == "warning"
    ground.clock.pass_(305 * DAY)
    found = next(each for each in ground.authority.upkeep().faults if each.error_id == "intermediate_due")
    assert found.severity == "error"
    assert "root" in found.hint


def test_a_revoked_intermediate_takes_all_of_its_own_along(ground: Ground) -> None:
    copy = away(ground)
    one = ground.authority.enrol("milan", csr()).issued
    ground.authority.root.revoke_intermediate(1, copy=copy, passphrase=PASSPHRASE)
    root_list = next(
        each for each in ground.crls() if each.next_update_utc and each.next_update_utc.year > START.year + 10
    )
    below = x509.load_pem_x509_certificate((ground.paths.ca / "intermediate" / "1.pem").read_bytes())
    assert [entry(each).reason for each in root_list] == [Reason.CA_COMPROMISE]
    assert [each.serial_number for each in root_list] == [below.serial_number]
    assert root_list.last_update_utc <= ground.clock.now
    assert ground.authority.living() == []
    assert one.serial in ground.listed()
    assert ground.authority.enrol("milan", csr()).issued.issuer == 2
    assert ground.authority.upkeep().server_renewed
    ground.authority.root.revoke_intermediate(1, copy=copy, passphrase=PASSPHRASE)
    ground.authority.root.revoke_intermediate(2, copy=copy, passphrase=PASSPHRASE)
    assert len(ground.authority.issued()) == 6
    with refused(NotFoundError, "no_intermediate"):
        ground.authority.root.revoke_intermediate(9, copy=copy, passphrase=PASSPHRASE)
    (ground.paths.ca / "root.crl").write_bytes(b"")
    ground.authority.upkeep()
    assert below.serial_number in {each.serial_number for one in ground.crls() for each in one}, "OpenVPN's copy serves"


def test_what_an_ending_intermediate_cuts_short_is_not_renewed_over_and_over(ground: Ground) -> None:
    away(ground)
    ground.clock.now = START + INTERMEDIATE - 100 * DAY
    ground.authority.trust_clock()
    ground.authority.upkeep()
    number = len(ground.authority.issued())
    for _ in range(5):
        ground.clock.pass_(DAY)
        assert not ground.authority.upkeep().server_renewed
    assert len(ground.authority.issued()) == number
    assert {"server_certificate", "intermediate_due"} & ground.alarms() == {"intermediate_due"}
