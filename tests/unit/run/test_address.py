"""Moving phones to another address: one revision, a certificate that names it, or a refusal that says what to type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from appliance.core.errors import InvalidError, RefusedError
from appliance.organisation.model import Secret
from appliance.paths import Paths
from appliance.pbx.media.model import Listener
from appliance.run.address import checked, phone_addresses, propose_move
from appliance.run.certificate import ensure_certificate
from appliance.run.demo import demo
from appliance.store import Store

HOST = "127.0.0.2"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    objects = [item for item in demo("127.0.0.1", lambda: "x").objects if not isinstance(item, Secret)]
    objects = [item for item in objects if item.kind in ("listener", "codec_policy")]
    with Store.default(Paths(tmp_path / "state", tmp_path / "cache")) as store:
        store.promote(store.propose(objects, (), base=0, author="test").number)
        yield store


def test_phones_and_browsers_move_and_providers_lines_stay(store: Store) -> None:
    revision = propose_move(store, HOST, running=False)
    assert revision is not None
    store.promote(revision)
    assert phone_addresses(store.document()) == [HOST]
    assert store.document().get(Listener, "trunks").address == "127.0.0.1"
    assert store.head().message == f"Phones connect at {HOST}"
    assert propose_move(store, HOST, running=True) is None, "they are there"


def test_listeners_at_several_addresses_or_a_running_engine_are_left_alone(store: Store) -> None:
    with pytest.raises(RefusedError) as caught:
        propose_move(store, HOST, running=True)
    assert caught.value.error_id == "engine_running"
    for id in ("udp", "tcp", "tls", "wss"):
        assert f"centralino listener set {id} address={HOST}" in caught.value.hint
    assert "set trunks" not in caught.value.hint
    udp = store.document().get(Listener, "udp").model_copy(update={"address": "127.0.0.3"})
    store.promote(store.propose([udp], (), base=store.head().number, author="test").number)
    with pytest.raises(RefusedError) as caught:
        propose_move(store, HOST, running=False)
    assert caught.value.error_id == "several_addresses"


def test_an_address_is_one_of_this_machine(store: Store) -> None:
    assert checked("127.0.0.2") == HOST
    for wrong in ("router", "192.0.2.99"):
        with pytest.raises(InvalidError):
            checked(wrong)


def test_our_certificate_gets_the_address_and_an_administrator_s_is_left_alone(tmp_path: Path) -> None:
    def hosts() -> list[str]:
        found = x509.load_pem_x509_certificate((tmp_path / "a.crt").read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(each.value) for each in names]

    ensure_certificate(tmp_path, "a", ("localhost", "127.0.0.1"))
    first = (tmp_path / "a.crt").read_bytes()
    ensure_certificate(tmp_path, "a", ("localhost", "127.0.0.1"))
    assert (tmp_path / "a.crt").read_bytes() == first
    ensure_certificate(tmp_path, "a", ("localhost", HOST))
    assert hosts() == ["localhost", "127.0.0.1", HOST]
    ensure_certificate(tmp_path, "b", ("localhost",))
    (tmp_path / "b.crt").replace(tmp_path / "a.crt")  # made by somebody else
    theirs = (tmp_path / "a.crt").read_bytes()
    ensure_certificate(tmp_path, "a", ("localhost", HOST))
    assert (tmp_path / "a.crt").read_bytes() == theirs
