"""Packets logged by nftables: what a real kernel sent, and what one never would."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.nflog import Logged, configuration, parse
from appliance.firewall.bans.packets import TCP, UDP, packet, request

RECORDED: Final = (
    "c-nJdWME)mVSocB1_o9R21W)D=40Su$jQ&oPEFBGECI@KKol|y09g!d3=H#9Y-c<HGx-"
    "^S%7L^X15gu#5Q6}N(BpKgS$q%`KqU+!49sBjvpLH?fElcUAx9WE8C)3{4jkX-"
    "z~CS#`{|f*3O5jQtve`ugkepnm485pr@vpYLUCq+m7#%wgQ2B`o~fZ8kO{;J!JYy7MtTOkTw$4sRxqA^s7ru?p^>>BP>G(Qm8pT5"
    "fpt<*VqS8FZIxw)yGfF_t|2d%TTy<lm4Xt`+_KE%%>2?~B^$UMdSGa0U6Pn?3sf3foLZ#on4X$fVx^E)l$n~Bl2fT$oSc}Kms-"
    "Tj#mi-bC;Yg9;g_6~U!0mk^{|T=4q-QkVL-wzNf8ouvd8y>!cJ}qBJ3DC88}0xR{)i5L30}y)NO5dspGb`yV%^Ou)q@Nwge8XM-"
    "04z4hoFCJ3xT~1%haNffJ2_HyL=Nw`Qc~<m3YdXc3<O!2n-)YHKS)!c%^h4k$dm4WQxq|ISTdcyfpKm1pDw^)Wzo!T~D)?MvHw"
)
"""One ``recv``: a request of a scanner (looked at, then dropped), a datagram to UDP port 137, one by IPv6, a broadcast. Compressed."""


def recorded() -> bytes:
    return zlib.decompress(base64.b85decode("".join(RECORDED)))


def test_what_a_kernel_sent_is_understood() -> None:
    found = list(parse(recorded()))
    assert [(one.prefix, one.to_group) for one in found] == [
        ("looked-at", False),
        *[("closed", False)] * 3,
        ("closed", True),
    ]
    seen = [packet(one.packet) for one in found]
    assert [(str(one.source), one.protocol, one.port) for one in seen if one] == [
        ("198.51.100.11", UDP, 5060),
        ("198.51.100.11", UDP, 5060),
        ("198.51.100.11", UDP, 137),
        ("2001:db8:2::11", UDP, 4569),
        ("198.51.100.11", UDP, 137),
    ]
    assert seen[3] is not None
    assert seen[3].payload == b"hello"
    assert seen[0] is not None
    asked = request(seen[0].payload)
    assert asked is not None
    assert (asked.method, asked.agent, asked.tool) == ("OPTIONS", "friendly-scanner", True)


def test_cut_off_anywhere_it_gives_what_is_whole() -> None:
    whole = list(parse(recorded()))
    for length in range(len(recorded())):
        found = list(parse(recorded()[:length]))
        assert found == whole[: len(found)]
        for one in found:
            for cut in (1, 20, 27, 28, 40, 47, len(one.packet) - 1):
                packet(one.packet[:cut])


@given(st.binary(max_size=300))
def test_garbage_harms_nobody(data: bytes) -> None:
    assert all(isinstance(one, Logged) for one in parse(data))
    packet(data)
    request(data)


@given(st.binary(max_size=80), st.sampled_from((0x45, 0x4F, 0x40, 0x60)))
def test_a_garbled_packet_harms_nobody(data: bytes, first: int) -> None:
    packet(bytes([first]) + data)


def test_a_group_is_asked_for_as_the_kernel_reads_it() -> None:
    said = configuration(5, 1, b"\x01")
    assert struct.unpack_from("=IHHII", said) == (28, 0x401, 5, 0, 0)
    assert said[16:] == bytes([0, 0, 0, 5]) + struct.pack("=HH", 5, 1) + b"\x01\0\0\0"


def four(protocol: int, rest: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    head = 0x40 | 5 + len(options) // 4
    return (
        struct.pack("!BBHHHBBH", head, 0, 0, 0, fragment, 64, protocol, 0)
        + bytes([203, 0, 113, 7, 198, 51, 100, 10])
        + options
        + rest
    )


@pytest.mark.parametrize(("flags", "opens"), [(0x02, True), (0x12, False), (0x10, False), (0x04, False), (0xC2, True)])
def test_of_tcp_only_what_opens_a_connection_counts(flags: int, opens: bool) -> None:
    found = packet(four(TCP, struct.pack("!HHIIBBHHH", 4000, 22, 1, 0, 0x50, flags, 0, 0, 0), options=b"\x01" * 4))
    assert found is not None
    assert (found.port, found.opens) == (22, opens)


def test_later_fragments_and_other_protocols_say_nothing() -> None:
    datagram = struct.pack("!HHHH", 4000, 5060, 8, 0)
    assert packet(four(UDP, datagram)) is not None
    assert packet(four(UDP, datagram, fragment=100)) is None
    assert packet(four(1, datagram)) is None


def test_ipv6_headers_before_udp_are_skipped() -> None:
    datagram = struct.pack("!HHHH", 4000, 5060, 8, 0)
    base = struct.pack("!IHBB", 0x60000000, 0, 0, 64) + bytes(32)
    hop, fragment = bytes([44, 0]) + bytes(6), bytes([UDP, 0, 0, 1]) + bytes(4)
    found = packet(base + hop + fragment + datagram)
    assert found is not None
    assert found.port == 5060
    assert packet(base + hop + bytes([UDP, 0, 0, 9]) + bytes(4) + datagram) is None
