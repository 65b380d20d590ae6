"""What must hold of roles and of what vouches for people, beyond what the model checks of itself (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.x509 import load_pem_x509_certificates

from appliance.access.roles import ANY, AREAS, BUILT_IN, VOUCHING, permission
from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.core.references import references
from appliance.kinds import KINDS
from appliance.organisation.model import DirectoryService, IdentityProvider, Person, PersonBy, Role, Secret


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    for role in document.all(Role).values():
        if role.id in BUILT_IN:
            yield Fault(
                role.path("id"),
                "is the id of a built-in role: that one counts, and this one for nothing",
                "give it another id, and people that one",
                "built_in_role",
                "warning",
            )
        for index, text in enumerate(role.permissions):
            yield from _permission(role.path(f"permissions[{index}]"), text)
    for service in document.all(DirectoryService).values():
        yield from _directory(document, service)
    for provider in document.all(IdentityProvider).values():
        yield from _provider(document, provider)
    yield from _shared(document)
    if _ways_in(document):
        yield from _ambiguous(document)


def _shared(document: Document) -> Iterator[Fault]:
    """Secrets of what vouches for people that other things use too: whoever may change those could have them sent elsewhere."""
    vouching = (document.objects.get(kind, {}) for kind in VOUCHING)
    theirs = {
        id
        for items in vouching
        for item in items.values()
        for _path, id, kinds in references(item)
        if Secret.kind in kinds
    }
    if not theirs:
        return
    for kind, items in document.objects.items():
        for item in items.values() if kind not in VOUCHING else ():
            for path, id, kinds in references(item):
                if Secret.kind in kinds and id in theirs:
                    yield Fault(
                        item.path(path),
                        f"secret/{id} is that of a directory or a provider of single sign-on: it is sent to nobody else",
                        "give each a secret of its own",
                        "secret_shared",
                    )


def _ways_in(document: Document) -> list[DirectoryService | IdentityProvider]:
    found: tuple[DirectoryService | IdentityProvider, ...] = (
        *document.all(DirectoryService).values(),
        *document.all(IdentityProvider).values(),
    )
    return [each for each in found if each.enabled]


def _directory(document: Document, service: DirectoryService) -> Iterator[Fault]:
    yield from _without_value(document, service, service.secret)
    yield from _certificates(service, service.authority)
    seen: set[tuple[str, int | None]] = set()
    for index, server in enumerate(service.servers):
        if (server.host.lower(), server.port) in seen:
            yield Fault(
                service.path(f"servers[{index}]"), "is named twice", "leave one of them out", "server_twice", "warning"
            )
        seen.add((server.host.lower(), server.port))
    typed = {name.lower() for name in service.login_attributes}
    if service.nested_groups and not service.groups and service.required_group is None:
        yield Fault(
            service.path("nested_groups"),
            "counts for nothing: there is no group",
            "name a required group, or groups that give roles",
            "no_groups",
            "warning",
        )
    if "dn" in typed or "objectclass" in typed:
        yield Fault(
            service.path("login_attributes"),
            "holds what nobody's name is",
            "uid and mail; in Active Directory sAMAccountName and userPrincipalName",
            "login_attribute",
        )


def _provider(document: Document, provider: IdentityProvider) -> Iterator[Fault]:
    yield from _without_value(document, provider, provider.secret)
    yield from _certificates(provider, provider.authority)
    if provider.claim == "email" and "email" not in provider.scopes:
        yield Fault(
            provider.path("scopes"),
            "has no email, which the claim email needs",
            "add email to the scopes",
            "scope_missing",
        )
    if provider.claim == "sub" and provider.person_by is PersonBy.EMAIL:
        yield Fault(
            provider.path("person_by"),
            "sub is no e-mail address",
            "choose id, or another claim",
            "claim_of_another_kind",
        )
    if "{" in provider.issuer or provider.issuer.rstrip("/").endswith(("/common/v2.0", "/organizations/v2.0")):
        yield Fault(
            provider.path("issuer"),
            "stands for accounts of every company",
            "enter the issuer of your own tenant",
            "issuer_of_everybody",
        )


def _without_value(document: Document, item: DirectoryService | IdentityProvider, id: str) -> Iterator[Fault]:
    secret = document.find(Secret, id)
    if item.enabled and secret is not None and secret.value is None:
        yield Fault(
            item.path("secret"),
            f"secret/{id} has no value: nobody gets in this way",
            f"centralino secret set {id}",
            "secret_missing",
            "warning",
        )


def _certificates(item: DirectoryService | IdentityProvider, authority: str | None) -> Iterator[Fault]:
    """Certificates that only look like some."""
    if authority is None:
        return
    try:
        load_pem_x509_certificates(authority.encode())
    except ValueError:
        yield Fault(
            item.path("authority"),
            "holds a certificate that can't be read",
            "paste the whole text from BEGIN to END",
            "certificate",
        )


def _ambiguous(document: Document) -> Iterator[Fault]:
    """Addresses that two people have: neither of them gets in by it."""
    first: dict[str, Person] = {}
    for person in document.all(Person).values():
        if person.email is None:
            continue
        other = first.setdefault(person.email.casefold(), person)
        if other is not person:
            yield Fault(
                person.path("email"),
                f"is that of {other.path()} too: neither gets in by a directory or a provider",
                "give each an address of its own",
                "email_twice",
                "warning",
            )


def _permission(path: str, text: str) -> Iterator[Fault]:
    found = permission(text)
    if found is None or found.subject not in (ANY, *KINDS, *AREAS):
        known = ", ".join((*KINDS, *AREAS))
        yield Fault(path, f"{text!r} names neither a kind nor an area", f"there are {known}", "unknown_permission")
    elif found.field and (found.subject not in KINDS or found.field not in KINDS[found.subject].model_fields):
        fields = ", ".join(KINDS[found.subject].model_fields) if found.subject in KINDS else "none"
        yield Fault(path, f"{text!r} names no field", f"there are {fields}", "unknown_permission")
