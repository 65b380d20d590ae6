"""``centralino firewall``: what is open and to whom, what is loaded, loading it without a daemon, names that it opens to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from appliance.commands.common import Json, err, out, print_json, print_table, program, store
from appliance.core.errors import RefusedError
from appliance.i18n import _, translated
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.commands.findings import Finding
    from appliance.core.document import Document
    from appliance.firewall.promise import Opening

SHOWN: Final = 3


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    sub = typer.Typer(help=_("What is open, and to whom"), no_args_is_help=True)
    sub.command("show", help=_("Who may reach what, as the document says"))(show)
    sub.command("status", help=_("Which rules are loaded, and what they have counted"))(status)
    sub.command("load", help=_("Load the committed rules without any daemon, as at boot"))(load)
    sub.command("unit", help=_("The unit by which systemd does that before any network comes up"))(unit)
    sub.command("names", help=_("Host names that providers have, and what they mean now"))(names)
    app.add_typer(sub, name="firewall", rich_help_panel=_("The running system"))


def show(json: Json = False) -> None:
    """The promise that the rules are made from."""
    from appliance.firewall.machine import this_machine
    from appliance.firewall.promise import promise
    from appliance.names.keeper import sources_in

    with store() as opened:
        document = opened.document()
    made = promise(document, this_machine(sources_in(Paths.default().names)))
    if json:
        print_json(asdict(made))
        return
    columns = (_("who"), _("from"), _("reaches"), _("port"), _("at"))
    rows = [_row(opening, document) for opening in made.openings]
    print_table(_("Open"), columns, rows, empty=_("Nothing is open."))
    if made.blocked:
        out.print(_("Blocked, but at the tunnel's port: {networks}").format(networks=_few(made.blocked)))
    out.print(_("Everything else is closed."))


def _row(opening: Opening, document: Document) -> list[str]:
    first, last = opening.ports
    ports = str(first) if first == last else f"{first}–{last}"
    return [
        group_text(opening.sources.name, document),
        _few(opening.sources.networks) or "–",
        service_text(opening.service) + (" " + _("(only while an invitation waits)") if opening.at_times else ""),
        f"{opening.protocol.upper()} {ports}",
        opening.address or "–",
    ]


def _few(networks: tuple[str, ...]) -> str:
    more = len(networks) - SHOWN
    return ", ".join(networks[:SHOWN]) + (" " + _("and {count} more").format(count=more) if more > 0 else "")


def group_text(name: str, document: Document) -> str:
    """A group of sources, in words."""
    from appliance.firewall.model import Network
    from appliance.pbx.trunks.model import Trunk

    fixed = {
        "anybody": _("anybody"),
        "vpn": _("branches, through their tunnels"),
        "edges": _("edges of branches, within the tunnels"),
        "new-machine": _("private networks, until a network is named"),
    }
    if name in fixed:
        return fixed[name]
    kind, _dash, id = name.partition("-")
    if kind == "network" and (network := document.find(Network, id)) is not None:
        return network.name
    trunk = document.find(Trunk, id)
    if trunk is None:
        return name
    words = _("provider of {trunk}") if kind == "trunk" else _("voice of the provider of {trunk}")
    return words.format(trunk=trunk.name)


def service_text(service: str) -> str:
    """A service, in words."""
    from appliance.firewall.words import SERVICES

    return _(SERVICES.get(service, service))


def _kernel() -> Any:
    """:raises RefusedError: the firewall isn't ours here."""
    from appliance.engine.place import engine_namespace, has_firewall
    from appliance.firewall.kernel import Kernel

    if not has_firewall():
        raise RefusedError(
            "the firewall of this machine isn't the appliance's",
            "it is where CENTRALINO_FIREWALL=on, as in the image",
            error_id="firewall_not_ours",
        )
    return Kernel(engine_namespace())


def status(json: Json = False) -> None:
    """What the kernel says. Exit code 1 when it isn't what was committed."""
    from appliance.firewall.boot import RULES, SETTINGS
    from appliance.firewall.rules import digest_in

    kernel, current = _kernel(), Paths.default().engine.current
    loaded = kernel.digest()
    wanted = digest_in((current / RULES).read_text()) if (current / RULES).exists() else None
    untuned = kernel.untuned((current / SETTINGS).read_text()) if (current / SETTINGS).exists() else ()
    counters = kernel.counters()
    well = loaded is not None and loaded == wanted
    if json:
        print_json({
            "loaded": loaded, "committed": wanted, "well": well, "counters": [asdict(each) for each in counters],
            "kernel": [asdict(each) for each in untuned],
        })  # fmt: skip
    else:
        if loaded is None:
            out.print(f"[red]{_('no rules are loaded: everything is open')}[/]")
        elif wanted is None:
            out.print(_("Nothing is committed yet; rules {digest} are loaded.").format(digest=loaded[:12]))
        elif well:
            out.print(_("The committed rules are loaded ({digest}).").format(digest=loaded[:12]))
        else:
            other = _("other rules are loaded than the configuration's")
            out.print(f"[red]{other}[/]")
        for each in untuned:
            out.print(f"[yellow]{each.key}: {each.found or '–'} → {each.wanted}[/]")
        rows = [[translated(each.label), str(each.packets), str(each.bytes)] for each in counters]
        print_table(_("Counted since they were loaded"), (_("what"), _("packets"), _("bytes")), rows, empty="")
    if not well:
        raise typer.Exit(1)


