"""Slices signed by the centre, and opened by an edge against the root alone: no clock is trusted (see :mod:`appliance.vpn.pki.signing`)."""

from __future__ import annotations

from cryptography import x509

from appliance.vpn.pki.signing import Purpose, Signer, verified
from appliance.vpn.slices.formats import NEWEST, read, write
from appliance.vpn.slices.model import Slice


def signed(slice: Slice, signer: Signer, format: int = NEWEST) -> bytes:
    """As it is given to an edge. :raises RefusedError: ``edge_too_old``, ``edge_too_new``."""
    return signer.sign(Purpose.SLICE, write(slice, format))


def opened(content: bytes, root: x509.Certificate) -> Slice:
    """The slice that this authority signed.

    :raises InvalidError: ``bad_signature``, ``bad_slice``, ``slice_format``.
    """
    return read(verified(content, Purpose.SLICE, root))
