"""The centre's service within the tunnels, over real TLS on loopback: who is asked, who is answered, and what garbage does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.clock import Moment, system_clock
from appliance.core.errors import CentralinoError, InvalidError
from appliance.edge.centre import NO_CHECK_TIME, Centre
from appliance.edge.identity import RENEWAL, Identity
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State, Trial
from appliance.paths import VpnPaths
from appliance.vpn.inside import http
from appliance.vpn.inside.events import Events
from appliance.vpn.inside.http import Server, tls
from appliance.vpn.inside.reports import Report, Reports, Standing, Way, read
from appliance.vpn.inside.service import Inside
from appliance.vpn.pki import Authority, Purpose, certificates, verified
from appliance.vpn.slices import Slice, Slices, signed
from tests.unit.edge.slices import a_slice


class Given(Slices):
    """Slices that the test sets."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.now: dict[str, Slice] = {}

    def of(self, site: str) -> Slice:
        return self.now[site] if site in self.now else super().of(site)


@dataclass
class Place:
    """A centre, and where it listens."""

    authority: Authority
    slices: Given
    reports: Reports
    events: Events
    inside: Inside
    server: Server
    port: int
    skew: list[timedelta]
    bans: dict[str, bytes]

    def edge(self, directory: Path, site: str = "milan") -> Identity:
        identity = Identity(EdgePaths(directory))
        granted = self.authority.enrol(site, identity.prepare())
        slice = a_slice(site, inside=["127.0.0.1"], inside_port=self.port)
        self.slices.now.setdefault(site, slice)
        identity.install(granted.chain, granted.root, granted.tls_crypt_key, signed(slice, self.authority.signer()))
        return identity


@asynccontextmanager
async def centre(tmp_path: Path, skew_by: timedelta = timedelta()) -> AsyncIterator[Place]:
    """``skew_by``: how far off its clock is at first."""
    skew = [skew_by]

    def clock() -> Moment:
        now = system_clock()
        return replace(now, wall=now.wall + int(skew[0].total_seconds() * 1000))

    authority = Authority(VpnPaths(tmp_path / "vpn"), clock)
    authority.create()
    slices, reports, bans = Given(), Reports(tmp_path / "reports"), dict[str, bytes]()
    events = Events(tmp_path / "events")
    inside = Inside(authority, slices, reports, events, bans.get)
    paths = authority.paths
    server = Server(tls(str(paths.root_certificate), str(paths.server)), inside.answer)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.listen("here", listener)
    try:
        yield Place(authority, slices, reports, events, inside, server, listener.getsockname()[1], skew, bans)
    finally:
        await server.close()
        inside.close()


def run(tmp_path: Path, test: Callable[[Place], Awaitable[None]]) -> None:
    async def inner() -> None:
        async with centre(tmp_path) as place:
            await test(place)

    asyncio.run(inner())


def current(identity: Identity) -> State:
    state = identity.current
    assert state is not None
    return state


@contextmanager
def refused(error_id: str) -> Iterator[None]:
    with pytest.raises(CentralinoError) as told:
        yield
    assert told.value.error_id == error_id, told.value


def test_an_edge_gets_its_own_slice_waits_for_the_next_and_tells_how_it_stands(tmp_path: Path) -> None:
    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        async with Centre(state) as asked:
            assert await asked.slice(state.slice.digest, 0) is None
            waiting = asyncio.create_task(asked.slice(state.slice.digest, 30))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            place.slices.now["milan"] = a_slice(networks=["10.9.0.0/24"])
            content = await waiting
            assert time.monotonic() - began < 3
            assert content is not None
            assert json.loads(content).keys() == {"signed", "signature", "certificate"}
            report = Report(digest=state.slice.digest, revision=7, standing=Standing.CONFIRMED, way=Way(host="vpn.example.com", port=1194))  # fmt: skip
            await asked.report(report)
            known = place.reports.of("milan")
            assert known is not None
            assert (known["standing"], known["revision"], known["way"]["host"]) == ("confirmed", 7, "vpn.example.com")
            assert list(known["ways"]) == ["vpn.example.com 1194"]
            await asked.report(
                report.model_copy(update={"standing": Standing.ROLLED_BACK, "why": "nobody", "way": None})
            )
            again = Reports(tmp_path / "reports").of("milan")
            assert again is not None
            assert (again["standing"], list(again["ways"])) == ("rolled_back", ["vpn.example.com 1194"])
            place.slices.now.clear()
            with refused("no_configuration"):
                await asked.slice("", 0)

    run(tmp_path, test)


