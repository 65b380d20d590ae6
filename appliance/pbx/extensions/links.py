"""Thin links between sites: so many calls at once, in certain codecs (pure).

``link,s,1(<site>,<where>)`` is asked before a call between the caller's site and another one is placed. It returns
``full``, or nothing: then the call is counted on the caller's channel, or with *where* ``legs`` on the legs that are
called; ``TO_OPTIONS`` are the options of Dial by which those legs offer the link's codecs only. ``link,free,1`` forgets
what a call that wasn't answered has taken; ``link,sent-on,1`` does the same for a call that is sent on, and notes in
``PLACE`` where the party stands that stays in the call. Emergency calls don't ask.
"""

from __future__ import annotations

from typing import Final

from appliance.core.asterisk import ConfFile, Section, dialplan, lookup
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx import carried
from appliance.pbx.media.codecs import codecs_line
from appliance.pbx.media.model import Codec, CodecPolicy


def context() -> Section:
    """The subroutines."""
    found = f"${{AST_CONFIG(tables/links.conf,{carried.PLACE},${{ARG1}})}}"
    return dialplan(
        "link",
        (
            "s",
            (
                "Gosub(link,free,1)",
                f'GotoIf($["{carried.PLACE}" = ""]?none)',
                f"Set(ARRAY(LINK,LINK_MAX,LINK_CODECS)={found})",
                'GotoIf($["${LINK}" = ""]?none)',
                # Who transfers a call holds its place on the link until that channel is gone, a moment after the call went on.
                "Set(LOCAL(patience)=$[${LEN(${BLINDTRANSFER})} > 0 ? 10 :: 0])",
                'asked: GotoIf($["${LINK_MAX}" = "" | ${GROUP_COUNT(${LINK}@link)} < 0${LINK_MAX}]?room)',
                "GotoIf($[${patience} < 1]?full)",
                "Set(LOCAL(patience)=$[${patience} - 1])",
                "Wait(0.1)",
                "Goto(asked)",
                'room: ExecIf($["${ARG2}" = "legs"]?Set(__LINK_LEGS=${LINK}):Set(GROUP(link)=${LINK}))',
                "Set(__LINK_CODECS=${REPLACE(LINK_CODECS,:,\\,)})",
                "Set(TO_OPTIONS=b(link^narrow^1))",
                "none: Return()",
                "full: Return(full)",
            ),
        ),
        (
            "free",
            ("Set(GROUP(link)=)", "Set(__LINK_LEGS=)", "Set(__LINK_CODECS=)", "Set(TO_OPTIONS=)", "Return()"),
        ),
        (
            "sent-on",
            (
                # The channel's own name tells which device or trunk it is, whoever called and whoever sends the call on.
                "Set(LOCAL(own)=${CHANNEL(name):6:-9})",
                "Set(LOCAL(own)=${CUT(own,@,1)})",
                f"Set(LOCAL(row)={lookup('devices', 'own')})",
                "ExecIf($[${LEN(${row})} > 0]?Set(__PLACE=${CUT(row,|,4)}))",
                "Goto(free,1)",
            ),
        ),
        (
            "narrow",
            (
                'ExecIf($["${LINK_LEGS}" != ""]?Set(GROUP(link)=${LINK_LEGS}))',
                'ExecIf($["${LINK_CODECS}" != ""]?Set(PJSIP_MEDIA_OFFER(audio)=${LINK_CODECS}))',
                "Return()",
            ),
        ),
    )


SENT_ON: Final = "Gosub(link,sent-on,1)"
"""Step for a call that is sent on: what it took of a link is given back, and who remains is known by its place."""


def thin_codecs(document: Document, site: Site) -> tuple[Codec, ...]:
    """Codecs that devices at a site speak first: those of its own links. The site at which a link stands is the one behind
    the thin line; a link that stands at the other one says nothing about it."""
    policies = (document.find(CodecPolicy, link.codec_policy) for link in site.links)
    return tuple(dict.fromkeys(codec for policy in policies if policy is not None for codec in policy.codecs))


def linked_sites(document: Document) -> frozenset[str]:
    """Sites with a thin link, at either end."""
    return frozenset(site for item in document.all(Site).values() for link in item.links for site in (item.id, link.to))


def links(document: Document) -> ConfFile:
    """``tables/links.conf``: one section per site, one row per other site: ``group,most calls,codecs``.

    A link holds both ways, whichever of the two sites it stands at. When both speak of it, the lower number of calls
    counts, and the codecs of the site whose id comes first. Codecs are separated by colons.
    """
    limits: dict[tuple[str, str], list[tuple[int | None, str | None]]] = {}
    for site in sorted(document.all(Site).values(), key=lambda item: item.id):
        for link in site.links:
            first, second = sorted((site.id, link.to))
            limits.setdefault((first, second), []).append((link.max_calls, link.codec_policy))
    rows: dict[str, list[tuple[str, str]]] = {}
    for (first, second), found in sorted(limits.items()):
        most = min((calls for calls, _ in found if calls is not None), default=None)
        policy = document.find(CodecPolicy, next((id for _, id in found if id is not None), None))
        codecs = codecs_line(policy).replace(",", ":") if policy else ""
        row = f"{first}.{second},{'' if most is None else most},{codecs}"
        rows.setdefault(first, []).append((second, row))
        rows.setdefault(second, []).append((first, row))
    return ConfFile("tables/links.conf", tuple(Section(site, tuple(rows[site])) for site in sorted(rows)))