def load(json: Json = False) -> None:
    """Exit code 0 also for a machine without a configuration: it is closed, but for those who set it up."""
    from appliance.firewall.boot import load as load_from

    done = load_from(Paths.default().engine.current, _kernel())
    if json:
        print_json(asdict(done))
    elif done.committed:
        out.print(_("The committed rules are loaded ({digest}).").format(digest=done.digest[:12]))
    else:
        err.print(_("Everything is closed but portal and SSH for private networks: {reason}").format(
            reason=translated(done.trouble)))  # fmt: skip


def unit() -> None:
    """On standard output."""
    from appliance.firewall.boot import unit as made

    typer.echo(made(Paths.default().state, program()), nl=False)


def names(
    again: Annotated[bool, typer.Option("--again", help=_("Look them up now"))] = False,
    json: Json = False,
) -> None:
    """As the applier knows them."""
    from appliance.applier.client import ApplierClient

    client = ApplierClient(Paths.default().applier_socket)
    if again:
        client.look_up()
    found = client.state()["names"]
    if json:
        print_json(found)
        return
    rows = [[each["name"], ", ".join(each["addresses"]) or "–", translated(name_text(each))] for each in found]
    empty = _("No provider is known by a name.")
    print_table(_("Names"), (_("name"), _("addresses"), _("state")), rows, empty=empty)
    if again:
        out.print(_("They are being looked up; what has changed is in force within seconds."))


def name_text(name: dict[str, Any]) -> str:
    """How it is with a name (English; interfaces translate)."""
    return _words(name)


def _words(name: dict[str, Any]) -> str:
    if not name["asked"]:
        return "not asked yet"
    if name["error"]:
        return str(name["error"])
    if name["refused"]:
        return f"not believed: {', '.join(name['refused'][:SHOWN])}"
    return "known"


def check_names(paths: Paths) -> Iterator[Finding]:
    """For the doctor: every name that a provider has is known. Nothing to say when none has."""
    from appliance.applier.client import ApplierClient
    from appliance.commands.findings import Finding, Grade

    found = ApplierClient(paths.applier_socket).state()["names"]
    again = "centralino firewall names --again"
    for each in found:
        if each["error"] and not each["addresses"]:
            yield Finding("names", Grade.FAULT, _("{name} can't be looked up, and nobody calls by it: {reason}").format(
                name=each["name"], reason=translated(each["error"])), _("check the name, and the machine's name servers; then {command}").format(command=again))  # fmt: skip
        elif each["error"]:
            yield Finding("names", Grade.WARNING, _("{name} can't be looked up ({reason}); its last addresses are kept: {addresses}").format(
                name=each["name"], reason=translated(each["error"]), addresses=", ".join(each["addresses"][:SHOWN])),
                _("check the name, and the machine's name servers; then {command}").format(command=again))  # fmt: skip
        elif each["refused"]:
            yield Finding("names", Grade.WARNING, _("{name} means addresses that no provider can have: {addresses}").format(
                name=each["name"], addresses=", ".join(each["refused"][:SHOWN])),
                _("if they are the provider's, name them: centralino trunk set ID accept_from=…"))  # fmt: skip
    if found and not any(each["error"] or each["refused"] for each in found):
        yield Finding("names", Grade.OK, _("{count} names are known").format(count=len(found)))


def check_tuning(paths: Paths) -> Iterator[Finding]:
    """For the doctor: the kernel's settings are as the firewall needs them. Nothing to say where it isn't ours."""
    from appliance.commands.findings import Finding, Grade
    from appliance.engine.place import engine_namespace, has_firewall
    from appliance.firewall.boot import SETTINGS
    from appliance.firewall.kernel import Kernel

    file = paths.engine.current / SETTINGS
    if not has_firewall() or not file.exists():
        return
    wrong = Kernel(engine_namespace()).untuned(file.read_text())
    if wrong:
        first = wrong[0]
        yield Finding("kernel", Grade.WARNING, _("{count} settings aren't as the firewall needs them; the first: {key} is {found}, not {wanted}").format(
            count=len(wrong), key=first.key, found=first.found or "–", wanted=first.wanted),
            _("wait ten seconds, the applier sets them; is something else setting them, in /etc/sysctl.d?"))  # fmt: skip
    else:
        yield Finding("kernel", Grade.OK, _("its settings are as the firewall needs them"))