def test_time_and_bans_are_signed_and_a_clock_that_cant_be_right_tells_nobody(tmp_path: Path) -> None:
    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        async with Centre(state) as asked:
            assert abs(await asked.time() - 1000 * time.time()) < 5000
            assert await asked.bans("") is None
            place.bans["milan"] = b'["192.0.2.66"]'
            assert await asked.bans("") == b'["192.0.2.66"]'
            place.skew[0] = timedelta(days=-400)
            with refused("clock_wrong"):
                await asked.time()
            assert await asked.slice(state.slice.digest, 0) is None, "all else goes on"
            assert await asked.bans("x") == b'["192.0.2.66"]'
            signer = place.authority.signer()
            with pytest.raises(InvalidError):
                verified(signer.sign(Purpose.BANS, b"1"), Purpose.TIME, state.root)

    run(tmp_path, test)


def test_a_renewed_certificate_ends_the_former_when_it_is_first_used(tmp_path: Path) -> None:
    async def test(place: Place) -> None:
        identity = place.edge(tmp_path / "milan")
        state = current(identity)
        async with Centre(state) as asked:
            with refused("not_due"):
                await asked.renew(identity.prepare(RENEWAL))
            with refused("bad_csr"):
                await asked.renew(b"garbage")
            place.skew[0] = timedelta(days=300)
            chain, tunnel_key = await asked.renew(identity.prepare(RENEWAL))
            fresh = identity.renewed(chain, tunnel_key, Trial(state.name, "boot", 0))
            assert await asked.slice(state.slice.digest, 0) is None, "the former is good until then"
            place.skew[0] = timedelta()
            # OpenSSL judges by the machine's clock: the new one begins in 300 days. What decides here is ours.
            place.skew[0] = timedelta(days=300)
            place.inside._looked = 0.0
            who = await place.inside._who(certificates.hexadecimal(fresh.certificate.serial_number))
            assert who is not None
            assert who.name == certificates.name_of(fresh.certificate)
            await asyncio.sleep(1.1)
            with refused("certificate_over"):
                await asked.slice(state.slice.digest, 0)

    run(tmp_path, test)


