"""What the doctor says of directories and providers of single sign-on: asked for real, with what the portal was handed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.x509 import load_pem_x509_certificates

from appliance.access.directories import Directories
from appliance.access.openid import WHOLE_S, OpenId, reason_of
from appliance.access.outward import Outward
from appliance.access.providers import callback_of
from appliance.access.providers import enabled as enabled_providers
from appliance.commands.findings import Finding, Grade
from appliance.core.document import Document
from appliance.core.errors import RefusedError, UnavailableError
from appliance.i18n import _, translated
from appliance.organisation.model import DirectoryService, IdentityProvider
from appliance.paths import Paths
from appliance.store.handed import Handed

CHECK: Final = "single sign-on"
SOON: Final = timedelta(days=30)


def ways_in(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Whether each answers, with a good certificate, and takes us."""
    if document is None:
        return
    outward = Outward()
    directories = Directories(Handed(paths.handed_to("console")).get, outward)
    for service, problems in directories.probe(document):
        bad = [
            Finding(CHECK, Grade.FAULT, f"{service.id}: {translated(each.message)}", _hint(each)) for each in problems
        ]
        yield from bad or [Finding(CHECK, Grade.OK, _("{name} answers and takes us").format(name=service.id))]
        yield from _authority(service)
    openid = OpenId()
    for provider in enabled_providers(document):
        try:
            outward.ask(lambda provider=provider: openid.probe(provider), WHOLE_S)  # type: ignore[misc]
        except (RefusedError, UnavailableError) as error:
            yield Finding(CHECK, Grade.FAULT, f"{provider.id}: {translated(error.message)} ({translated(reason_of(error))})",
                          _("compare issuer and authority with what the provider says"))  # fmt: skip
        else:
            yield Finding(CHECK, Grade.OK, _("{name} answers; it must know the address {address}").format(
                name=provider.id, address=callback_of(provider.id)))  # fmt: skip
        yield from _authority(provider)


def _hint(error: UnavailableError) -> str:
    """What to do, unless it is to ask the doctor."""
    return "" if error.hint == "centralino doctor" else translated(error.hint)


def _authority(item: DirectoryService | IdentityProvider) -> Iterator[Finding]:
    """Authorities that end soon: then nobody gets in this way."""
    if item.authority is None:
        return
    first = min(each.not_valid_after_utc for each in load_pem_x509_certificates(item.authority.encode()))
    if first < datetime.now(UTC) + SOON:
        yield Finding(CHECK, Grade.WARNING, _("{name}: its authority's certificate ends on {day}").format(
            name=item.id, day=first.date().isoformat()), _("enter the new one beside it in time"))  # fmt: skip
