"""What the centre answers a request that came through the gate: beside the authority, as root, with no stranger's bytes but these two:
a secret and a CSR, both bounded, both read by parsers that take nothing else.

Killed at any moment, the same secret with the same CSR gets the same certificate when it comes again (:mod:`.waiting` keeps the key before
anything is issued; :meth:`appliance.vpn.pki.Authority.enrol` gives it to that key only). What the site had before stays good until
the new edge has come in by it: :mod:`appliance.vpn.service` sees that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from appliance.applier.checkpoint import checkpoint
from appliance.clock import Clock, system_clock
from appliance.core.errors import CentralinoError, InvalidError
from appliance.vpn.enrolment.codes import secret_in
from appliance.vpn.enrolment.service import now_of
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.enrolment.wire import Answer, Request, Trouble
from appliance.vpn.pki import Authority
from appliance.vpn.pki.certificates import fingerprint
from appliance.vpn.pki.requests import public_key

LET_IN_S: Final = 5.0
POLL_S: Final = 0.05
_log = logging.getLogger("centralino.vpn")


class Said(IntEnum):
    """How a request ended: as HTTP has it."""

    GRANTED = 200
    REFUSED = 403
    TROUBLE = 422


@dataclass(frozen=True, slots=True)
class Answering:
    """``slices``: the signed slice of a site, in one of these formats. ``let_in``: whether the VPN's daemons let in a certificate, by its
    name: an edge that came in sooner would be turned away, and OpenVPN ends at that."""

    invitations: Invitations
    authority: Authority
    slices: Callable[[str, tuple[int, ...]], bytes]
    clock: Clock = system_clock
    let_in: Callable[[str], bool] = lambda _name: True

    def answer(self, request: Request) -> tuple[Said, bytes]:
        """How it ended, and the body. Never raises: to whom nothing is known of, nothing is told."""
        try:
            found = self.invitations.admit(secret_in(request.secret))
        except InvalidError:
            return Said.REFUSED, b""
        except CentralinoError as error:
            _log.error("enrolment: %s (%s)", error.message, error.hint)
            return Said.REFUSED, b""
        if found is None:
            return Said.REFUSED, b""
        key = ""
        try:
            key = fingerprint(public_key(request.csr))
            if not self.invitations.bind(found, key):
                return Said.REFUSED, b""
            slice = self.slices(found.site, request.formats)
            granted = self.authority.enrol(found.site, request.csr, former_stay=True)
            checkpoint("enrolment:granted")
        except CentralinoError as error:
            if error.error_id == "key_reused":  # nothing was issued: let it come with another
                with suppress(CentralinoError):
                    self.invitations.release(found, key)
            _log.error("enrolment of %s: %s (%s)", found.site, error.message, error.hint)
            return Said.TROUBLE, Trouble(error.error_id, error.message, error.hint).body()
        until = time.monotonic() + LET_IN_S
        while not self.let_in(granted.issued.name) and time.monotonic() < until:
            time.sleep(POLL_S)
        _log.info("enrolment of %s: %s is given out", found.site, granted.issued.name)
        made = Answer(found.site, granted.chain, granted.root, granted.tls_crypt_key, slice, now_of(self.clock))
        return Said.GRANTED, made.body()
