"""Commits on a running engine: what it took is read back."""

from __future__ import annotations

import contextlib
import signal
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.applier import plan as plans
from appliance.applier.options import Options
from appliance.core.asterisk import lookup
from appliance.core.errors import RefusedError
from appliance.core.plan import ReadBack
from appliance.pbx.extensions.model import Extension
from appliance.pbx.media.model import Listener
from appliance.run.demo import demo
from appliance.store import State
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.applied_office import Office, office_, rows, running_office, shared
from tests.hil.system import System

__all__ = ["office_", "shared"]


# What is taken


def test_a_change_of_a_device_is_in_the_engine_when_the_commit_returns(office_: Office) -> None:
    wanted = office_.changed_device()
    number = office_.commit(wanted)
    assert office_.language() == wanted.language
    assert office_.store.head().number == number
    assert office_.service.state()["verified"] is True


@pytest.mark.parametrize(
    "label", ["Rossi; Mario", 'a "quoted" => [name]', "${EXTEN} $[1+1]", "Caffè ☕ ufficio", "x" * 60]
)
def test_any_name_arrives_as_it_was_written(office_: Office, label: str) -> None:
    office_.commit(office_.extension().model_copy(update={"label": label}))
    assert office_.getvar("AST_CONFIG(tables/names.conf,01,201)") == label
    assert lookup("names", "EXTEN").startswith("${AST_CONFIG(tables/names.conf,")


def wait_for_the_window(office_: Office) -> None:
    def closed() -> bool:
        office_.upkeep.tend()
        return office_.service.state()["confirm"] is None

    eventually(closed, "the window closes", 10)


def set_dnd(office_: Office, extension: str) -> None:
    with office_.system.ami() as ami:
        ami.action("DBPut", {"Family": "dnd", "Key": extension, "Val": "1"})


def dnd(office_: Office, extension: str) -> bool:
    with office_.system.ami() as ami:
        return "Value: 1" in ami.command(f"database get dnd {extension}")


def test_what_is_deleted_is_gone_with_its_runtime_values_and_only_with_its_own(office_: Office) -> None:
    set_dnd(office_, "ext-204")
    set_dnd(office_, "ext-203")
    office_.commit(remove=(("device", "204-1"), ("extension", "ext-204")))
    assert office_.getvar("AST_SORCERY(res_pjsip,aor,204-1,max_contacts)") == ""
    assert not dnd(office_, "ext-204")
    assert dnd(office_, "ext-203")


def test_a_rollback_brings_back_what_was_deleted_and_touches_no_runtime_value(office_: Office) -> None:
    before = office_.store.head().number
    office_.commit(remove=(("device", "203-1"),))
    set_dnd(office_, "ext-202")
    office_.service.rollback(before, "test", "", Options())
    assert office_.getvar("AST_SORCERY(res_pjsip,aor,203-1,max_contacts)") != ""
    assert dnd(office_, "ext-202")


def test_deleted_but_not_confirmed_an_extension_keeps_its_runtime_values(office_: Office) -> None:
    set_dnd(office_, "ext-203")
    office_.commit(remove=(("device", "203-1"), ("extension", "ext-203")), confirm_s=0.5)
    wait_for_the_window(office_)
    assert dnd(office_, "ext-203")
    assert office_.store.document().find(Extension, "ext-203") is not None


def test_unconfirmed_the_engine_goes_back(office_: Office) -> None:
    before = office_.language()
    changed = office_.changed_device()
    office_.commit(changed, confirm_s=0.5)
    assert office_.language() == changed.language != before
    wait_for_the_window(office_)
    assert office_.language() == before


def test_a_scheduled_revision_is_applied_when_it_is_due(office_: Office) -> None:
    changed = office_.changed_device()
    number = office_.propose(changed)
    office_.service.schedule.add(number, datetime.now(UTC) + timedelta(seconds=1), Options())
    office_.upkeep.tend()
    assert office_.store.revision(number).state is State.PROPOSED

    def due() -> bool:
        office_.upkeep.tend()
        return office_.store.revision(number).state is State.COMMITTED

    eventually(due, "it is applied", 20)
    assert office_.language() == changed.language


# Effects


def listener(office_: Office, id: str, **changes: object) -> Listener:
    return office_.store.document().get(Listener, id).model_copy(update=changes)


def test_a_moved_listener_drops_connections_only_if_asked_for_and_only_its_own(office_: Office) -> None:
    moved = listener(office_, "tls", port=5071)
    with office_.untouched(), pytest.raises(RefusedError) as caught:
        office_.commit(moved)
    assert caught.value.error_id == "drops_connections"
    address = office_.system.host.address
    with office_.system.host.connect(address, 5060) as other:
        office_.commit(moved, allow=("drops_connections",))
        with office_.system.host.connect(address, 5071):
            pass
        with pytest.raises(OSError, match="refused"):
            office_.system.host.connect(address, 5061, 0.1)
        other.settimeout(0.3)
        other.sendall(b"\r\n\r\n")
        with contextlib.suppress(TimeoutError, socket.timeout):
            assert other.recv(10) != b"", "the connection to the other listener was dropped"
    office_.commit(listener(office_, "tls", port=5061), allow=("drops_connections",))


def test_a_removed_listener_needs_a_restart_that_is_done_only_if_asked_for(office_: Office) -> None:
    tls = listener(office_, "tls")
    with office_.untouched(), pytest.raises(RefusedError) as caught:
        office_.commit(remove=(("listener", "tls"),))
    assert caught.value.error_id == "needs_restart"
    office_.commit(remove=(("listener", "tls"),), allow=("needs_restart",))
    with pytest.raises(OSError, match="refused"):
        office_.system.host.connect(office_.system.host.address, 5061, 0.1)
    office_.commit(tls)


# As a whole


def test_a_plan_shows_what_a_commit_then_does(office_: Office) -> None:
    wanted = office_.changed_device()
    number = office_.propose(wanted)
    plan = office_.service.plan(number)
    assert plan["changes"] == [{"path": "device/201-1", "action": "changed"}]
    assert [step["step"] for step in plan["steps"]] == ["write_file", "reload_module", "read_back"]
    assert plan["effect"] == "live"
    assert office_.language() != wanted.language, "planning changed something"
    office_.service.apply(number, Options())


def test_every_object_of_the_demo_company_is_read_back(tmp_path: Path) -> None:
    """Trunks, registrations, groups, every transport: whatever the features write, the engine can be asked for."""
    require_root()
    with Network() as net:
        host = net.host("pbx")
        company = demo(host.address, lambda: "of-the-test")
        with running_office(net, tmp_path, host, [], *company.objects, secrets=company.secrets) as made:
            assert made.service.check() == []
            plan = plans.build({}, made.service.current.files)
            types = {step.type for step in plan.steps if isinstance(step, ReadBack)}
            assert types >= {"endpoint", "aor", "auth", "transport", "identify", "registration"}


def test_a_daemon_ends_in_good_order_and_is_alone(tmp_path: Path) -> None:
    require_root()
    with Network() as net:
        host = net.host("pbx")
        with System(host, tmp_path, rows(host.address)) as system:
            first = system.applier
            second = system._start_python("appliance.applier")
            assert second.wait(20) == 1
            assert "already_running" in second.text()
            assert system.client.state()["revision"] == 1
            first.process.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0
            assert not system.paths.applier_socket.exists()
            passwords = list(system.passwords.values())
            assert passwords
            assert not [word for word in passwords if word in first.text()]
