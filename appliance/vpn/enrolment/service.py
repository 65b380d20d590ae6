"""What people may ask about enrolment: invitations for our own edges, bundles for routers of other makers.

To be called as root, on the appliance. Nothing here is done twice by being repeated: a second invitation or bundle takes the place of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from appliance.clock import HOUR, Clock, system_clock
from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.paths import VpnPaths
from appliance.vpn.addresses import branches, concentrator
from appliance.vpn.enrolment import bundle
from appliance.vpn.enrolment.codes import new_code
from appliance.vpn.enrolment.invitation import Centre, Invitation
from appliance.vpn.enrolment.waiting import LONGEST, Invitations, Standing
from appliance.vpn.model import Branch, Router
from appliance.vpn.pki import Authority, Issued, Role, certificates
from appliance.vpn.pki.lifetimes import moment
from appliance.vpn.plan import branch_lines

LASTS_H: Final = 24.0
LONGEST_H: Final = LONGEST / HOUR


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was made. Shown once: the appliance keeps no more than a digest of its secret.

    :param file: what is carried to the edge; also what the QR code says. Secret.
    :param code: the same for the telephone; the edge needs the centre's address besides. Secret.
    :param ended: certificates that were revoked at once.
    """

    site: str
    file: bytes
    code: str
    centres: tuple[Centre, ...]
    until: datetime
    ended: tuple[Issued, ...]

    def __repr__(self) -> str:
        return f"<Invited {self.site}>"


@dataclass(frozen=True, slots=True)
class Shown:
    """An invitation as it stands. ``tries``: wrong attempts; ``key``: fingerprint of the key that used it, or ``""``."""

    site: str
    standing: Standing
    until: datetime
    tries: int
    key: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a router of another maker is given, once. ``content`` holds its private key: secret, and kept nowhere here."""

    site: str
    content: bytes
    ends: datetime
    ended: tuple[Issued, ...]

    def __repr__(self) -> str:
        return f"<Bundle {self.site}>"


class Enrolment:
    """See this module. ``cores``: as the applier was told (:class:`appliance.vpn.plan.Installation`)."""

    def __init__(self, paths: VpnPaths, authority: Authority, *, cores: int = 1, clock: Clock = system_clock) -> None:
        self._authority, self._cores, self._clock = authority, cores, clock
        self._invitations = Invitations(paths, clock)

    def invite(self, document: Document, site: str, *, hours: float = LASTS_H, replace: bool = False) -> Invited:
        """An invitation for a site's edge, the first or another.

        :param hours: how long it waits, more than 0 and at most 168.
        :param replace: the site's certificates are revoked now, not when the new edge has come in: the old one was stolen.
        :raises InvalidError: ``bad_hours``; :raises NotFoundError: ``no_branch``; :raises RefusedError: ``third_party``, ``clock_wrong``;
        :raises UnavailableError: ``disk_full``, ``storage``.
        """
        if not 0 < hours <= LONGEST_H:
            hint = f"more than 0 and at most {LONGEST_H:g} hours"
            raise InvalidError(
                [Fault("invitation/hours", f"{hours:g} is not a time that an invitation may wait", hint, "bad_hours")]
            )
        if self._branch(document, site).router is not Router.OURS:
            raise RefusedError(
                f"{site} comes in by a router of another maker, which can't use an invitation",
                f"centralino vpn bundle {site}", error_id="third_party",
            )  # fmt: skip
        self._ready()
        self._authority.required_clock()
        root = self._authority.root_key()
        code = new_code(root)
        while not self._invitations.free(code.secret.locator):
            code = new_code(root)
        made = self._invitations.make(site, code.secret, int(hours * HOUR))
        centres, until = gates(document), moment(made.until)
        ended = tuple(self._authority.living(site)) if replace else ()
        if replace:
            self._authority.revoke_site(site)
        file = Invitation(centres, code.secret, site=site, root=root, until=until).file()
        return Invited(site, file, code.text, centres, until, ended)

    def invitations(self) -> list[Shown]:
        """Every invitation that anything is known of, by site."""
        now = self._clock()
        return [
            Shown(each.site, each.standing(now), moment(each.until), each.tries, each.key)
            for each in self._invitations.all().values()
        ]

    def withdraw(self, site: str) -> bool:
        """End a site's invitation; whether there was one. What it was used for stays. :raises UnavailableError: ``storage``."""
        return self._invitations.withdraw(site)

    def bundle(
        self,
        document: Document,
        site: str,
        *,
        replace: bool = False,
        put: Callable[[Bundle], None] = lambda _made: None,
    ) -> Bundle:
        """Everything that a router of another maker needs. Its private key is made here, and nothing of it is kept.

        :param replace: as for :meth:`invite`.
        :param put: puts it where it is wanted; what it had before is revoked only when that has worked.
        :raises NotFoundError: ``no_branch``; :raises RefusedError: ``not_third_party``, ``third_party_off``, ``clock_wrong``,
            ``authority_expired``; :raises UnavailableError: ``disk_full``, ``storage``.
        """
        if self._branch(document, site).router is not Router.THIRD_PARTY:
            raise RefusedError(
                f"{site} has an edge of ours, which makes its own key",
                f"centralino vpn enrol {site}",
                error_id="not_third_party",
            )
        lines = branch_lines(document, site, self._cores)
        if not lines:
            raise RefusedError(
                "the concentrator lets in no routers of other makers", "set third_party=yes at the concentrator, and commit",
                error_id="third_party_off",
            )  # fmt: skip
        self._ready()
        key = certificates.new_key()
        granted = self._authority.enrol(
            site, certificates.request(key), role=Role.THIRD_PARTY, former_stay=True
        )  # fmt: skip
        made = Bundle(site, bundle.text(site, lines, granted, certificates.key_pem(key)), granted.issued.ends, ())
        put(made)
        ended = self._authority.confirm(granted.issued.serial) if replace else ()
        return Bundle(site, made.content, made.ends, ended)

    def _branch(self, document: Document, site: str) -> Branch:
        found = branches(document).get(site)
        if found is None or concentrator(document) is None:
            raise NotFoundError(
                f"{site} doesn't come in by the voice VPN", f"centralino branch add {site} site={site} number=1, and commit",
                error_id="no_branch",
            )  # fmt: skip
        return found

    def _ready(self) -> None:
        if not self._authority.exists:
            self._authority.create()


def gates(document: Document) -> tuple[Centre, ...]:
    """Where new edges find the gate: TCP at the number of the first tunnel's port, at every address of the centre."""
    one = concentrator(document)
    return () if one is None else tuple(Centre(each.host, each.port) for each in one.addresses)


def now_of(clock: Clock) -> datetime:
    """The time by a clock."""
    return datetime.fromtimestamp(clock().wall / 1000, UTC)
