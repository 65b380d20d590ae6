"""The engine's own configuration: every file that isn't a feature's (pure).

Everything that depends on the document comes in by :class:`EngineParams`; features write pjsip.conf, extensions.conf
and their tables.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from appliance.core.asterisk import ConfFile, Section
from appliance.engine import stand_ins
from appliance.engine.modules import modules_conf
from appliance.history import legs, line

CONFIG_DIR: Final = "/etc/asterisk/current"
"""Where the engine sees the generation of its configuration that is in force."""
TLS_DIR: Final = "/etc/asterisk-tls"
CEL_FILE: Final = "/var/spool/asterisk-cel/events.csv"
AMI_USER: Final = "centralino"
AMI_HUB_USER: Final = "hub"
"""The live hub's: it looks on and handles calls; it can't read or write configuration, or run commands."""

CEL_FIELDS: Final = line.FIELDS
CEL_EVENTS: Final = line.EVENTS

EMPTY_FILES: Final = ("acl.conf", "ccss.conf", "stasis.conf")
"""Files that the engine's core insists on although there is nothing to say."""

LANGUAGES: Final = ("it", "en")
"""Languages that the engine root has prompts for."""


@dataclass(frozen=True, slots=True)
class WebSocketServer:
    """The one TLS web server of the engine, which carries SIP over WSS at ``/ws`` for whoever doesn't come by the gate.

    ``certificate`` and ``key`` are paths as the engine sees them (below :data:`TLS_DIR`). ``address`` is IPv4 or
    IPv6, without brackets.
    """

    address: str
    port: int
    certificate: str
    key: str


RTP_FIRST: Final = 10000
RTP_LAST: Final = 19999
"""UDP ports of voice packets."""
UDPTL_FIRST: Final = 4000
UDPTL_LAST: Final = 4999
"""UDP ports of fax (T.38)."""


@dataclass(frozen=True, slots=True)
class EngineParams:
    """What the engine's own files depend on.

    :param ami_secret: password of the manager interface.
    :param system_name: goes into every call's unique id: letters, digits, ``-``.
    :param ami_port: TCP port of the manager interface on 127.0.0.1.
    :param rtp_first: first UDP port for media; even.
    :param rtp_last: last UDP port for media.
    :param web: TLS web server for WSS; ``None``: there is none.
    :param gate: the same is served to the gate (:mod:`appliance.engine.stand_ins`).
    :param voice: the only addresses of ours that browsers are told as candidates for their voice (ICE, RFC 8445); empty: all that the
        machine has.
    :param language: default language of prompts.
    :param country: tone zone: dial, busy and congestion tones.
    :param max_calls: calls after which new ones are refused; 0: no limit.
    :param max_load: load average after which new calls are refused; 0: no limit.
    """

    ami_secret: str = field(repr=False)
    system_name: str = "centralino"
    ami_port: int = 5038
    rtp_first: int = RTP_FIRST
    rtp_last: int = RTP_LAST
    web: WebSocketServer | None = None
    gate: bool = False
    voice: tuple[str, ...] = ()
    language: str = "it"
    country: str = "it"
    max_calls: int = 0
    max_load: float = 0
    cel_events: tuple[str, ...] = CEL_EVENTS


def static_files(params: EngineParams) -> dict[str, str]:
    """Every file of the engine itself: name within its configuration directory → text."""
    files = {file.name: file.text for file in (make(params) for make in _FILES)}
    return {"modules.conf": modules_conf(), **dict.fromkeys(EMPTY_FILES, ""), **files}


def _general(name: str, *options: tuple[str, object], section: str = "general") -> ConfFile:
    return ConfFile(name, (Section(section, tuple((key, str(value)) for key, value in options)),))


def asterisk_conf(params: EngineParams) -> ConfFile:
    """Directories and options of the process."""
    directories = {
        "astetcdir": CONFIG_DIR,
        "astvarlibdir": "/var/lib/asterisk",
        "astdbdir": "/var/lib/asterisk",
        "astkeydir": "/var/lib/asterisk",
        "astdatadir": "/usr/share/asterisk",
        "astagidir": "/usr/share/asterisk/agi-bin",
        "astspooldir": "/var/spool/asterisk",
        "astrundir": "/run/asterisk",
        "astlogdir": "/var/log/asterisk",
        "astsbindir": "/usr/sbin",
    }
    options = {
        "systemname": params.system_name,
        "defaultlanguage": params.language,
        "maxfiles": 65536,
        "nocolor": "yes",
        "live_dangerously": "no",
        "lightbackground": "no",
        "documentation_language": "en_US",
        "hideconnect": "yes",
        "rtp_pt_dynamic": 96,
    }
    if params.max_calls:
        options["maxcalls"] = params.max_calls
    if params.max_load:
        options["maxload"] = str(params.max_load)
    return ConfFile(
        "asterisk.conf",
        (
            Section("directories", tuple(directories.items())),
            Section("options", tuple((key, str(value)) for key, value in options.items())),
            Section("files", (("astctlpermissions", "0660"),)),
        ),
    )


