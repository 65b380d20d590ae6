"""Document → who is never banned, who is ours, what stays open (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from appliance.core.document import Document
from appliance.firewall.bans import model
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.sets import Doors
from appliance.firewall.model import AddressList, ListAction, Network, NetworkZone
from appliance.firewall.promise import Machine, addresses_of, promise
from appliance.organisation.model import Site
from appliance.pbx.trunks.model import Provider, Trunk


def policy(document: Document, machine: Machine, outer: Iterable[str] = ()) -> Policy:
    """Whom the judge may touch.

    :param outer: addresses that tunnels come from, as they were seen; and servers for names and time.

    Never: management networks, lists that allow, providers, and ``outer``. Ours: sites, and networks of phones and clients.
    What is said of everybody (``0.0.0.0/0``) is said of nobody.
    """
    networks = document.all(Network).values()
    lists = document.all(AddressList).values()
    never = [each for one in networks if one.zone is NetworkZone.MANAGEMENT for each in one.networks]
    never += [each for one in lists if one.action is ListAction.ALLOW for each in one.networks]
    for trunk in document.all(Trunk).values():
        provider = document.find(Provider, trunk.provider)
        never += addresses_of(trunk, provider, machine.names) if provider is not None else trunk.accept_from
    never += [each for provider in document.all(Provider).values() for each in provider.media_networks]
    ours = [each for site in document.all(Site).values() for each in site.networks]
    ours += [each for one in networks if one.zone is not NetworkZone.MANAGEMENT for each in one.networks]
    black = [each for one in lists if one.action is ListAction.BLOCK for each in one.networks]
    return Policy(_networks((*never, *outer)), _networks(ours), _networks(black))


def sparing(policy: Policy, outer: Iterable[str]) -> Policy:
    """The same with more ``outer`` addresses, see :func:`policy`."""
    return Policy(_networks((*map(str, policy.protected), *outer)), policy.inside, policy.black)


def doors(document: Document, machine: Machine, emergency: Iterable[str] = ()) -> Doors:
    """What bans and quarantine leave open.

    :param emergency: numbers that call for help, in every form in which a phone may dial them.
    """
    return Doors.of(promise(document, machine), emergency)


def _networks(texts: Iterable[str]) -> tuple[model.Network, ...]:
    found = (ipaddress.ip_network(text) for text in texts)
    return tuple(sorted({each for each in found if each.prefixlen}, key=lambda each: (each.version, each)))
