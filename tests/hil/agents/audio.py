"""Tones: made for one end of a call, looked for at the other. Pure functions on samples, plus reading and writing WAV.

Each agent plays its own frequency. Whether a recording holds the other's tone, for how much of the time and with which
holes, is decided with the Goertzel algorithm on windows of 20 ms, every 5 ms. Speech codecs keep a steady tone well
enough (measured on G.711, G.722 and Opus: purity over 0.95). Use 300–3,000 Hz and keep tones 100 Hz or more apart.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]  # -1…1
WINDOW_MS, HOP_MS = 20, 5
FLOOR = 10 ** (-50 / 20)  # amplitude under which it is silence: -50 dBFS
PURE = 0.5  # share of a window's energy that must be the tone


@dataclass(frozen=True)
class ToneReport:
    """What one recording holds of one tone. All times in ms."""

    hz: float
    expected_ms: float
    heard_ms: float
    fraction_of_time_present: float  # heard_ms ÷ expected_ms, at most 1
    gaps_ms: list[float] = field(default_factory=list)  # holes between first and last presence, over 5 ms
    late_ms: float = 0.0  # from the start to the first presence
    missing_ms: float = 0.0  # from the last presence to the expected end
    dominant_hz: float = 0.0  # strongest frequency of the whole recording; 0 = silence
    purity: float = 0.0  # share of the energy that is the tone, in windows that aren't silent

    @property
    def longest_gap_ms(self) -> float:
        """The longest hole, counting the time before the tone came and after it went."""
        return max([*self.gaps_ms, self.late_ms, self.missing_ms])

    def good(self, longest_gap_ms: float = 60, present: float = 0.9, purity: float = 0.8) -> bool:
        """Clear tone without a gap over the limit, most of the expected time."""
        return (
            self.longest_gap_ms <= longest_gap_ms
            and self.fraction_of_time_present >= present
            and self.purity >= purity
            and abs(self.dominant_hz - self.hz) < 25
        )


def tone(hz: float, seconds: float, rate: int = 8000, amplitude: float = 0.3) -> Samples:
    """A sine of `hz` at `rate` samples/s."""
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def silence(seconds: float, rate: int = 8000) -> Samples:
    return np.zeros(round(seconds * rate))


def analyse(samples: Samples, rate: int, hz: float, expected_ms: float | None = None) -> ToneReport:
    """Look for the tone `hz` in `samples`.

    `expected_ms` is how long the tone should have been there, by the clock of the test: a stream that died leaves a
    short recording, which is no perfect one. Without it the recording's own length counts.
    """
    length_ms = 1000 * len(samples) / rate
    expected = length_ms if expected_ms is None else expected_ms
    amplitude, share, level = _windows(samples, rate, hz)
    loud = level > FLOOR
    heard = loud & (share > PURE) & (amplitude > FLOOR)
    if heard.any():
        heard &= amplitude > np.percentile(amplitude[heard], 90) / 2  # half of it is gone: the hole begins
    purity = float(share[loud].mean()) if loud.any() else 0.0
    dominant = _dominant(samples, rate)
    if not heard.any():
        return ToneReport(
            hz, expected, 0.0, 0.0, late_ms=expected, missing_ms=expected, dominant_hz=dominant, purity=purity
        )
    places = np.flatnonzero(heard)
    first, last = int(places[0]), int(places[-1])
    gaps = [float(run * HOP_MS) for run in _runs(~heard[first : last + 1]) if run > 1]
    # A window counts while the tone fills half of it, so the tone's edge is at the window's middle; the outermost
    # windows have no neighbour that could say so, there it is the recording's own edge.
    late = first * HOP_MS + WINDOW_MS / 2 if first else 0.0
    end = last * HOP_MS + WINDOW_MS / 2 if last < len(heard) - 1 else length_ms
    heard_ms = end - late - sum(gaps)
    missing = max(0.0, expected - end)
    fraction = min(1.0, heard_ms / expected) if expected else 0.0
    return ToneReport(hz, expected, heard_ms, fraction, gaps, late, missing, dominant, purity)


def _windows(samples: Samples, rate: int, hz: float) -> tuple[Samples, Samples, Samples]:
    """Per window: the tone's amplitude, its share of the energy, and the amplitude of a sine of the same energy."""
    size, hop = rate * WINDOW_MS // 1000, rate * HOP_MS // 1000
    if len(samples) < size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    phase = 2 * np.pi * hz * np.arange(size) / rate
    # One Goertzel bin of every window at once: least squares on sine and cosine, exact also between FFT bins.
    basis = np.stack([np.cos(phase), np.sin(phase)])
    fit = np.linalg.lstsq(basis.T, windows.T, rcond=None)[0]
    amplitude = np.hypot(fit[0], fit[1])
    energy = np.einsum("ij,ij->i", windows, windows)
    tone_energy = np.einsum("ij,ij->j", fit, basis @ windows.T)
    share = np.divide(tone_energy, energy, out=np.zeros_like(energy), where=energy > 0)
    return amplitude, np.clip(share, 0, 1), np.sqrt(2 * energy / size)


