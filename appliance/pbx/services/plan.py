"""services → engine configuration (pure): star codes and the announcements behind them.

Contexts: ``services`` holds the codes of the document (it is part of ``from-device``), ``service-<service>`` the
services themselves, extension ``s``, for destinations. Prompts are in the language of the calling extension.

=============  =========================================================================================================
echo           sends back what it hears, to check audio both ways
which_number   says the number of the extension that calls
date_time      says date and time in the time zone of the caller's site, or of the first one
hold_music     plays the music on hold
dnd_on, _off   ``dnd/<extension id>``: calls meet a busy extension
forward_set    code and number in one, or the number after the prompt: ``forward/<extension id>``. Refused ("invalid")
               when calls can't be sent there: neither a service nor an emergency number, and outside only for a class
               that may forward outside. What the class may call is looked at when a call is forwarded.
forward_off    no forwarding any more
lock, unlock   ``lock/<extension id>``: no outside calls. No code: it guards against passers-by, not against thieves,
               and it is always the own extension that is locked or unlocked.
=============  =========================================================================================================

The values live in the engine's database, outlast its restart, and go with their extension.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section, dialplan, lookup
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.extensions.steps import digits
from appliance.pbx.extensions.tables import TO, TO_FORWARD, TO_ID
from appliance.pbx.feature import Contribution
from appliance.pbx.numbers.model import Service, ServiceCode

DIGIT_TIMEOUT_S: Final = 5


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """This feature's part of the engine's configuration."""
    codes = tuple(sorted(document.all(ServiceCode).values(), key=lambda item: item.code))
    return Contribution(dialplan=(_codes(codes), *_services(next(iter(document.all(Site)), ""))))


@lru_cache(maxsize=2)
def _codes(codes: tuple[ServiceCode, ...]) -> Section:
    extensions: list[tuple[str, tuple[str, ...]]] = []
    for item in codes:
        extensions.append((item.code, (f"Goto(service-{item.service},s,1)",)))
        if item.service is Service.FORWARD_SET:
            forward = f"Goto(service-{item.service},{digits(len(item.code))},1)"
            extensions.append((f"_{item.code}X.", ("Answer()", forward)))
    return dialplan("services", *extensions)


@lru_cache(maxsize=2)
def _services(site: str) -> tuple[Section, ...]:
    """``site``: whose time callers hear that are at none, calls from a trunk without a site."""
    time = (
        "Answer()",
        f"Set(SITE={carried.SITE})",
        f'ExecIf($["${{SITE}}" = ""]?Set(SITE={site}))',
        f"Set(TIME_ZONE={lookup('sites', 'SITE')})",
        'SayUnixTime(,${TIME_ZONE},${IF($["${CHANNEL(language)}" = "it"]?AdBkM:ABdIMp)})',
        "Hangup(16)",
    )
    return tuple(
        dialplan(f"service-{service}", ("s", steps))
        if service is not Service.FORWARD_SET
        else dialplan(f"service-{service}", ("s", steps), ("_[+*#0-9]!", _FORWARD))
        for service, steps in {**_STEPS, Service.DATE_TIME: time}.items()
    )


def _told(family: str, value: str, extension: str = carried.EXTENSION) -> str:
    """Tell the hub: the engine itself says nothing of its database. Whoever else writes there does the same by action."""
    return f"UserEvent(Setting,Family: {family},Key: {extension},Value: {value})"


def _set(family: str, value: str, *prompts: str) -> tuple[str, ...]:
    # From a trunk there is no extension whose value could be set.
    return (
        f'GotoIf($["{carried.EXTENSION}" = ""]?nobody)',
        "Answer()",
        f"Set(DB({family}/{carried.EXTENSION})={value})",
        _told(family, value),
        f"Playback({'&'.join(prompts)})",
        "nobody: Hangup(16)",
    )


def _clear(family: str, *prompts: str) -> tuple[str, ...]:
    return (
        f'GotoIf($["{carried.EXTENSION}" = ""]?nobody)',
        "Answer()",
        f"Set(CLEARED=${{DB_DELETE({family}/{carried.EXTENSION})}})",
        _told(family, ""),
        f"Playback({'&'.join(prompts)})",
        "nobody: Hangup(16)",
    )


_FORWARD: Final = (
    f"Set(OWN_NUMBER={carried.NUMBER})",
    f"Set({TO}={lookup('extensions', 'OWN_NUMBER')})",
    f'GotoIf($["{TO_ID}" = "" | "${{EXTEN}}" = "${{OWN_NUMBER}}"]?invalid)',
    f"GotoIf($[!${{DIALPLAN_EXISTS(sent-on-{TO_FORWARD},${{EXTEN}},1)}}]?invalid)",
    f"Set(DB(forward/{TO_ID})=${{EXTEN}})",
    _told("forward", "${EXTEN}", TO_ID),
    "Playback(call-forwarding&activated)",
    "Hangup(16)",
    "invalid: Playback(pbx-invalid)",
    "Hangup(16)",
)
_STEPS: Final[dict[Service, tuple[str, ...]]] = {
    Service.ECHO: ("Answer()", "Echo()", "Hangup(16)"),
    Service.WHICH_NUMBER: ("Answer()", "Playback(extension)", f"SayDigits({carried.NUMBER})", "Hangup(16)"),
    Service.HOLD_MUSIC: ("Answer()", "MusicOnHold()", "Hangup(16)"),
    Service.DND_ON: _set("dnd", "1", "do-not-disturb", "activated"),
    Service.DND_OFF: _clear("dnd", "do-not-disturb", "de-activated"),
    Service.FORWARD_SET: (
        f'GotoIf($["{carried.EXTENSION}" = ""]?nobody)',
        "Answer()",
        f"Read(NUMBER,vm-enter-num-to-call,20,,1,{DIGIT_TIMEOUT_S})",
        'GotoIf($["${NUMBER}" = ""]?nobody)',
        "Goto(${FILTER(+*#0-9,${NUMBER})},1)",
        "nobody: Hangup(16)",
    ),
    Service.FORWARD_OFF: _clear("forward", "call-forwarding", "de-activated"),
    Service.LOCK: _set("lock", "1", "activated"),
    Service.UNLOCK: _clear("lock", "de-activated"),
}
