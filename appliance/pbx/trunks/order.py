"""Which trunks, in which order (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx.trunks.model import Trunk, TrunkGroup


def flattened(document: Document, ids: Iterable[str]) -> tuple[str, ...]:
    """Trunk ids with groups taken apart, each once, in order. An id that is both is the trunk's."""
    found: dict[str, None] = {}
    for id in ids:
        group = None if document.find(Trunk, id) else document.find(TrunkGroup, id)
        found.update(dict.fromkeys(group.trunks if group else (id,)))
    return tuple(found)


def everywhere(document: Document) -> tuple[str, ...]:
    """Every trunk: first what the sites name, in their order, then what no site names."""
    named = (trunk for site in document.all(Site).values() for trunk in flattened(document, site.trunks))
    return tuple(dict.fromkeys((*named, *document.all(Trunk))))
