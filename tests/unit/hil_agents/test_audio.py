"""The judge of all audio tests, judged: known tones, holes and codecs must give known reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.hil.agents.audio import Samples, analyse, decode_g711, encode_g711, read_wav, silence, tone, write_wav


def with_gap(ms: float, hz: float = 440, rate: int = 8000) -> Samples:
    samples = tone(hz, 2.0, rate)
    samples[rate : rate + round(ms * rate / 1000)] = 0
    return samples


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("hz", [311, 440, 1004, 2900])
def test_a_clean_tone_is_perfect(hz: int, rate: int) -> None:
    report = analyse(tone(hz, 2.0, rate), rate, hz)
    assert report.good()
    assert report.gaps_ms == []
    assert report.fraction_of_time_present == pytest.approx(1, abs=0.02)
    assert report.dominant_hz == pytest.approx(hz, abs=1)
    assert report.purity > 0.99


@pytest.mark.parametrize("ms", [20, 60, 100, 250])
def test_a_gap_is_found_and_measured(ms: int) -> None:
    report = analyse(with_gap(ms), 8000, 440)
    assert report.gaps_ms == [pytest.approx(ms, abs=6)]
    assert report.good(longest_gap_ms=ms - 10) is False


def test_every_gap_is_listed() -> None:
    samples = tone(600, 3.0)
    for at, ms in ((4000, 40), (9000, 100), (15000, 60)):
        samples[at : at + ms * 8] = 0
    assert analyse(samples, 8000, 600).gaps_ms == [pytest.approx(ms, abs=6) for ms in (40, 100, 60)]


def test_another_tone_is_not_this_tone() -> None:
    report = analyse(tone(540, 2.0), 8000, 440)
    assert report.fraction_of_time_present == 0
    assert report.dominant_hz == pytest.approx(540, abs=1)
    assert report.purity < 0.2
    assert not report.good()


def test_a_gap_filled_with_another_tone_is_a_gap() -> None:
    samples = tone(440, 2.0)
    samples[8000:9600] = tone(800, 0.2)
    assert analyse(samples, 8000, 440).gaps_ms == [pytest.approx(200, abs=10)]


def test_silence_and_nothing_hold_no_tone() -> None:
    for samples in (silence(2), np.zeros(0), silence(0.001)):
        report = analyse(samples, 8000, 440, expected_ms=2000)
        assert not report.good()
        assert report.fraction_of_time_present == 0
        assert report.longest_gap_ms == 2000
        assert report.dominant_hz == 0


def test_silence_at_both_ends_is_late_and_missing_but_no_gap() -> None:
    report = analyse(np.concatenate([silence(0.3), tone(440, 1.0), silence(0.2)]), 8000, 440)
    assert report.gaps_ms == []
    assert report.late_ms == pytest.approx(300, abs=10)
    assert report.missing_ms == pytest.approx(200, abs=15)
    assert report.heard_ms == pytest.approx(1000, abs=20)


def test_a_stream_that_died_is_not_perfect() -> None:
    report = analyse(tone(440, 1.0), 8000, 440, expected_ms=3000)
    assert report.fraction_of_time_present == pytest.approx(1 / 3, abs=0.02)
    assert report.missing_ms == pytest.approx(2000, abs=10)
    assert not report.good()


def test_noise_under_the_tone_lowers_purity_only() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 16000)
    report = analyse(tone(440, 2.0) + noise, 8000, 440)
    assert report.gaps_ms == []
    assert 0.8 < report.purity < 0.99
    assert analyse(noise, 8000, 440).fraction_of_time_present < 0.1


@pytest.mark.parametrize("law", ["a", "u"])
def test_g711_keeps_the_tone(law: str) -> None:
    report = analyse(decode_g711(encode_g711(with_gap(60), law), law), 8000, 440)
    assert report.purity > 0.95
    assert report.gaps_ms == [pytest.approx(60, abs=6)]


def test_g711_tables_match_the_standard() -> None:
    assert decode_g711(b"\xd5\x55", "a").tolist() == [8 / 32768, -8 / 32768]
    assert decode_g711(b"\xaa\x2a", "a").tolist() == [32256 / 32768, -32256 / 32768]
    assert decode_g711(b"\xff\x7f\x80\x00", "u").tolist() == [0, 0, 32124 / 32768, -32124 / 32768]
    every = bytes(range(256))
    assert encode_g711(decode_g711(every, "a"), "a") == every


def test_wav_round_trip_and_unfinished_file(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tone.wav", tone(440, 0.5, 16000), 16000)
    samples, rate = read_wav(path)
    assert (len(samples), rate) == (8000, 16000)
    assert np.abs(samples - tone(440, 0.5, 16000)).max() < 1e-4
    raw = bytearray(path.read_bytes())
    raw[40:44] = bytes(4)  # the recorder hasn't closed it
    path.write_bytes(raw[:-101])
    assert len(read_wav(path)[0]) == 8000 - 51
    path.write_bytes(raw[:20])
    assert len(read_wav(path)[0]) == 0