def logger_conf(_: EngineParams) -> ConfFile:
    """``messages``: what went wrong or changed; ``security``: refused requests and logins, in their fixed format."""
    return ConfFile(
        "logger.conf",
        (
            Section(
                "general",
                (
                    ("dateformat", "%F %T.%3q"),
                    ("appendhostname", "no"),
                    ("queue_log", "no"),
                    ("rotatestrategy", "rotate"),  # the newest is .0, as in every log directory
                ),
            ),
            Section("logfiles", (("messages", "notice,warning,error"), ("security", "security"))),
        ),
    )


def manager_conf(params: EngineParams) -> ConfFile:
    """The manager interface: loopback only, two users, whose secrets are the installation's own."""
    loopback = (("deny", "0.0.0.0/0.0.0.0"), ("permit", "127.0.0.1/255.255.255.255"))
    user = (
        ("secret", params.ami_secret),
        *loopback,
        ("read", "system,call,dialplan,user,security,reporting,cdr,dtmf"),
        ("write", "system,call,command,reporting,config,user,originate"),
        ("writetimeout", "1000"),
    )
    hub = (
        ("secret", hub_secret(params.ami_secret)),
        *loopback,
        ("read", "system,call,user,reporting"),
        ("write", "system,call,reporting,originate"),
        ("writetimeout", "1000"),
    )
    general = (
        ("enabled", "yes"),
        ("webenabled", "no"),
        ("bindaddr", "127.0.0.1"),
        ("port", str(params.ami_port)),
        ("displayconnects", "no"),
        ("allowmultiplelogin", "yes"),
        ("authtimeout", "5"),
        ("authlimit", "20"),
        ("timestampevents", "yes"),
        ("disabledevents", "RTCPSent,RTCPReceived,ChallengeSent"),
    )
    return ConfFile("manager.conf", (Section("general", general), Section(AMI_USER, user), Section(AMI_HUB_USER, hub)))


def hub_secret(ami_secret: str) -> str:
    """The hub's password at the manager interface: made from the other one, which can't be had from it."""
    return hmac.new(ami_secret.encode(), b"centralino hub v1", hashlib.sha256).hexdigest()


def _tls(web: WebSocketServer | None) -> tuple[tuple[str, str], ...]:
    if web is None:
        return (("tlsenable", "no"),)
    host = f"[{web.address}]" if ":" in web.address else web.address
    return (
        ("tlsenable", "yes"),
        ("tlsbindaddr", f"{host}:{web.port}"),
        ("tlscertfile", web.certificate),
        ("tlsprivatekey", web.key),
        ("tlsdisablev1", "yes"),
        ("tlsdisablev11", "yes"),
        ("tlsservercipherorder", "yes"),
    )


def http_conf(params: EngineParams) -> ConfFile:
    """The web server: by TLS or for the gate, for SIP over WebSocket only; whatever else it could serve is denied as well."""
    if params.web is None and not params.gate:
        return _general("http.conf", ("enabled", "no"), ("tlsenable", "no"))
    general = _general(
        "http.conf",
        ("servername", ""),
        ("enabled", "yes" if params.gate else "no"),
        ("enable_static", "no"),
        ("enable_status", "no"),
        ("bindaddr", stand_ins.HOST if params.gate else "127.0.0.1"),
        ("bindport", stand_ins.PORT),
        ("sessionlimit", 10000),
        ("session_inactivity", 10000),
        *_tls(params.web),
    )
    denied = tuple(
        Section(path, (("type", "restriction"), ("deny", "0.0.0.0/0"), ("deny", "::/0")))
        for path in ("/ari", "/manager", "/mxml", "/rawman", "/static", "/httpstatus", "/metrics", "/media")
    )
    return ConfFile("http.conf", general.sections + denied)


def rtp_conf(params: EngineParams) -> ConfFile:
    """Media ports. Strict RTP: packets from elsewhere than the peer's own address are ignored once it is known.

    Wherever its socket is bound, the engine offers every address of the machine as a candidate, unless it is denied here: those of
    tunnels and management are no affair of a browser outside (RFC 8445 section 19.1), and no voice would get in there.
    """
    denied = (("ice_deny", "0.0.0.0/0"), ("ice_deny", "::/0")) if params.voice else ()
    shown = (*denied, *(("ice_permit", address) for address in params.voice))
    return _general(
        "rtp.conf",
        ("rtpstart", params.rtp_first),
        ("rtpend", params.rtp_last),
        ("strictrtp", "yes"),
        ("icesupport", "yes"),
        *shown,
        ("rtcpinterval", 5000),
    )


def cel_conf(params: EngineParams) -> ConfFile:
    """Which channel events are recorded: those that the history is made of."""
    return _general("cel.conf", ("enable", "yes"), ("apps", ""), ("events", ",".join(params.cel_events)))