def test_revoked_strangers_and_servers_get_nothing(tmp_path: Path) -> None:
    async def test(place: Place) -> None:
        milan, rome = (current(place.edge(tmp_path / site, site)) for site in ("milan", "rome"))
        async with Centre(milan) as asked, Centre(rome) as other:
            assert await asked.slice(milan.slice.digest, 0) is None
            waiting = asyncio.create_task(asked.slice(milan.slice.digest, 9))
            place.authority.revoke_site("milan")
            await asyncio.sleep(1.1)
            for ask in (asked.time, lambda: asked.slice("", 0), lambda: asked.bans(""), lambda: asked.renew(b"")):
                with refused("certificate_over"):
                    await ask()
            with refused("certificate_over"):
                await waiting
            assert await other.slice("", 0) is not None, "the neighbour notices nothing"
        foreign = Authority(VpnPaths(tmp_path / "foreign"))
        foreign.create()
        stranger = Identity(EdgePaths(tmp_path / "stranger"))
        granted = foreign.enrol("milan", stranger.prepare())
        stranger.install(granted.chain, granted.root, granted.tls_crypt_key, signed(milan.slice, foreign.signer()))
        async with Centre(current(stranger)) as nobody:
            with refused("centre_away"):
                await nobody.time()
        for shown in (None, str(place.authority.paths.server), str(place.authority.paths.signer)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(str(place.authority.paths.root_certificate))
            if shown is not None:
                context.load_cert_chain(shown)
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(f"https://127.0.0.1:{place.port}/slice")

    run(tmp_path, test)


async def said(place: Place, state: State, content: bytes, *, end: bool = True) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= NO_CHECK_TIME
    context.load_verify_locations(str(state.root_file))
    context.load_cert_chain(str(state.identity_file))
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port, ssl=context)
    try:
        writer.write(content)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 5)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def test_garbage_and_slow_clients_are_let_go_and_hinder_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.3)

    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        for content, status in (
            (b"garbage\r\n\r\n", b"400"), (b"\x00" * 100 + b"\r\n\r\n", b"400"), (b"GET /x HTTP/1.1\r\n" + b"a: b\r\n" * 9000, b"431"),
            (b"GET /slice?formats=x HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n", b"400"),
            (b"GET /time?nonce=1 HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n", b"400"),
            (b"GET http://[x/slice HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n", b"400"),
            (b"GET /?" + b"&".join(b"a=1" for _ in range(99)) + b" HTTP/1.1\r\nHost: c\r\n\r\n", b"400"),
            (b"GET /nothing HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n", b"404"),
            (b"POST /applied HTTP/1.1\r\nHost: c\r\nContent-Length: 99999\r\n\r\n" + b"x" * 99999, b"413"),
            (b"POST /applied HTTP/1.1\r\nHost: c\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", b"400"),
            (b"GET /slice?formats=9 HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n", b"409"),
            (b"GET /slice HTTP/1.1\r\nHos", b""),  # and then nothing
        ):  # fmt: skip
            answer = await said(place, state, content)
            assert answer[9:12] == status, (content[:60], answer[:200])
        # Somebody without TLS, and many that say nothing.
        idle = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(50)]
        idle[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        async with Centre(state) as asked:
            assert await asked.slice(state.slice.digest, 0) is None
        for each in idle:
            each.close()

    run(tmp_path, test)


def test_one_edge_has_a_few_connections_at_most(tmp_path: Path) -> None:
    async def test(place: Place) -> None:
        state = current(place.edge(tmp_path / "milan"))
        rome = current(place.edge(tmp_path / "rome", "rome"))
        waiting = [Centre(state) for _ in range(http.EACH_MAX)]
        tasks = [asyncio.create_task(each.slice(state.slice.digest, 3)) for each in waiting]
        await asyncio.sleep(0.3)
        async with Centre(state) as more, Centre(rome) as other:
            with refused("centre_away"):
                await more.time()
            assert await other.slice(rome.slice.digest, 0) is None
        assert await asyncio.gather(*tasks) == [None] * http.EACH_MAX
        for each in waiting:
            await each.__aexit__()

    run(tmp_path, test)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"digest": "x"}', b"[" * 9999])
def test_a_report_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError) as told:
        read(body)
    assert told.value.error_id == "bad_report"


def test_a_report_that_cant_be_written_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(tmp_path / "reports")
    report = Report(digest="0" * 32, revision=1, standing=Standing.CONFIRMED)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("appliance.vpn.inside.reports.files.put", full)
        with pytest.raises(OSError, match="No space"):
            reports.take("milan", "milan.1", report)
    assert reports.of("milan") is None
    reports.take("milan", "milan.1", report)
    assert reports.of("milan") is not None
    written = (tmp_path / "reports" / "milan.json").stat().st_mtime_ns
    reports.take("milan", "milan.1", report)
    assert (tmp_path / "reports" / "milan.json").stat().st_mtime_ns == written, "nothing new: nothing is written"
