"""Where everything lies: the only place that knows names of files and directories.

Places that are configurable, by environment:

``CENTRALINO_STATE``
    what must survive: ``var/`` in a checkout, ``/var/lib/centralino`` in the image.
``CENTRALINO_CACHE``
    what can be built again: ``.cache/`` in a checkout, ``/var/cache/centralino`` in the image.
``CENTRALINO_RUN``
    what the voice VPN's daemons need to be started again and nobody needs after a start of the machine: a directory in memory, so that a full disk
    keeps no branch out. Without it, in the state.
``CENTRALINO_ENGINE_ARCHIVES``
    packages that engine roots were made of: ``engine-archives/`` of the state, unless a team or CI shares a place.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
"""Top of the source tree; in the image, the directory that the package was installed to."""

IMAGE_STATE = Path("/var/lib/centralino")
IMAGE_CACHE = Path("/var/cache/centralino")


def _default(variable: str, in_checkout: str, in_image: Path) -> Path:
    if value := os.environ.get(variable):
        return Path(value).absolute()
    if (CHECKOUT / "pyproject.toml").exists():
        return CHECKOUT / in_checkout
    return in_image


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """The engine's directories on the host; :mod:`appliance.engine.launch` binds them into its sandbox."""

    top: Path

    @property
    def config(self) -> Path:
        """Generations of the engine's configuration: ``gen-000012/`` …, and the link ``current`` to one of them."""
        return self.top / "config"

    @property
    def current(self) -> Path:
        """Link to the generation in force; swapped atomically."""
        return self.config / "current"

    @property
    def lib(self) -> Path:
        """The engine's database, ``astdb.sqlite3``."""
        return self.top / "lib"

    @property
    def spool(self) -> Path:
        return self.top / "spool"

    @property
    def log(self) -> Path:
        return self.top / "log"

    @property
    def cel(self) -> Path:
        """Spool of channel events, written by the engine and read by the history writer."""
        return self.top / "cel"

    @property
    def run(self) -> Path:
        """Control socket and PID file."""
        return self.top / "run"

    @property
    def tls(self) -> Path:
        """Certificates and keys of the listeners."""
        return self.top / "tls"

    @property
    def control_socket(self) -> Path:
        return self.run / "asterisk.ctl"

    @property
    def ami_secret(self) -> Path:
        """Password of the manager interface, made by the launcher, mode 0600."""
        return self.top / "ami.secret"

    @property
    def messages(self) -> Path:
        """The engine's log of errors, warnings and notices."""
        return self.log / "messages"


