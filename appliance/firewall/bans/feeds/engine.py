"""Security events of the engine's manager interface (AMI): who signed in by SIP, and who failed.

======================= ========= ==========================================================================================
event                   counts as why
======================= ========= ==========================================================================================
InvalidAccountID        failure   nobody is called so; the engine waits for five requests of an address that it can't tell
                                  whose they are, so a phone that hasn't signed yet isn't taken for a stranger
ChallengeResponseFailed failure   a password was wrong
InvalidPassword         failure   the same, by other channels than PJSIP
FailedACL               failure   not from where that device may be
SuccessfulAuth          success   the digest was right, made with a nonce that was sent to this address
======================= ========= ==========================================================================================

A request without credentials is none of these: every phone begins so.

*Proven* is what came over TCP, TLS or WebSocket, and every success. Over UDP a failure proves nothing: the engine reports a wrong digest
whatever nonce it was made with (``verify`` of res_pjsip_authenticator_digest), so its sender need never have heard from us.

Browsers that come by the gate are known by the addresses that stand for them (:mod:`appliance.engine.stand_ins`).

What happens when the engine is away: the connection is made again for ever (:mod:`appliance.engine.ami_stream`), and ``trouble`` tells
meanwhile. What happened in between isn't judged.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami_messages import Message
from appliance.engine.ami_stream import AmiSession, AmiStream, Place
from appliance.engine.place import ami_port, engine_namespace
from appliance.engine.plan import AMI_USER
from appliance.engine.stand_ins import client
from appliance.firewall.bans.model import Address, Attempt, Outcome, Service, Sign
from appliance.firewall.bans.service import Desk
from appliance.i18n import later
from appliance.paths import Paths

OUTCOMES: Final = {
    "InvalidAccountID": Outcome.FAILED,
    "ChallengeResponseFailed": Outcome.FAILED,
    "InvalidPassword": Outcome.FAILED,
    "FailedACL": Outcome.FAILED,
    "SuccessfulAuth": Outcome.SUCCEEDED,
}
DETAILS: Final = {
    "InvalidAccountID": later("no such account"),
    "ChallengeResponseFailed": later("wrong password"),
    "InvalidPassword": later("wrong password"),
    "FailedACL": later("not from there"),
}
_OURS: Final = "PJSIP"
"""What SIP is called there; the manager interface reports its own sign-ins too."""
_NOBODY: Final = "<unknown>"
"""Account of whoever isn't known."""


class EngineEvents:
    """A feed; see :class:`~appliance.firewall.bans.service.Feed`."""

    name = "engine"

    def __init__(self, desk: Desk, place: Place) -> None:
        self._desk = desk
        self._stream = AmiStream(place, self, events="security", only=tuple(OUTCOMES))
        self.trouble: CentralinoError | None = None

    async def run(self) -> None:
        """Listen until it is cancelled."""
        await self._stream.run()

    async def connected(self, session: AmiSession) -> None:  # noqa: ARG002
        """See :class:`~appliance.engine.ami_stream.Listener`."""
        self.trouble = None

    def event(self, message: Message) -> None:
        """See :class:`~appliance.engine.ami_stream.Listener`."""
        found = attempt(message, *self._desk.times())
        if found is not None:
            self._desk.take(found)

    def lost(self, reason: str) -> None:
        """See :class:`~appliance.engine.ami_stream.Listener`."""
        self.trouble = UnavailableError(
            f"failed attempts by SIP aren't seen: {reason}",
            "is the engine running? centralino status",
            error_id="ami_unreachable",
        )


def engine_events(paths: Paths, desk: Desk) -> EngineEvents:
    """The feed of an installation."""
    place = Place(
        paths.engine.ami_secret.read_text, port=ami_port(), username=AMI_USER, network_namespace=engine_namespace()
    )
    return EngineEvents(desk, place)


def attempt(message: Message, when: int, wall: int) -> Attempt | None:
    """What an event tells; None: nothing, or nothing that can be read."""
    fields = message.as_dict()
    event = fields.get("Event", "")
    outcome = OUTCOMES.get(event)
    where = _remote(fields.get("RemoteAddress", ""))
    if outcome is None or where is None or fields.get("Service") != _OURS:
        return None
    source, transport = where
    # Endpoints for TCP and TLS have the device's name, "@", and what nobody is to know.
    account = fields.get("AccountID", "").removeprefix(_NOBODY).partition("@")[0]
    signs = Sign.UNKNOWN_ACCOUNT if event == "InvalidAccountID" else Sign.NONE
    proven = outcome is Outcome.SUCCEEDED or transport in {"TCP", "TLS", "WS", "WSS"}
    detail = DETAILS.get(event, "")
    return Attempt(when, wall, source, Service.SIP, outcome, account, detail, proven, signs)


def _remote(text: str) -> tuple[Address, str] | None:
    """``IPV4/UDP/192.0.2.1/5060``: address and transport; of who comes by the gate, his own address."""
    parts = text.split("/")
    if len(parts) != 4:
        return None
    try:
        return client(ipaddress.ip_address(parts[2].strip("[]").partition("%")[0])), parts[1]
    except ValueError:
        return None