def cli_conf(params: EngineParams) -> ConfFile:
    """Announce every start in the events, so that calls of the run before are known to have ended with it; and forget
    what they left in the engine's database."""
    announce = ((legs.STARTUP_COMMAND, "fully-booted"),) if params.cel_events else ()
    forget = ((f"database deltree {legs.REDIRECTIONS}", "fully-booted"),)
    return ConfFile("cli.conf", (Section("startup_commands", (*announce, *forget)),))


def cel_custom_conf(_: EngineParams) -> ConfFile:
    """One line per event: see :data:`CEL_FIELDS`."""
    return _general(
        "cel_custom.conf",
        ("format", "dsv"),
        ("separator_character", ","),
        ("quote_character", '"'),
        ("quote_escape_character", '"'),
        ("quoting_method", "all"),
        ("fields", ",".join(CEL_FIELDS)),
        section=CEL_FILE,
    )


def cdr_conf(_: EngineParams) -> ConfFile:
    """Off: its aggregator falls behind under load; records are made from channel events."""
    return _general("cdr.conf", ("enable", "no"))


def features_conf(_: EngineParams) -> ConfFile:
    """No feature codes: phones transfer by SIP, which the class of service can check; ``*8`` would be the engine's own code
    for picking up calls, before any service code of the document."""
    codes = ("blindxfer", "atxfer", "disconnect", "parkcall")
    general = Section("general", (("pickupexten", ""),))
    return ConfFile("features.conf", (general, Section("featuremap", tuple((code, "") for code in codes))))


def musiconhold_conf(_: EngineParams) -> ConfFile:
    """The music of the engine root."""
    options = (("mode", "files"), ("directory", "/usr/share/asterisk/moh"), ("sort", "random"))
    return ConfFile("musiconhold.conf", (Section("general", ()), Section("default", options)))


def codecs_conf(_: EngineParams) -> ConfFile:
    """Opus: constrained variable rate with in-band error correction, for links that lose packets."""
    opus = (("type", "opus"), ("max_bandwidth", "full"), ("cbr", "no"), ("fec", "yes"), ("application", "voip"))
    return ConfFile("codecs.conf", (Section("opus", opus),))


def indications_conf(params: EngineParams) -> ConfFile:
    """Tones of Italy and of countries near it, and ETSI's common ones. Source: ITU-T E.180 Supplement 2 (01/2003).

    Written as frequency in Hz / duration in ms; a plus sounds two at once.
    """
    zones = tuple(Section(country, (("description", country.upper()), *tones)) for country, tones in _TONES.items())
    return ConfFile("indications.conf", (Section("general", (("country", params.country),)), *zones))


_TONES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "it": (
        ("ringcadence", "1000,4000"),
        ("dial", "425/200,0/200,425/600,0/1000"),
        ("busy", "425/500,0/500"),
        ("ring", "425/1000,0/4000"),
        ("congestion", "425/200,0/200"),
        ("callwaiting", "425/400,0/100,425/250,0/100,425/150,0/14000"),
        ("dialrecall", "470/400,425/400"),
        ("record", "1400/400,0/15000"),
        ("info", "!950/330,!1400/330,!1800/330,!0/1000"),
        ("stutter", "470/400,425/400"),
    ),
    "eu": (
        ("ringcadence", "1000,4000"),
        ("dial", "425"),
        ("busy", "425/500,0/500"),
        ("ring", "425/1000,0/4000"),
        ("congestion", "425/250,0/250"),
        ("callwaiting", "425/200,0/200,425/200,0/4000"),
        ("dialrecall", "425/500,0/50"),
        ("record", "1400/80,0/15000"),
        ("info", "950/330,1400/330,1800/330,0/1000"),
        ("stutter", "425/500,0/50"),
    ),
}


def pjsip_notify_conf(_: EngineParams) -> ConfFile:
    """Events that may be sent to a device: fetch your configuration anew (with and without restart)."""
    return ConfFile(
        "pjsip_notify.conf",
        (
            Section("check-sync", (("Event", "check-sync"),)),
            Section("check-sync-no-restart", (("Event", "check-sync;reboot=false"),)),
            Section("check-sync-restart", (("Event", "check-sync;reboot=true"),)),
        ),
    )


def udptl_conf(_: EngineParams) -> ConfFile:
    """Ports of T.38 fax passed through."""
    return _general("udptl.conf", ("udptlstart", UDPTL_FIRST), ("udptlend", UDPTL_LAST), ("udptlchecksums", "yes"))


def pjproject_conf(_: EngineParams) -> ConfFile:
    """The SIP stack's log: its levels mapped to ours; its chatter to nowhere."""
    mapping = (
        ("asterisk_error", "0,1"),
        ("asterisk_warning", "2"),
        ("asterisk_debug", "3,4,5,6"),
    )
    return ConfFile("pjproject.conf", (Section("log_mappings", mapping, type="log_mappings"),))


_FILES: Final = (
    asterisk_conf, logger_conf, manager_conf, http_conf, rtp_conf, cel_conf, cli_conf, cel_custom_conf, cdr_conf, features_conf,
    musiconhold_conf, codecs_conf, indications_conf, udptl_conf, pjproject_conf, pjsip_notify_conf,
)  # fmt: skip
