"""What the doctor looks at of firewall, bans, voice VPN, browsers' telephones and TURN."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.commands.findings import Finding, Grade
from appliance.core.document import Document
from appliance.i18n import _, fault_text, translated
from appliance.paths import Paths


def firewall(paths: Paths) -> Iterator[Finding]:
    """The kernel has the rules of the configuration in force. Nothing to say where the firewall isn't ours."""
    from appliance.applier.plan import FIREWALL
    from appliance.engine.keeping import text_of
    from appliance.engine.place import engine_namespace, has_firewall
    from appliance.firewall.kernel import Kernel
    from appliance.firewall.rules import digest_in

    if not has_firewall():
        return
    loaded = Kernel(engine_namespace()).digest()
    if loaded is None:
        yield Finding(
            "firewall", Grade.FAULT, _("no rules are loaded: everything is open"), _("start the applier: it loads them")
        )
    elif loaded != digest_in(text_of(paths.engine.current / FIREWALL)):
        yield Finding("firewall", Grade.FAULT, _("other rules are loaded than the configuration's"),
                      _("wait ten seconds, the applier loads them again; its log says why not"))  # fmt: skip
    else:
        yield Finding("firewall", Grade.OK, _("the rules of the configuration are loaded"))


def bans(paths: Paths) -> Iterator[Finding]:
    """Somebody judges who is to be kept out. Nothing to say where the firewall isn't ours."""
    from appliance.commands.bans import judge

    yield from judge(paths)


def voice_vpn(paths: Paths) -> Iterator[Finding]:
    """Its daemons answer, and every branch is in. Nothing to say where it doesn't run here."""
    from appliance.engine.place import has_vpn
    from appliance.vpn.asking import told

    if not has_vpn():
        return
    found = told(paths.vpn_socket)
    faults = [*found["faults"], *(each["alarm"] for each in found["daemons"] if each["alarm"])]
    for fault in faults:
        yield Finding("voice VPN", Grade.FAULT, fault_text(fault), str(paths.vpn.log))
    for alarm in found["alarms"]:
        yield Finding(
            "voice VPN", Grade.FAULT if alarm["severity"] == "error" else Grade.WARNING,
            translated(alarm["message"]), translated(alarm["hint"]),
        )  # fmt: skip
    for site, said in ((each["site"], each.get("edge") or {}) for each in found["branches"]):
        if said.get("standing") == "rolled_back":
            text = _("{site} has undone revision {revision}: {why}").format_map({**said, "site": site})
            yield Finding("voice VPN", Grade.WARNING, text, _("what did it change for that branch? centralino history"))
    out = [each["site"] for each in found["branches"] if not each["connected"]]
    if out:
        yield Finding(
            "voice VPN",
            Grade.WARNING,
            _("not connected: {sites}").format(sites=", ".join(out)),
            "centralino vpn status",
        )
    elif not faults and not found["alarms"]:
        yield Finding("voice VPN", Grade.OK, _("{count} branches are in").format(count=len(found["branches"])))


def browsers(document: Document | None) -> Iterator[Finding]:
    """The engine takes browsers from the gate. Nothing to say where no listener is for them."""
    from appliance.engine.netns import inside
    from appliance.engine.place import engine_namespace
    from appliance.engine.stand_ins import HOST, PORT
    from appliance.pbx.media.doors import by_the_gate
    from appliance.pbx.media.model import Listener
    from appliance.run.web import listens_at

    if document is None or not any(map(by_the_gate, document.all(Listener).values())):
        return
    if inside(engine_namespace(), lambda: listens_at(HOST, PORT)):
        yield Finding("browsers", Grade.OK, _("their telephones get in by the portal's port"))
    else:
        message = _("their telephones don't get in by the portal's port: the engine doesn't listen at {place}")
        yield Finding("browsers", Grade.FAULT, message.format(place=f"[{HOST}]:{PORT}"),
                      _("is the engine running, and has this machine IPv6 on its loopback? centralino status; ip addr show lo"))  # fmt: skip


def turn(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Its daemon runs, and browsers find its names in the certificate. Nothing to say where it doesn't run here, or none is in use."""
    from appliance.engine.place import has_turn
    from appliance.run.certificate import names_of
    from appliance.turn.addresses import turn_server
    from appliance.turn.service import ask

    server = turn_server(document) if has_turn() and document is not None else None
    if server is None:
        return
    found = ask(paths, "status")
    for fault in found["faults"]:
        yield Finding("TURN server", Grade.FAULT, fault_text(fault), str(paths.turn.log))
    if found["pid"] is None and not found["faults"]:
        yield Finding("TURN server", Grade.FAULT, _("it doesn't run"), str(paths.turn.log))
    known = names_of(paths.gate / "portal.crt")
    missing = [each.host for each in server.addresses if not any(_names(name, each.host) for name in known)]
    if missing:
        yield Finding(
            "TURN server",
            Grade.WARNING,
            _("by TLS nobody gets in: the portal's certificate doesn't name {names}").format(names=", ".join(missing)),
            _("use a certificate with these names, or start the appliance again if it made its own"),
        )
    elif found["pid"] is not None and not found["faults"]:
        yield Finding("TURN server", Grade.OK, _("it runs, and the certificate has its names"))


def _names(pattern: str, host: str) -> bool:
    """Whether a name of a certificate stands for a host (RFC 9525 section 6.3: an asterisk is one whole label)."""
    pattern, host = pattern.lower(), host.lower()
    return pattern == host or (pattern.startswith("*.") and pattern[1:] == host[host.find(".") :])