def _dominant(samples: Samples, rate: int) -> float:
    """The strongest frequency in Hz (DC left out), 0 in silence."""
    if len(samples) < rate // 50 or np.sqrt(2 * np.mean(samples**2)) < FLOOR / 10:
        return 0.0
    size = 1 << (len(samples) - 1).bit_length()  # a length with a large prime factor takes a hundred times as long
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    spectrum[frequencies < 50] = 0
    return float(frequencies[int(np.argmax(spectrum))])


def _runs(flags: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [int(end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def write_wav(path: Path, samples: Samples, rate: int = 8000) -> Path:
    """Write 16-bit mono PCM."""
    data = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def read_wav(path: Path) -> tuple[Samples, int]:
    """Samples (first channel) and rate of a 16-bit PCM WAV, also one that is still being written.

    A recorder fills in the sizes of the header when it closes the file; until then the data runs to the end of it.
    """
    raw = path.read_bytes()
    channels, rate, at = 1, 8000, 12
    while at + 8 <= len(raw):
        name, size = raw[at : at + 4], struct.unpack_from("<I", raw, at + 4)[0]
        at += 8
        if name == b"fmt " and at + 16 <= len(raw):
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", raw, at)
            if kind not in (1, 0xFFFE) or bits != 16:
                raise ValueError(f"{path}: format {kind} with {bits} bits, only 16-bit PCM is read here")
        if name == b"data":
            data = raw[at:]  # nothing follows the data in the files of our recorders
            usable = len(data) // (2 * channels) * 2 * channels
            return np.frombuffer(data[:usable], "<i2").reshape(-1, channels)[:, 0] / 32768, rate
        at += size + size % 2
    return np.zeros(0), rate


def decode_g711(payload: bytes, law: str) -> Samples:
    """G.711 A-law (`a`) or µ-law (`u`) to samples (ITU-T G.711)."""
    return (_ALAW if law == "a" else _ULAW)[np.frombuffer(payload, np.uint8)]


def encode_g711(samples: Samples, law: str) -> bytes:
    """The nearest G.711 code of every sample. Slow and exact, enough for tests."""
    table = _ALAW if law == "a" else _ULAW
    order = np.argsort(table, kind="stable")
    levels = table[order]
    at = np.clip(np.searchsorted(levels, samples), 1, len(levels) - 1)
    nearest = np.where(samples - levels[at - 1] < levels[at] - samples, at - 1, at)
    return order[nearest].astype(np.uint8).tobytes()


def _alaw_table() -> Samples:
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    value = np.where(exponent == 0, mantissa * 16 + 8, (mantissa * 16 + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value) / 32768


def _ulaw_table() -> Samples:
    code = ~np.arange(256) & 0xFF
    value = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -value, value) / 32768


_ALAW, _ULAW = _alaw_table(), _ulaw_table()
