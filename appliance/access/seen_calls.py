"""Which calls of the history somebody may see (pure)."""

from __future__ import annotations

from typing import Final

from appliance.access.permissions import Subject
from appliance.core.document import Document
from appliance.core.errors import RefusedError
from appliance.history.filter import Visible
from appliance.organisation.model import Site
from appliance.pbx.extensions.model import Extension

AREA: Final = "history"


def visible_calls(subject: Subject, document: Document) -> Visible | None:
    """What a subject may see of the history, by the document in force; None: everything.

    Whoever is tied to sites sees the calls in which somebody at one of them took part; whoever sees only what is its own, the calls of
    its extensions. A call that may be seen is seen whole, the other parties' legs too.

    :raises RefusedError: ``forbidden``: no grant opens the history.
    """
    grants = [grant for grant in subject.grants if grant.covers(AREA, "", edit=False)]
    if not grants:
        raise RefusedError("you may not see calls that have ended", "ask an administrator", error_id="forbidden")
    if any(grant.everywhere for grant in grants):
        return None
    sites = [grant.sites for grant in grants if not grant.own and grant.sites is not None]
    own = [grant for grant in grants if grant.own]
    extensions = frozenset(
        extension.number
        for extension in document.all(Extension).values()
        if extension.person == subject.person
        and any(grant.sites is None or extension.site in grant.sites for grant in own)
    )
    return Visible(extensions, frozenset().union(*sites))


def zone_of_reader(subject: Subject, document: Document) -> str:
    """The time zone in which somebody reads times: of the site of its own extension, else of a site that it is tied to, else of the
    first one."""
    sites = document.all(Site)
    own = (extension.site for extension in document.all(Extension).values() if extension.person == subject.person)
    tied = (site for grant in subject.grants for site in sorted(grant.sites or ()))
    found = next((sites[id] for id in (*own, *tied, *sites) if id in sites), None)
    return "Europe/Rome" if found is None else found.time_zone
