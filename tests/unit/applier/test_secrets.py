"""Secrets that can't be opened or written, certificates that aren't there: told by field, and no way to lose phones."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.applier.__main__ import make
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.service import Service
from appliance.core.document import parse
from appliance.core.errors import CorruptError, InvalidError, UnavailableError
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.organisation.model import Company, Secret
from appliance.paths import Paths
from appliance.pbx.media.model import Listener, Transport
from appliance.store import Keyring, Store
from tests.hil.system import objects, office
from tests.unit.applier.conftest import NOBODY_LISTENS

OFFLINE = Options(offline=True)


def propose(store: Store, *put: Object) -> int:
    return store.propose(put, (), base=store.head().number, author="test").number


def started(paths: Paths, store: Store) -> Service:
    made = make(paths, Settings(port=NOBODY_LISTENS), store)
    made.converge()
    return made


@pytest.fixture
def committed(service: Service, store: Store, paths: Paths) -> Service:
    """A service with an office of which every device has a password."""
    keyring = store.keyring(paths.secret_key)
    put = [
        Secret(id=item.id, value=keyring.seal(item.id, f"password of {item.id}")) if isinstance(item, Secret) else item
        for item in objects(office("127.0.0.1", 2))
        if item.path() != "site/hq"
    ]
    site = {"id": "hq", "name": "Head office", "company": "demo", "class_of_service": "standard"}
    service.apply(propose(store, *put, parse(KINDS, "site", site)), OFFLINE)
    return service


def pjsip(paths: Paths) -> str:
    return (paths.engine.current / "pjsip.conf").read_text()


@pytest.mark.parametrize("damage", ["lost", "garbage", "exposed", "another"])
def test_phones_keep_their_passwords_when_the_key_is_lost(
    committed: Service, store: Store, paths: Paths, damage: str
) -> None:
    key, before = paths.secret_key, pjsip(paths)
    spoil(key, damage)
    again = started(paths, store)
    assert pjsip(paths) == before
    assert again.state()["last_error"]["error_id"] == "bad_key"
    assert "secret/201-1" in again.state()["last_error"]["message"]
    told = [fault for fault in again.faults(None) if fault.error_id == "bad_key" or "key" in fault.message]
    assert told[0].path == "secret/201-1/value"
    assert {fault.severity for fault in told} == {"warning" if damage == "another" else "error"}


@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_they_keep_them_also_when_an_apply_was_cut_short(
    committed: Service, store: Store, paths: Paths, journal: str
) -> None:
    head, before = committed.journal.state, pjsip(paths)
    listener = Listener(id="other", name="Other", transport=Transport.TCP, address="127.0.0.1", port=5070)
    number = propose(store, listener)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "promote", lambda _: None)  # it comes as far as the commit, and no further
        patch.setattr(committed, "_settle", lambda *_, **__: None)
        committed.apply(number, OFFLINE)
    assert pjsip(paths) != before
    committed.journal.update(
        revision=head.revision, generation=head.generation, transaction=committed.journal.state.transaction
    )
    if journal == "lost":
        paths.applier_state.unlink()
    paths.secret_key.unlink()
    started(paths, store)
    assert pjsip(paths) == before


def test_they_keep_them_when_the_files_were_made_for_an_earlier_revision_of_the_same_content(
    committed: Service, store: Store, paths: Paths
) -> None:
    before = pjsip(paths)
    (paths.engine.current / ".revision").write_text("99")
    paths.secret_key.unlink()
    started(paths, store)
    assert pjsip(paths) == before


def spoil(key: Path, damage: str) -> None:
    if damage == "lost":
        key.unlink()
    elif damage == "garbage":
        key.write_text("garbage\n")
    elif damage == "exposed":
        key.chmod(0o644)
    else:
        key.unlink()
        Keyring.load_or_create(key)


def test_without_a_key_nothing_is_applied_and_with_a_new_one_secrets_can_be_set_again(
    committed: Service, store: Store, paths: Paths
) -> None:
    old = pjsip(paths)
    paths.secret_key.unlink()
    again = started(paths, store)
    other = Company(id="second", name="Second")
    with pytest.raises(InvalidError, match="secret/201-1/value: can't be opened") as caught:
        again.apply(propose(store, other), OFFLINE)
    assert "centralino key new" in caught.value.hint
    assert pjsip(paths) == old
    keyring = Keyring.renew(paths.secret_key)
    again.apply(propose(store, Secret(id="201-1", value=keyring.seal("201-1", "another password"))), OFFLINE)
    assert pjsip(paths) != old
    lost = [fault.path for fault in again.faults(None) if fault.error_id == "bad_key"]
    assert lost == ["secret/202-1/value"]


def test_a_key_file_that_comes_back_is_read_again(committed: Service, store: Store, paths: Paths) -> None:
    content = paths.secret_key.read_bytes()
    paths.secret_key.unlink()
    again = started(paths, store)
    paths.secret_key.touch(0o600)
    paths.secret_key.write_bytes(content)
    assert not [fault for fault in again.faults(None) if fault.path.startswith("secret/")]
    assert again.apply(propose(store, Company(id="second", name="Second")), OFFLINE)["state"] == "committed"


def test_a_file_that_was_kept_is_not_asked_about(committed: Service, store: Store, paths: Paths) -> None:
    spoil(paths.secret_key, "another")
    again = started(paths, store)
    assert "pjsip.conf" in again.current.files
    assert "pjsip.conf" not in again.current.known


def test_a_secret_that_no_engine_file_can_carry_is_named(committed: Service, store: Store, paths: Paths) -> None:
    keyring = store.keyring(paths.secret_key)
    provider = {"id": "telco", "name": "Telco", "host": "192.0.2.1"}
    trunk = {
        "id": "line",
        "name": "Line",
        "provider": "telco",
        "site": "hq",
        "host": "192.0.2.1",
        "auth": {"type": "register", "username": "line", "secret": "line"},
    }
    made = [
        parse(KINDS, kind, {key: value for key, value in data.items() if key in KINDS[kind].model_fields})
        for kind, data in (("provider", provider), ("trunk", trunk))
    ]
    secret = Secret(id="line", value=keyring.seal("line", "ends with a blank "))
    number = propose(store, secret, *made)
    for ask in (lambda: committed.plan(number), lambda: committed.apply(number, OFFLINE)):
        with pytest.raises(InvalidError) as caught:
            ask()
        assert [fault.path for fault in caught.value.faults] == ["secret/line/value"]
        assert "a blank" not in str(caught.value)


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.WSS])
def test_a_listener_whose_certificate_is_not_there_is_refused(
    service: Service, store: Store, paths: Paths, transport: Transport
) -> None:
    listener = Listener(
        id="secured", name="Secured", transport=transport, address="127.0.0.1", port=5061, certificate="elsewhere"
    )
    with pytest.raises(InvalidError) as caught:
        service.apply(propose(store, listener), OFFLINE)
    assert [fault.path for fault in caught.value.faults] == ["listener/secured/certificate"]
    paths.engine.tls.mkdir(parents=True, exist_ok=True)
    for suffix in ("crt", "key"):
        (paths.engine.tls / f"elsewhere.{suffix}").write_text("of the test")
    assert service.apply(propose(store, listener), OFFLINE)["state"] == "committed"


def test_while_it_cannot_start_it_says_why(paths: Paths, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(paths, Settings(port=NOBODY_LISTENS), store)

    def damaged() -> None:
        raise CorruptError("the database is damaged", "restore a backup", error_id="database_damaged")

    monkeypatch.setattr(store, "head", damaged)
    with pytest.raises(CorruptError):
        made.converge()
    with pytest.raises(UnavailableError, match="the database is damaged") as caught:
        made.state()
    assert (caught.value.error_id, caught.value.hint) == ("starting", "restore a backup")


def test_a_listener_whose_authority_is_not_there_is_refused(service: Service, store: Store, paths: Paths) -> None:
    listener = Listener(id="lines", name="L", transport=Transport.UDP, address="127.0.0.1", authority="lab")
    with pytest.raises(InvalidError) as caught:
        service.apply(propose(store, listener), OFFLINE)
    assert [fault.path for fault in caught.value.faults] == ["listener/lines/authority"]
    paths.engine.tls.mkdir(parents=True, exist_ok=True)
    (paths.engine.tls / "lab.ca").write_text("of the test")
    assert service.apply(propose(store, listener), OFFLINE)["state"] == "committed"


def test_secrets_are_sealed_for_whoever_may_not_read_the_key(committed: Service, store: Store, paths: Paths) -> None:
    sealed = committed.seal("new", "a password")
    assert store.keyring(paths.secret_key).open("new", sealed) == "a password"
    paths.secret_key.unlink()
    with pytest.raises(CorruptError):
        committed.seal("new", "a password")
