"""Listeners on the running engine: one that can't be opened is undone by name, one that was undone is closed again."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.applier import admission
from appliance.applier.options import Options
from appliance.applier.sockets import Place, listening, process_behind
from appliance.core.errors import ApplyError, CentralinoError, InvalidError, UnavailableError
from appliance.pbx.media.model import Listener, Transport
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.applied_office import Office, office_, running_office
from tests.hil.system import office

__all__ = ["office_"]

DROPS = ("drops_connections",)
TAKEN = 5099


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    require_root()
    with Network() as net:
        host = net.host("pbx")
        content = office(host.address, 2, transports=("udp", "tcp", "tls", "wss"))
        plain = [(kind, {k: v for k, v in data.items() if k != "emergency_number"}) for kind, data in content]
        with running_office(net, tmp_path_factory.mktemp("listeners"), host, plain) as made:
            yield made


def held(office_: Office) -> frozenset[Place]:
    """Where the engine listens."""
    pid = process_behind(office_.system.paths.engine.control_socket)
    assert pid is not None
    found = listening(pid)
    assert found is not None
    return found


def ports(places: frozenset[Place]) -> frozenset[Place]:
    """Without those of calls."""
    return frozenset(place for place in places if place.port < 10000)


@contextlib.contextmanager
def squatter(office_: Office, transport: str) -> Iterator[None]:
    """Another program that holds a port of the machine."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with office_.system.host.socket(socket.AF_INET, kind) as other:
        other.bind((office_.system.host.address, TAKEN))
        if transport != "udp":
            other.listen()
        yield


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls", "wss"])
def test_a_listener_moved_onto_a_taken_port_is_undone_by_name(office_: Office, transport: str) -> None:
    there = office_.store.document().get(Listener, transport)
    before = held(office_)
    with (
        squatter(office_, transport),
        office_.untouched(),
        pytest.raises(InvalidError, match=f"listener/{transport}/port: .*:{TAKEN} can't be opened"),
    ):
        office_.commit(there.model_copy(update={"port": TAKEN}), allow=DROPS)
    assert held(office_) >= ports(before), "the former port was closed"
    office_.commit(there.model_copy(update={"port": TAKEN}), allow=DROPS)
    assert TAKEN in {place.port for place in held(office_)}
    office_.commit(there, allow=DROPS)


def test_a_new_listener_on_a_taken_port_is_undone_by_name(office_: Office) -> None:
    new = Listener(id="extra", name="Extra", transport=Transport.TCP, address=office_.system.host.address, port=TAKEN)
    with squatter(office_, "tcp"), office_.untouched(), pytest.raises(InvalidError, match="listener/extra/port"):
        office_.commit(new)


def test_a_listener_can_be_widened_to_every_address(office_: Office) -> None:
    """It is in its own way: at the same port."""
    there = office_.store.document().get(Listener, "tls")
    wide = there.model_copy(update={"address": "0.0.0.0", "media_address": there.address})  # noqa: S104
    office_.commit(wide, allow=DROPS)
    assert Place("tcp", "0.0.0.0", 5061) in held(office_)  # noqa: S104
    office_.commit(there, allow=DROPS)
    assert Place("tcp", there.address, 5061) in held(office_)


@pytest.mark.parametrize("transport", ["udp", "tls", "wss"])
def test_a_port_that_is_taken_while_the_commit_is_under_way_is_named_and_the_former_one_opened_again(
    office_: Office, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    there = office_.store.document().get(Listener, transport)
    before = held(office_)
    with monkeypatch.context() as late, squatter(office_, transport), office_.untouched():
        late.setattr(admission, "openable", lambda *_: None)
        with pytest.raises(ApplyError, match=f"listener/{transport}/port: .*:{TAKEN} can't be opened"):
            office_.commit(there.model_copy(update={"port": TAKEN}), allow=DROPS)
    office_.tend_until_verified()
    assert held(office_) >= ports(before)


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_listener_of_an_undone_commit_does_not_stay_open(
    office_: Office, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    """The engine closes it only when it is started anew, which is done as soon as no call is up."""

    def refuse(_: int) -> None:
        raise UnavailableError("the database is busy", error_id="database_busy")

    new = Listener(id="extra", name="Extra", transport=transport, address=office_.system.host.address, port=TAKEN)
    monkeypatch.setattr(office_.store, "promote", refuse)
    with office_.untouched(), pytest.raises(ApplyError, match=rf"still listens at \w+ .*:{TAKEN}: restart it"):
        office_.commit(new)
    monkeypatch.undo()
    assert office_.service.state()["verified"] is False
    run = office_.service.applier.link.run
    monkeypatch.setattr(type(office_.service.applier.link), "idle", False)
    with contextlib.suppress(CentralinoError):
        office_.upkeep.tend()
    assert office_.service.applier.link.run == run, "a call would have been dropped"
    assert f":{TAKEN}" in office_.service.state()["last_error"]["message"]
    monkeypatch.undo()
    office_.upkeep._ask_again = 0
    office_.tend_until_verified()
    assert TAKEN not in {place.port for place in held(office_)}


def bound(sock: socket.socket, place: Place) -> bool:
    """Bind a socket there, unless somebody else still is."""
    try:
        sock.bind((place.address, place.port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def test_a_port_that_the_engine_lost_is_seen_by_the_full_check(office_: Office, tmp_path: Path) -> None:
    """Another program was faster when the engine started."""
    engine = office_.system.engine
    assert engine is not None
    engine.kill()
    with office_.system.host.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place = Place("tcp", office_.system.host.address, 5061)
        eventually(lambda: bound(other, place), "the engine that was killed has let go of its port", 20)
        other.listen()
        office_.system.start_engine()
        with contextlib.suppress(CentralinoError):
            office_.upkeep.tend()
        assert any("listener/tls/port" in each for each in office_.service.check())
        run = office_.service.applier.link.run
        office_.upkeep._ask_again = 0
        with contextlib.suppress(CentralinoError):
            office_.upkeep.tend()
        assert office_.service.applier.link.run == run, "a restart can't help while the port is taken"
    office_.upkeep._ask_again = 0
    office_.tend_until_verified()


def test_what_can_be_opened_is_open_when_the_commit_returns(office_: Office) -> None:
    new = Listener(id="extra", name="Extra", transport=Transport.UDP, address=office_.system.host.address, port=TAKEN)
    office_.service.apply(office_.propose(new), Options())
    assert Place("udp", office_.system.host.address, TAKEN) in held(office_)
    office_.commit(remove=(("listener", "extra"),), allow=("needs_restart",))
    assert Place("udp", office_.system.host.address, TAKEN) not in held(office_)
