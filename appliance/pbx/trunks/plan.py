"""trunks → engine configuration (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.core.asterisk import LINE_MAX, Section, writable
from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.organisation.model import Company, Secret, Site
from appliance.pbx.context import Installation
from appliance.pbx.extensions.links import linked_sites
from appliance.pbx.feature import Contribution
from appliance.pbx.media.model import CodecPolicy
from appliance.pbx.numbers.model import NumberPlan
from appliance.pbx.trunks import dialplan, endpoint
from appliance.pbx.trunks.listeners import listener_for
from appliance.pbx.trunks.model import Provider, RegisterAuth, Trunk
from appliance.pbx.trunks.names import resolved


def contribute(document: Document, installation: Installation) -> Contribution:
    """SIP objects and contexts of every trunk. A password that no file can carry counts as none."""
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
        if secret is not None and not _can_be_written(secret):
            secret = None
        pjsip += endpoint.sections(
            trunk,
            provider,
            document.find(CodecPolicy, provider.codec_policy),
            listener_for(document, trunk, provider),
            _language(document, trunk),
            secret,
            resolved(trunk, provider, installation.names),
        )
        contexts += dialplan.sections(trunk, provider, country, prefix, trunk.site in linked)
    return Contribution(pjsip=tuple(pjsip), dialplan=tuple(contexts))


def unwritable(document: Document, secrets: Mapping[str, str]) -> Iterator[Fault]:
    """Passwords of trunks that no file of the engine can carry: sealed by hand or by another program, for the command
    takes none like these. Nothing of them may be shown."""
    used = {trunk.auth.secret for trunk in document.all(Trunk).values() if isinstance(trunk.auth, RegisterAuth)}
    for id in sorted(used):
        if not _can_be_written(secrets.get(id, "")):
            yield Fault(
                f"{Secret.kind}/{id}/value",
                "can't be written to the engine's files: it is too long, holds control characters, or starts or ends"
                " with white space",
                f"centralino secret set {id}",
                "secret",
            )


def _can_be_written(secret: str) -> bool:
    return writable(secret) and len(secret.encode()) <= LINE_MAX // 2


def _language(document: Document, trunk: Trunk) -> str:
    """Language of what callers of a trunk hear."""
    site = document.find(Site, trunk.site)
    if site and site.language:
        return site.language
    company = document.find(Company, site.company) if site else next(iter(document.all(Company).values()), None)
    return company.language if company else "it"