@dataclass(frozen=True, slots=True)
class VpnPaths:
    """The voice VPN's directories: ``ca/`` is the truth, ``openvpn/`` is made from it (see :mod:`appliance.vpn.pki`)."""

    top: Path
    memory: Path | None = None
    """Where :attr:`run`, :attr:`relays` and :attr:`temporary` lie; None: below ``top``."""

    @property
    def ca(self) -> Path:
        """The certificate authority: keys, certificates, registry. Mode 0700."""
        return self.top / "ca"

    @property
    def ca_draft(self) -> Path:
        """An authority that is being made; it counts when it has been renamed to :attr:`ca`."""
        return self.top / "ca.new"

    @property
    def lock(self) -> Path:
        """Held by whoever changes anything below :attr:`top`."""
        return self.top / "lock"

    @property
    def openvpn(self) -> Path:
        """What OpenVPN reads, and nothing else. Its user needs to get into it, not to list it: mode 0711."""
        return self.top / "openvpn"

    @property
    def root_certificate(self) -> Path:
        """What servers and branches trust."""
        return self.openvpn / "root.crt"

    @property
    def server(self) -> Path:
        """Key, certificate and intermediate of the server in one file, so that they always belong together; 0600."""
        return self.openvpn / "server.pem"

    @property
    def crl(self) -> Path:
        """Lists of revoked certificates: of every intermediate in force, and the root's; 0644."""
        return self.openvpn / "crl.pem"

    @property
    def tls_crypt(self) -> Path:
        """The server's tls-crypt-v2 key; 0600."""
        return self.openvpn / "tls-crypt-v2.key"

    @property
    def inside(self) -> Path:
        """What the service within the tunnels has for itself; 0711, and what is in it 0600."""
        return self.top / "inside"

    @property
    def signer(self) -> Path:
        """Key, certificate and intermediate that sign what branches are told; 0600."""
        return self.inside / "signer.pem"

    @property
    def reports(self) -> Path:
        """What edges say of themselves, one file for each site."""
        return self.inside / "branches"

    @property
    def events(self) -> Path:
        """What happened at branches, as their edges tell it."""
        return self.inside / "events"

    def clients(self, interface: str) -> Path:
        """What a daemon gives each branch, one file for each certificate's common name; who has none is turned away."""
        return self.openvpn / "clients" / interface

    @property
    def temporary(self) -> Path:
        """OpenVPN's own short-lived files; anybody may write, nobody read others'."""
        return (self.memory or self.top) / "tmp"

    @property
    def run(self) -> Path:
        """PID files and management sockets of the daemons; mode 0700."""
        return (self.memory or self.top) / "run"

    def management(self, interface: str) -> Path:
        """A daemon's management socket. Anybody may write to it, so nobody else may enter its directory."""
        return self.run / f"{interface}.sock"

    @property
    def drill(self) -> Path:
        """What lines of branches would have done, a file for each month (:mod:`appliance.failover.drill`); mode 0700."""
        return self.top / "drill"

    @property
    def relays(self) -> Path:
        """One directory for each relay (:mod:`appliance.failover.kept`), which is that one's own; mode 0700. After a start of the machine nobody needs what is in it."""
        return (self.memory or self.top) / "relays"

    @property
    def log(self) -> Path:
        """Logs of the daemons."""
        return self.top / "log"

    @property
    def invitations(self) -> Path:
        """Invitations of new edges that wait (:mod:`appliance.vpn.enrolment.waiting`); mode 0700."""
        return self.top / "invitations"

    @property
    def admitted(self) -> Path:
        """One empty file for each tls-crypt-v2 key that is let in, named like its metadata."""
        return self.openvpn / "admitted"

    @property
    def admit(self) -> Path:
        """The script that looks there."""
        return self.openvpn / "admit.sh"


