"""Secrets that other processes are handed in the clear: only theirs, only theirs to read, and never lost with the key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from appliance import handed
from appliance.applier.__main__ import make
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.notifications.model import NotificationEndpoint, WebhookEndpoint
from appliance.organisation.model import Secret
from appliance.paths import Paths
from appliance.store import Store
from appliance.store.handed import Handed
from tests.unit.applier.conftest import NOBODY_LISTENS

OFFLINE = Options(offline=True)
CLEAR = 'lantern "basalt" è'


@pytest.fixture(autouse=True)
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One reader that needs something, and one that doesn't."""
    monkeypatch.setattr(handed, "READERS", {"console": ("site",), "sender": ("notification_endpoint",)})
    monkeypatch.setattr("appliance.applier.handing.READERS", handed.READERS)


def propose(store: Store, *put: object, remove: tuple[tuple[str, str], ...] = ()) -> int:
    return store.propose(put, remove, base=store.head().number, author="test").number  # type: ignore[arg-type]


@pytest.fixture
def committed(service: Service, store: Store, paths: Paths) -> Service:
    """A webhook's signing secret, and one that nobody was to be handed."""
    keyring = store.keyring(paths.secret_key)
    hook = WebhookEndpoint(url="https://hooks.example.com/", secret="signing")
    put = [
        Secret(id="signing", value=keyring.seal("signing", CLEAR)),
        Secret(id="phone", value=keyring.seal("phone", "a phone's password")),
        NotificationEndpoint(id="hook", name="Hook", target=hook),
    ]
    service.apply(propose(store, *put), OFFLINE)
    return service


def place(paths: Paths, reader: str) -> Path:
    return paths.handed_to(reader) / handed.FILE


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("committed")
def test_a_process_is_handed_its_own_and_nobody_else_s(paths: Paths) -> None:
    assert json.loads(place(paths, "sender").read_text()) == {"signing": CLEAR}
    assert json.loads(place(paths, "console").read_text()) == {}
    assert Handed(paths.handed_to("sender")).get("signing") == CLEAR
    assert Handed(paths.handed_to("sender")).get("phone") is None
    assert Handed(paths.handed_to("console")).get("signing") is None
    assert Handed(paths.handed_to("nobody")).get("signing") is None
    assert mode(place(paths, "sender")) & 0o007 == 0
    assert mode(paths.handed_to("sender")) == 0o750
    assert mode(paths.handed) == 0o711


def test_what_is_not_needed_any_more_is_taken_back(committed: Service, store: Store, paths: Paths) -> None:
    reader = Handed(paths.handed_to("sender"))
    assert reader.get("signing") == CLEAR
    committed.apply(propose(store, remove=(("notification_endpoint", "hook"),)), OFFLINE)
    assert reader.get("signing") is None
    assert CLEAR not in place(paths, "sender").read_text()


def test_a_changed_secret_is_handed_anew(committed: Service, store: Store, paths: Paths) -> None:
    reader = Handed(paths.handed_to("sender"))
    assert reader.get("signing") == CLEAR
    sealed = store.keyring(paths.secret_key).seal("signing", "another")
    committed.apply(propose(store, Secret(id="signing", value=sealed)), OFFLINE)
    assert reader.get("signing") == "another"


def test_a_full_disk_delays_it_and_holds_no_commit_up(
    committed: Service, store: Store, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sealed = store.keyring(paths.secret_key).seal("signing", "another")
    with monkeypatch.context() as patch:
        patch.setattr("appliance.applier.handing.replace", full)
        done = committed.apply(propose(store, Secret(id="signing", value=sealed)), OFFLINE)
        assert done["state"] == "committed"
        assert Handed(paths.handed_to("sender")).get("signing") == CLEAR
    Upkeep(committed).tend()
    assert Handed(paths.handed_to("sender")).get("signing") == "another"


@pytest.mark.usefixtures("committed")
def test_what_was_handed_stays_when_the_key_is_lost(store: Store, paths: Paths) -> None:
    paths.secret_key.unlink()
    again = make(paths, Settings(port=NOBODY_LISTENS), store)
    again.converge()
    assert Handed(paths.handed_to("sender")).get("signing") == CLEAR


def test_files_that_somebody_spoiled_are_mended_at_the_next_start(
    committed: Service, store: Store, paths: Paths
) -> None:
    reader = Handed(paths.handed_to("sender"))
    file = place(paths, "sender")
    for garbage in ("", "[]", '{"signing": 1}', "\x00"):
        file.write_text(garbage)
        assert reader.get("signing") is None
    file.chmod(0o644)
    again = make(paths, Settings(port=NOBODY_LISTENS), store)
    again.converge()
    assert reader.get("signing") == CLEAR
    assert mode(file) & 0o007 == 0
