"""The client of OpenVPN's management interface, over real Unix sockets; against the real one: tests/hil."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from appliance.core.errors import InvalidError, UnavailableError
from appliance.engine.openvpn_management import CommandRefusedError, Management, management_lines
from appliance.engine.openvpn_messages import ByteCount, ClientStep, State
from appliance.engine.openvpn_status import Missed, Snapshot, Standing, Traffic
from tests.hil.agents.openvpn_replay import OpenVpnReplay, status
from tests.unit.engine.openvpn_conversation import conversing, impatient, standing_of, taken
from tests.unit.hub.loops import until


def test_what_it_asks_and_what_it_knows() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        assert daemon.commands == ["version", "pid", "state on", "state", "bytecount 1", "status 3"]
        snapshot = management.snapshot
        assert snapshot is not None
        assert snapshot.pid == 4711
        assert snapshot.version.interface == 5
        assert snapshot.state is not None
        assert snapshot.state.name == "CONNECTED"
        assert sorted(client.common_name for client in snapshot.clients) == ["milan", "rome"]
        assert management.standing.kind == "up"
        assert management.standing.alarm == ""
        assert await management.traffic() == Traffic(2, 29286, 7535)
        assert (await management.version()).program.startswith("OpenVPN 2.6.14")
        state = await management.state()
        assert state is not None
        assert state.address4 == "10.99.0.1"

    conversing(work)


def test_many_readers_at_once_with_events_in_between() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        before = len(daemon.commands)
        asked = [asyncio.create_task(management.traffic()) for _ in range(20)]
        read = [asyncio.create_task(management.clients()) for _ in range(50)]
        for number in range(50):
            daemon.send(f">BYTECOUNT_CLI:0,{number},2")
            await asyncio.sleep(0)
        assert {each.clients for each in await asyncio.gather(*asked)} == {2}
        assert {len(each) for each in await asyncio.gather(*read)} == {2}
        # 50 readers cost two or three readings of the status, not 50.
        assert daemon.commands[before:].count("status 3") <= 3

    conversing(work)


def test_a_reader_gets_what_is_true_after_its_question() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        early = asyncio.create_task(management.clients())
        await until(lambda: daemon.commands[-1] == "status 3", "the first reading has begun")
        daemon.answers["status 3"] = status(0)
        late = await management.clients()
        await early
        assert late == ()

    conversing(work)


def test_whoever_gives_up_takes_nobody_else_s_answer() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with daemon.silence():
            lost = asyncio.create_task(management.version())
            await until(lambda: daemon.commands[-1] == "version", "it was sent")
            lost.cancel()
            await asyncio.gather(lost, return_exceptions=True)
            waiting = asyncio.create_task(management.traffic())
            await asyncio.sleep(0.02)
            daemon.send(*daemon.answers["version"])
        assert await waiting == Traffic(2, 29286, 7535)

    conversing(work)


def test_what_is_given_up_before_its_turn_isn_t_sent() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with daemon.silence():
            first = asyncio.create_task(management.version())
            await until(lambda: daemon.commands[-1] == "version", "it was sent")
            given_up = asyncio.create_task(management.kill(1))
            await asyncio.sleep(0.02)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            daemon.send(*daemon.answers["version"])
        await first
        await management.traffic()
        assert not [sent for sent in daemon.commands if sent.startswith("client-kill")]

    conversing(work)


def test_kill_and_refusals() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        await management.kill(7)
        await management.kill(8, message="HALT")
        assert {"client-kill 7 RESTART", "client-kill 8 HALT"} <= set(daemon.commands)
        daemon.answers["client-kill 9 RESTART"] = ["ERROR: client-kill command failed"]
        with pytest.raises(CommandRefusedError, match="client-kill command failed") as raised:
            await management.kill(9)
        assert raised.value.error_id == "vpn_command_refused"
        milan = next(client for client in await management.clients() if client.common_name == "milan")
        daemon.answers["kill milan"] = ["SUCCESS: common name 'milan' found, 1 client(s) killed"]
        assert await management.kill_common_name("milan") == 1
        assert daemon.commands.index(f"client-kill {milan.cid} RESTART") < daemon.commands.index("kill milan")
        daemon.answers["kill nobody"] = ["ERROR: common name 'nobody' not found"]
        assert await management.kill_common_name("nobody") == 0
        daemon.answers["kill odd"] = ["ERROR: The 'kill' command is not supported by the current daemon mode"]
        with pytest.raises(CommandRefusedError):
            await management.kill_common_name("odd")
        for name in ("milan\nsignal SIGTERM", "192.0.2.1:1194", "", "x" * 128):
            with pytest.raises(InvalidError):
                await management.kill_common_name(name)
        assert "signal SIGTERM" not in daemon.commands
        await management.signal("SIGUSR1")
        assert daemon.commands[-1] == "signal SIGUSR1" or "signal SIGUSR1" in daemon.commands

    conversing(work)


def test_an_event_that_may_have_changed_something_has_the_status_read() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.answers["status 3"] = status(0)
        daemon.send(">CLIENT:ESTABLISHED,9", ">CLIENT:ENV,common_name=x", ">CLIENT:ENV,END")
        await until(lambda: management.snapshot and not management.snapshot.clients, "it was read")
        daemon.answers["status 3"] = status(2)
        daemon.send(">STATE:1795770358,RECONNECTING,SIGUSR1,,,,,")
        await until(lambda: management.snapshot and management.snapshot.clients, "it was read again")
        assert management.snapshot is not None
        assert management.snapshot.state is not None
        assert management.snapshot.state.name == "RECONNECTING"

    conversing(work)


def test_one_event_costs_one_reading() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        before = daemon.commands.count("status 3")
        daemon.send(">CLIENT:ESTABLISHED,9", ">CLIENT:ENV,END")
        await until(lambda: daemon.commands.count("status 3") > before, "it was read")
        for _ in range(30):
            await management.traffic()
            await asyncio.sleep(0.005)
        assert daemon.commands.count("status 3") == before + 1

    with impatient():
        conversing(work)


def test_the_status_is_read_without_events_too() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.answers["status 3"] = status(0)
        await until(lambda: management.snapshot and not management.snapshot.clients, "it was read", 2)

    conversing(work, refresh_s=0.02)


def test_a_slow_subscriber_loses_its_oldest_and_is_told_and_holds_up_nobody() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with management.subscribe(size=3) as slow, management.subscribe() as quick:
            assert [type(item) for item in await taken(quick, 2)] == [Standing, Snapshot]
            daemon.send(*(f">BYTECOUNT_CLI:0,{number},0" for number in range(100)))
            assert await taken(quick, 100) == [ByteCount(0, number, 0) for number in range(100)]
            assert (await management.traffic()).clients == 2
            assert await taken(slow, 4) == [Missed(99), *(ByteCount(0, number, 0) for number in (97, 98, 99))]
            daemon.send(">BYTECOUNT_CLI:1,1,1")
            assert await taken(slow, 1) == [ByteCount(1, 1, 1)]
        assert not management._subscriptions
        assert [item async for item in quick][-1:] == [ByteCount(1, 1, 1)]

    conversing(work)


def test_it_comes_back_and_knows_nothing_meanwhile() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with management.subscribe() as subscription:
            for number in range(3):
                await daemon.die()
                await until(standing_of("gone", management), "the loss is noticed")
                assert management.snapshot is None
                with pytest.raises(UnavailableError) as raised:
                    await management.clients()
                assert raised.value.error_id == "vpn_management_gone"
                assert "management interface at" in management.standing.alarm
                daemon.answers["pid"] = [f"SUCCESS: pid={number}"]
                await daemon.listen()
                await management.up(5)
                await until(lambda: management.snapshot, "the status is read")
                assert management.snapshot is not None
                assert management.snapshot.pid == number
            subscription.close()
            kinds = [item.kind async for item in subscription if isinstance(item, Standing)]
            assert [kind for kind, _ in itertools.groupby(kinds)] == ["up", "gone"] * 3 + ["up"]

    with impatient():
        conversing(work)


def test_who_waits_for_an_answer_hears_of_the_loss() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with daemon.silence():
            waiting = [asyncio.create_task(management.version()), asyncio.create_task(management.traffic())]
            await until(lambda: daemon.commands[-1] == "version", "it was sent")
            daemon.hang_up()
            for each in waiting:
                with pytest.raises(UnavailableError, match=r"hung up|reset"):
                    await each
        await management.up(5)

    conversing(work)


def test_the_last_words_of_a_daemon_are_the_reason() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with management.subscribe() as subscription:
            daemon.send(">FATAL:Cannot open TUN/TAP dev /dev/net/tun: No such device")
            await until(lambda: subscription._waiting and len(subscription._waiting) > 2, "it was heard")
            await daemon.die()
            await until(lambda: management.standing.kind == "gone", "the loss is noticed")
            gone = next(item for item in subscription._waiting if isinstance(item, Standing) and item.error)
            assert gone.alarm.endswith("Cannot open TUN/TAP dev /dev/net/tun: No such device")
            await asyncio.sleep(0.1)  # attempts to connect don't hide them
            assert management.standing.alarm == gone.alarm
            await daemon.listen()
            await management.up(5)
            await daemon.die()
            await until(lambda: management.standing.kind == "gone", "it is gone again")
            assert "TUN" not in management.standing.alarm

    conversing(work)


def test_a_daemon_that_waits_to_be_released() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        daemon.greeting += b">HOLD:Waiting for hold release:0\r\n"
        daemon.answers["status 3"] = ["ERROR: The 'status' command is not supported by the current daemon mode"]
        daemon.hang_up()
        await until(lambda: management.standing.kind == "held", "it waits")
        assert "waits to be released" in management.standing.alarm
        assert await management.clients() == ()
        daemon.answers["status 3"] = status(2)
        await management.release_hold()
        assert "hold release" in daemon.commands
        daemon.send(">STATE:1795770367,CONNECTED,SUCCESS,10.99.0.1,,,,,")
        await until(lambda: management.standing.kind == "up", "it goes on")

    conversing(work)


# What the daemon's configuration needs


def test_lines_of_the_configuration() -> None:
    lines = management_lines(Path("/run/centralino/vpn/udp-1.sock"), "centralino-hub", "centralino")
    assert lines[:3] == [
        "management /run/centralino/vpn/udp-1.sock unix",
        "management-client-user centralino-hub",
        "management-client-group centralino",
    ]
    names = {line.split()[0] for line in lines}
    assert not names & {"management-client", "management-hold", "management-signal", "management-client-auth"}
    assert management_lines(Path('/run/a b"c'), "u", "g")[0] == 'management "/run/a b\\"c" unix'


@pytest.mark.parametrize(
    ("path", "user", "group", "fault"),
    [
        ("/run/" + "x" * 103, "u", "g", "openvpn/socket"),
        ("relative", "u", "g", "openvpn/socket"),
        ("/run/a\nb", "u", "g", "openvpn/socket"),
        ("/run/a", "", "g", "openvpn/user"),
        ("/run/a", "u\nup /bin/sh", "g", "openvpn/user"),
        ("/run/a", "u", "g h", "openvpn/group"),
    ],
)
def test_what_a_configuration_can_t_hold(path: str, user: str, group: str, fault: str) -> None:
    with pytest.raises(InvalidError) as raised:
        management_lines(Path(path), user, group)
    assert [each.path for each in raised.value.faults] == [fault]
    assert raised.value.error_id == "vpn_management_socket"


def test_a_path_that_no_socket_can_have() -> None:
    with pytest.raises(InvalidError):
        Management(Path("/run/" + "x" * 103))


def test_events_are_typed() -> None:
    async def work(daemon: OpenVpnReplay, management: Management) -> None:
        with management.subscribe() as subscription:
            await taken(subscription, 2)
            daemon.send(">STATE:1,EXITING,SIGTERM,,,,,", ">CLIENT:DISCONNECT,1", ">CLIENT:ENV,END")
            state, step = await taken(subscription, 2)
            assert state == State(1, "EXITING", "SIGTERM")
            assert step == ClientStep("DISCONNECT", 1)

    conversing(work)