@dataclass(frozen=True, slots=True)
class TurnPaths:
    """The TURN server's directories."""

    top: Path

    @property
    def served(self) -> Path:
        """What coturn sees, and nothing else. Mode 0750, its group."""
        return self.top / "served"

    @property
    def config(self) -> Path:
        return self.served / "turnserver.conf"

    @property
    def database(self) -> Path:
        """The secrets that credentials are made from (:mod:`appliance.turn.keys`); 0640."""
        return self.served / "secrets.db"

    @property
    def log(self) -> Path:
        return self.top / "turn.log"

    @property
    def pid_file(self) -> Path:
        return self.top / "turn.pid"


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path of one installation, from its two tops."""

    state: Path
    cache: Path
    memory: Path | None = None

    @classmethod
    def default(cls) -> Paths:
        """The installation that this process belongs to, by environment and place of the source."""
        return cls(
            state=_default("CENTRALINO_STATE", "var", IMAGE_STATE),
            cache=_default("CENTRALINO_CACHE", ".cache", IMAGE_CACHE),
            memory=Path(run).absolute() if (run := os.environ.get("CENTRALINO_RUN")) else None,
        )

    @property
    def store(self) -> Path:
        """Databases: document, history, credentials."""
        return self.state / "store"

    @property
    def document_db(self) -> Path:
        return self.store / "document.db"

    @property
    def history_db(self) -> Path:
        return self.store / "history.db"

    @property
    def console(self) -> Path:
        """What the portal and the API have for themselves: certificate, keys of tokens and of second factors."""
        return self.state / "console"

    @property
    def run(self) -> Path:
        """Sockets and PID files."""
        return self.state / "run"

    @property
    def access_db(self) -> Path:
        """Credentials of people and programs, their sessions, and the audit."""
        return self.store / "access.db"

    @property
    def bans_db(self) -> Path:
        """Who is kept out, and how often they were."""
        return self.store / "bans.db"

    @property
    def token_keys(self) -> Path:
        """Keys that sign short-lived tokens; mode 0600."""
        return self.console / "tokens.json"

    @property
    def factor_key(self) -> Path:
        """Key that encrypts the seeds of authenticator apps; mode 0600. The web processes' own: they can't read the other."""
        return self.console / "factors.key"

    @property
    def secret_key(self) -> Path:
        """Key that encrypts secrets in store, export and backup; mode 0600."""
        return self.state / "keys" / "secret.key"

    @property
    def handed(self) -> Path:
        """Secrets in the clear that the applier hands to processes that can't read the key."""
        return self.state / "handed"

    def handed_to(self, reader: str) -> Path:
        """Those of one reader (see :mod:`appliance.handed`): a directory of its own, so that a sandbox shows it no other."""
        return self.handed / reader

    @property
    def applier_state(self) -> Path:
        return self.state / "applier" / "state.json"

    @property
    def names(self) -> Path:
        """What the host names of the document meant when they were looked up last; anybody may read it."""
        return self.state / "names" / "known.json"

    @property
    def applier_socket(self) -> Path:
        return self.run / "applier.sock"

    @property
    def web(self) -> Path:
        """Sockets at which the gate finds console and hub, and they each other."""
        return self.state / "web"

    @property
    def console_socket(self) -> Path:
        """Where the console takes requests."""
        return self.web / "console.sock"

    @property
    def hub_socket(self) -> Path:
        """Where the hub takes browsers' WebSockets, and what the console wants of it."""
        return self.web / "hub.sock"

    @property
    def hub(self) -> Path:
        """The hub's own directory: what it remembers, its password at the manager interface."""
        return self.state / "hub"

    @property
    def hub_ami_secret(self) -> Path:
        """The hub's password at the manager interface (:func:`appliance.engine.plan.hub_secret`): the other is root's alone."""
        return self.hub / "ami.secret"

    @property
    def gate(self) -> Path:
        """The gate's own directory: its configuration, the portal's certificate and key."""
        return self.state / "gate"

    @property
    def door(self) -> Path:
        """Where the gate's own socket is, from what tells TURN and the portal apart to the portal's half."""
        return self.state / "door"

    @property
    def engine(self) -> EnginePaths:
        return EnginePaths(self.state / "engine")

    @property
    def vpn_socket(self) -> Path:
        """Where the voice VPN's process tells how it stands (:mod:`appliance.vpn.service`)."""
        return self.live / "vpn.sock"

    @property
    def vpn_orders_socket(self) -> Path:
        """Where it takes orders (:mod:`appliance.vpn.orders`)."""
        return self.run / "vpn.sock"

    @property
    def bans_socket(self) -> Path:
        """Where the judge of bans tells who is kept out, and lifts (:mod:`appliance.firewall.bans.asking`)."""
        return self.run / "bans.sock"

    @property
    def attempts_socket(self) -> Path:
        """Where the judge of bans is told who tried to get in (:mod:`appliance.firewall.bans.reporting`)."""
        return self.run / "attempts.sock"

    @property
    def live(self) -> Path:
        """Sockets that only tell how something stands: the hub sees these, and not those that take orders."""
        return self.run / "live"

    @property
    def vpn(self) -> VpnPaths:
        return VpnPaths(self.state / "vpn", self.memory / "vpn" if self.memory else None)

    @property
    def turn_socket(self) -> Path:
        """Where credentials for the TURN server are made (:mod:`appliance.turn.service`)."""
        return self.run / "turn.sock"

    @property
    def turn(self) -> TurnPaths:
        return TurnPaths(self.state / "turn")

    @property
    def engine_cache(self) -> Path:
        """Built engine roots, one directory per hash of their definition."""
        return self.cache / "engine"

    @property
    def engine_archives(self) -> Path:
        """Packages of every engine root that was built from a mirror; ``CENTRALINO_ENGINE_ARCHIVES`` for a shared place."""
        other = os.environ.get("CENTRALINO_ENGINE_ARCHIVES")
        return Path(other).absolute() if other else self.state / "engine-archives"

    @property
    def engine_definition(self) -> Path:
        """Directory of the engine root's definition."""
        return CHECKOUT / "image" / "engine"
