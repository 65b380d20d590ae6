"""trunks → engine configuration (pure)."""

from __future__ import annotations

import ipaddress

from appliance.core.asterisk import Section
from appliance.core.document import Document
from appliance.organisation.model import Company, Site
from appliance.pbx.context import Installation
from appliance.pbx.extensions.links import linked_sites
from appliance.pbx.feature import Contribution
from appliance.pbx.media.model import CodecPolicy, Listener, Transport, Zone
from appliance.pbx.numbers.model import NumberPlan
from appliance.pbx.trunks import dialplan, endpoint
from appliance.pbx.trunks.model import Provider, RegisterAuth, Trunk


def contribute(document: Document, installation: Installation) -> Contribution:
    """SIP objects and contexts of every trunk."""
    trunks = document.all(Trunk)
    if not trunks:
        return Contribution()
    plan = next(iter(document.all(NumberPlan).values()), None)
    country, prefix = (plan.country, plan.outside_prefix) if plan else ("IT", "")
    linked = linked_sites(document)
    pjsip: list[Section] = []
    contexts = list(dialplan.common())
    for trunk in trunks.values():
        provider = document.get(Provider, trunk.provider)
        secret = installation.secrets.get(trunk.auth.secret) if isinstance(trunk.auth, RegisterAuth) else None
        pjsip += endpoint.sections(
            trunk,
            provider,
            document.find(CodecPolicy, provider.codec_policy),
            listener_for(document, trunk, provider),
            _language(document, trunk),
            secret,
        )
        contexts += dialplan.sections(trunk, provider, country, prefix, trunk.site in linked)
    return Contribution(pjsip=tuple(pjsip), dialplan=tuple(contexts))


def listener_for(document: Document, trunk: Trunk, provider: Provider) -> Listener | None:
    """The listener that a trunk's calls leave by: of its transport and address family, one for trunks if there is."""
    version = ipaddress.ip_address(trunk.host).version if endpoint.is_address(trunk.host) else 4
    fitting = [
        listener
        for listener in document.all(Listener).values()
        if listener.transport is Transport(provider.transport)
        and ipaddress.ip_address(listener.address).version == version
    ]
    return min(fitting, key=lambda listener: (listener.zone is not Zone.TRUNKS, listener.id), default=None)


def _language(document: Document, trunk: Trunk) -> str:
    """Language of what callers of a trunk hear."""
    site = document.find(Site, trunk.site)
    if site and site.language:
        return site.language
    company = document.find(Company, site.company) if site else next(iter(document.all(Company).values()), None)
    return company.language if company else "it"
