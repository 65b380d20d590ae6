"""``centralino edge network``: interfaces of lines, and settings that are made here."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from appliance.commands.common import Json, out, print_json
from appliance.core.errors import Fault, InvalidError
from appliance.i18n import _

KEYS: Final = ("links", "network")


def network(
    device: Annotated[str, typer.Argument(metavar="INTERFACE", help=_("The line's interface, such as wan"))] = "",
    dhcp: Annotated[bool, typer.Option("--dhcp", help=_("Addresses by DHCP"))] = False,
    address: Annotated[
        list[str] | None, typer.Option("--address", help=_("The address that the provider gave, such as 198.51.100.2/30; again for another"))
    ] = None,
    router: Annotated[list[str] | None, typer.Option("--router", help=_("The provider's router"))] = None,
    name_server: Annotated[list[str] | None, typer.Option("--name-server", help=_("The provider's name server"))] = None,
    given: Annotated[bool, typer.Option("--given", help=_("As the configuration at the centre says"))] = False,
    keep: Annotated[bool, typer.Option("--keep", help=_("What is on trial is right"))] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Without options: how they stand. Another setting is undone by itself after two minutes, unless the centre is reached by it or --keep is said."""
    from appliance.edge.asking import Edge, access_of
    from appliance.edge.paths import EdgePaths

    edge = Edge(EdgePaths.default().orders)
    static = bool(address or router or name_server)
    if keep:
        edge.keep()
    elif (
        sum((dhcp, static, given)) > 1
        or (device and not (dhcp or static or given))
        or (not device and (dhcp or static or given))
    ):
        message = "an interface goes with one of --dhcp, --address with --router, or --given"
        raise InvalidError([Fault("interface", message, "centralino edge network wan --dhcp", "one_of")])
    elif device:
        edge.set_up(
            device,
            None
            if given
            else access_of(dhcp=dhcp, addresses=address or [], routers=router or [], names=name_server or []),
        )
    found = {key: value for key, value in edge.status().items() if key in KEYS}
    if json:
        print_json(found)
        return
    show(found)


def show(found: dict[str, Any]) -> None:
    """In a few lines."""
    from appliance.edge.words import addresses, on_trial, put_back

    here = {each["device"] for each in found["network"]["settings"]}
    for link in found["links"]:
        text = _("Line {number} at {device}: {addresses}").format(
            number=link["line"], device=link["device"], addresses=addresses(link)
        )
        out.print(escape(text + (f" ({_('set here')})" if link["device"] in here else "")))
        if link["put_back"]:
            out.print(f"  [yellow]{escape(put_back(link))}[/]")
    if not found["links"]:
        out.print(_("No interface is set up by the edge: whoever made its system saw to them."))
    if found["network"]["trial_s"] is not None:
        out.print(f"[yellow]{escape(on_trial(found['network']))}[/]")
