"""The key file is lost on a running appliance: phones keep their passwords, people are told, and find a way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import InvalidError
from appliance.organisation.model import Secret
from appliance.pbx.extensions.model import Extension
from appliance.store import Keyring
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.system import System, office


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    require_root()
    with Network() as net:
        host = net.host("pbx")
        rows = [
            (kind, {key: value for key, value in data.items() if key != "emergency_number"})
            for kind, data in office(host.address, 2)
        ]
        with System(host, tmp_path, rows) as made:
            verified(made)
            yield made


def verified(system: System) -> None:
    eventually(lambda: system.client.state()["verified"], "the engine holds what is committed", 40)


def digests(system: System) -> dict[str, str]:
    """What the engine knows of each device's password."""
    with system.ami() as ami:
        found = {
            id: ami.getvar(f"AST_SORCERY(res_pjsip,auth,{id},password_digest)")
            or ami.getvar(f"AST_SORCERY(res_pjsip,auth,{id},md5_cred)")
            for id in ("201-1", "202-1")
        }
    assert all(found.values())
    return found


def test_phones_keep_their_passwords_over_restarts_of_everything_and_secrets_can_be_set_again(system: System) -> None:
    before = digests(system)
    system.applier.stop()
    system.paths.secret_key.unlink()
    system.start_applier()
    verified(system)
    assert digests(system) == before
    assert system.engine is not None
    system.engine.kill()
    system.start_engine()
    verified(system)
    assert digests(system) == before
    assert system.client.check() == []

    with system.store() as store:
        extension = store.document().get(Extension, "ext-201")
        renamed = extension.model_copy(update={"label": "Renamed"})
        number = store.propose([renamed], (), base=store.head().number, author="test").number
    with pytest.raises(InvalidError, match="secret/201-1/value: can't be opened"):
        system.client.apply(number)
    assert digests(system) == before

    keyring = Keyring.renew(system.paths.secret_key)
    with system.store() as store:
        fresh = Secret(id="201-1", value=keyring.seal("201-1", "another password"))
        number = store.propose([fresh], (), base=store.head().number, author="test").number
    assert system.client.apply(number)["state"] == "committed"
    after = digests(system)
    assert after["201-1"] != before["201-1"]
    verified(system)
    assert system.client.check() == []
