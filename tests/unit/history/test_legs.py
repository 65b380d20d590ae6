"""The hangup handler's report, as the real engine writes it."""

from __future__ import annotations

from appliance.history.legs import LegReport, Quality, contexts, leg_ended, read_report

RTCP = "ssrc=1;themssrc=2;lp=3;rxjitter=0.001500;rxcount=276;txjitter=0.000250;txcount=271;rlp=4;rtt=0.020000;rxmes=80;txmes=88"


def test_a_leg_with_media_both_sides_measured() -> None:
    report = read_report(f"SIP 200 OK|{RTCP}|alaw|emergency")
    assert report == LegReport(200, Quality(276, 271, 3, 4, 0.25, 1.5, 20.0), "alaw", "emergency")


def test_without_a_report_of_the_peer_its_side_is_unknown() -> None:
    text = "ssrc=1;themssrc=2;lp=0;rxjitter=0.000000;rxcount=9;txjitter=0.000250;txcount=9;rlp=0;rtt=0.000000;rxmes=0;txmes=0"
    assert read_report(f"Up|{text}|g722|").quality == Quality(9, 9, 0, None, 0.25, None, None)


def test_a_leg_without_media() -> None:
    assert read_report("SIP 486 Busy Here|Down|alaw|") == LegReport(486, None, "alaw", "")
    assert read_report("Ring|Ring|alaw|") == LegReport(0, None, "alaw", "")


def test_more_packets_than_expected_are_no_loss() -> None:
    quality = read_report(f"Up|{RTCP.replace('lp=3', 'lp=4294967295', 1)}|alaw|").quality
    assert quality is not None
    assert quality.lost_received == 0


def test_a_round_trip_below_zero_is_unknown() -> None:
    quality = read_report(f"Up|{RTCP.replace('rtt=0.020000', 'rtt=65535.999771')}|alaw|").quality
    assert quality is not None
    assert quality.round_trip_ms is None
    assert quality.lost_sent == 4


def test_rubbish_is_left_out() -> None:
    for text in ("", "|||", "SIP x|rxcount=a;txcount=1|" + "é" * 50, "SIP 99999 x"):
        assert read_report(text) == LegReport()


def test_the_handler_is_two_steps() -> None:
    assert len(leg_ended()) == 2
    assert [section.name for section in contexts()] == ["leg-ended", "engine-run"]
