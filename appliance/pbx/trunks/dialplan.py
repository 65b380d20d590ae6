"""A trunk's dialplan: calls out with failover, and calls in (pure).

Subroutines for the other features (``Gosub``; the number is normalised by ``appliance.pbx.numbers``):

``carry.<trunk id>,${e164},1``
    Calls the number over this trunk. Comes back only when the *trunk* failed, so that the next one may be tried: it
    is full (or the thin link to its site), known to be away, unreachable, silent, or it refused for reasons of its own (3xx, 400–403, 407, 408, 415,
    488, 5xx, 606) before anything rang. Whatever the called party says (busy, no such number, no answer) ends the call
    with that cause, and so does anything after ringing or early media: nobody's telephone rings twice.
``sos.<trunk id>,${number},1(${round})``
    An emergency call over this trunk. Comes back whenever it wasn't answered. Ends another call of the trunk when that
    is full, and in round 2 (the trunk refused, so perhaps its lines are fewer than we know) in any case.

Variables: ``CLI``, ``CLIR`` (1: withheld), ``DIVERTED`` (E.164 of who forwards) and ``CALLER`` (E.164 of a caller from
outside) of the calling channel.

A **silent trunk** is left after 3.5 s. The SIP stack itself would wait 32 s (timer B, RFC 3261 17.1.1.2), and can't do
with less than 6.4 s, for all phones at once. So a watcher (a Local channel that lives those 3.5 s) looks whether any
response came to the INVITE, a bare 100 included, and hangs the leg up if none did. After a response, it may take what
it takes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section, dialplan
from appliance.pbx import carried
from appliance.pbx.numbers.dialling import national, normalise
from appliance.pbx.trunks.endpoint import endpoint_name, uri, uri_host
from appliance.pbx.trunks.model import Clir, IdentityHeader, Provider, RegisterAuth, Trunk
from appliance.pbx.trunks.numbers import called_from_wire, calling_from_wire, to_wire

NUMBER: Final = "_[+0-9]!"
"""Any number. Not ``_.``: that would take ``h`` and ``t`` too."""
SILENCE_SECONDS: Final = 3.5
RING_SECONDS: Final = 180
"""The longest that a called party may ring: networks give up before."""
EMERGENCY_RING_SECONDS: Final = 120
CALL_BACK_SECONDS: Final = 3600
"""So long after an emergency call a call from outside may be an answer to it."""
TRUNKS_OWN_REASONS: Final = "^SIP (3..|40[012378]|415|488|5..|606)"


def common() -> tuple[Section, ...]:
    """What all trunks share."""
    heard = "${IMPORT(${WATCHED},HANGUPCAUSE_KEYS())}"
    last = "${IMPORT(${WATCHED},HANGUPCAUSE(${WATCHED},tech))}"
    return (
        dialplan(
            "carried",
            (
                "s",
                (
                    'GotoIf($["${RINGTIME_MS}${PROGRESSTIME_MS}" != ""]?end)',
                    'GotoIf($["${HANGUPCAUSE_KEYS()}" = ""]?next)',
                    f'GotoIf(${{REGEX("{TRUNKS_OWN_REASONS}" ${{HANGUPCAUSE(${{HANGUPCAUSE_KEYS()}},tech)}})}}?next)',
                    "end: Hangup(${IF($[0${HANGUPCAUSE}]?${HANGUPCAUSE}:34)})",  # 0: we ended the leg ourselves
                    "next: Set(GROUP(link)=)",  # the next trunk may be at another site
                    "Return()",
                ),
            ),
        ),
        dialplan(
            "trunk-watch",
            (
                "s",
                (
                    f"Wait({SILENCE_SECONDS})",
                    f'GotoIf($["{heard}" = ""]?silent)',
                    f'GotoIf(${{REGEX("^SIP 40[17]" {last})}}?silent)',  # challenged, and then silent
                    "Hangup()",
                    "silent: SoftHangup(${WATCHED})",
                ),
            ),
        ),
        dialplan(
            "make-room",  # (trunk id): ends one call of a trunk that isn't an emergency call, a possible call-back last
            (
                "s",
                (
                    "Set(LOCAL(calls)=${CHANNELS(^PJSIP/trunk-${ARG1}-[0-9a-f]+$)})",
                    "Set(LOCAL(left)=${calls})",
                    "more: Set(LOCAL(one)=${SHIFT(left, )})",
                    'GotoIf($["${one}" = ""]?rest)',
                    'GotoIf($["${IMPORT(${one},CALL_KIND)}${IMPORT(${one},CALL_BACK)}" != ""]?more)',
                    "end: SoftHangup(${one})",
                    "Wait(0.3)",  # its BYE leaves before our INVITE
                    "Return()",
                    "rest: Set(LOCAL(one)=${SHIFT(calls, )})",
                    'GotoIf($["${one}" = ""]?done)',
                    'GotoIf($["${IMPORT(${one},CALL_KIND)}" = "emergency"]?rest:end)',
                    "done: Return()",
                ),
            ),
        ),
    )


@lru_cache(maxsize=8192)
def sections(
    trunk: Trunk, provider: Provider, country: str, outside_prefix: str, linked: bool = False
) -> tuple[Section, ...]:
    """All contexts of a trunk. ``country`` and ``outside_prefix`` are the number plan's; ``linked``: it stands at a site
    with a thin link."""
    return (
        _carry(trunk, provider, linked),
        _sos(trunk, provider),
        _leg(trunk, provider, linked),
        _inbound(trunk, provider, country, outside_prefix),
    )


def _carry(trunk: Trunk, provider: Provider, linked: bool) -> Section:
    leg = endpoint_name(trunk.id)
    excuses = []
    if provider.probe:  # known to be away; dialling it would put an error into the log for each call
        excuses.append(f'"${{PJSIP_DIAL_CONTACTS({leg})}}" = ""')
    if trunk.max_calls is not None:
        excuses.append(f"${{GROUP_COUNT({trunk.id}@trunk)}} >= {trunk.max_calls}")
    steps = [f"GotoIf($[{excuse}]?skip)" for excuse in excuses]
    if linked:
        steps += [f"Gosub(link,s,1({trunk.site}))", 'GotoIf($["${GOSUB_RETVAL}" != ""]?skip)']
    ringback = "" if provider.early_media else "r"
    called = to_wire("EXTEN", provider.identity.called_form, provider.country)
    steps += [
        f"Set(_OUT={_caller(trunk, provider)})",
        "HangupCauseClear()",
        # i: a 302 of the provider is no way to call numbers that nobody checked
        f"Dial(PJSIP/{called}@{leg},{RING_SECONDS},i{ringback}b(leg.{trunk.id}^s^1))",
        "Goto(carried,s,1)",
    ]
    if excuses or linked:
        steps.append("skip: Return()")
    return dialplan(f"carry.{trunk.id}", (NUMBER, steps))


def _caller(trunk: Trunk, provider: Provider) -> str:
    """The expression for the calling number, E.164, which may be empty."""
    own = trunk.caller_number or ""
    if provider.identity.screening:
        return f"${{IF($[${{LEN(${{CLI}})}} > 4 & ${{DIALPLAN_EXISTS(did,${{CLI}},1)}}]?${{CLI}}:{own})}}"
    inside = f'${{IF($["${{CLI}}" != ""]?${{CLI}}:{own})}}'
    return f'${{IF($["${{CALLER}}" != ""]?${{CALLER}}:{inside})}}'


def _sos(trunk: Trunk, provider: Provider) -> Section:
    called = to_wire("EXTEN", provider.identity.called_form, provider.country)
    full = f"${{GROUP_COUNT({trunk.id}@trunk)}} >= {trunk.max_calls}" if trunk.max_calls is not None else "0"
    # By URI, not by AOR: a trunk that is thought to be away is tried all the same.
    target = f"PJSIP/{endpoint_name(trunk.id)}/{uri(trunk, provider, called)}"
    return dialplan(
        f"sos.{trunk.id}",
        (
            "_X.",
            (
                f"ExecIf($[{full} | ${{ARG1}} = 2]?Gosub(make-room,s,1({trunk.id})))",
                f'Set(_OUT=${{IF($["${{EMERGENCY_CLI}}" != ""]?${{EMERGENCY_CLI}}:{trunk.caller_number or ""})}})',
                f"Dial({target},{EMERGENCY_RING_SECONDS},ib(leg.{trunk.id}^s^1))",
                "Return()",
            ),
        ),
    )


def _leg(trunk: Trunk, provider: Provider, linked: bool) -> Section:
    """Runs on the leg to the provider before its INVITE leaves: identity, count, watcher."""
    identity = provider.identity
    number = to_wire("OUT", identity.calling_form, provider.country)
    steps = [f"Set(GROUP(trunk)={trunk.id})"]
    if trunk.max_calls is not None:  # two calls that took the last line at the same instant: the later one yields
        over = f'$["${{CALL_KIND}}" != "emergency" & ${{GROUP_COUNT({trunk.id}@trunk)}} > {trunk.max_calls}]'
        steps.append(f"ExecIf({over}?SoftHangup(${{CHANNEL(name)}}))")
    if linked:
        narrow = '$["${LINK_CODECS}" != "" & "${CALL_KIND}" != "emergency"]'
        steps.append(f"ExecIf({narrow}?Set(PJSIP_MEDIA_OFFER(audio)=${{LINK_CODECS}}))")
    steps += [
        "Set(CONNECTEDLINE(name,i)=)",
        f"Set(CONNECTEDLINE(num,i)={number})",
        'Set(CONNECTEDLINE(num-pres,i)=${IF($["${CLIR}" = "1"]?prohib_passed_screen:allowed_passed_screen)})',
    ]
    if identity.send_diversion:  # count 0: no header, whatever else the engine knows about forwards inside
        diverted = to_wire("DIVERTED", identity.calling_form, provider.country)
        steps += [
            'Set(REDIRECTING(count,i)=${IF($["${DIVERTED}" != ""]?1:0)})',
            f'ExecIf($["${{DIVERTED}}" != ""]?Set(REDIRECTING(from-num,i)={diverted}))',
            "Set(REDIRECTING(from-name,i)=)",
            "Set(REDIRECTING(reason,i)=cfu)",
        ]
    if identity.header is IdentityHeader.FROM and identity.clir is Clir.PRIVACY_ID:
        for header, value in (("P-Asserted-Identity", f"<sip:{number}@{uri_host(trunk.host)}>"), ("Privacy", "id")):
            steps.append(f'ExecIf($["${{CLIR}}" = "1"]?Set(PJSIP_HEADER(add,{header})={value}))')
    steps += ["Originate(Local/s@trunk-watch/n,app,Wait,1,,10,av(WATCHED=${CHANNEL(name)}))", "Return()"]
    return dialplan(f"leg.{trunk.id}", ("s", steps))


def _inbound(trunk: Trunk, provider: Provider, country: str, outside_prefix: str) -> Section:
    """Calls from the provider: both numbers normalised, then ``dids``.

    Phones see the caller as they would dial him, outside prefix included, so that calling back from a list works; the
    E.164 number is in ``CALLER`` and in ANI. A withheld number stays withheld: it isn't kept, even if the provider told
    it, and a call that is forwarded to the outside is withheld again.
    """
    name = endpoint_name(trunk.id)
    shown = f'${{IF($["${{CALLER:0:1}}" = "+"]?{outside_prefix}{national("CALLER", country)}:${{CALLER}})}}'
    steps = [
        f"Set(GROUP(trunk)={trunk.id})",
        f"Set(__FROM_TRUNK={trunk.id})",
        # It may be the emergency services who call back: see make-room.
        f"ExecIf($[${{EPOCH}} - 0${{EMERGENCY_AT}} < {CALL_BACK_SECONDS}]?Set(CALL_BACK=1))",
        *((f"Set({carried.FROM}={carried.packed(site=trunk.site)})",) if trunk.site else ()),
        "Set(CALLED=${FILTER(+0-9,${EXTEN})})",
        normalise(called_from_wire("CALLED", provider), provider.country),
        "Set(__CALLED=${GOSUB_RETVAL})",
        "Set(CALLERID(dnid)=${CALLED})",
        "Set(CALLER=${FILTER(+0-9,${CALLERID(num)})})",
        'GotoIf($["${CALLER}" = "" | "${CALLERID(num-pres):0:6}" = "prohib"]?withheld)',
        normalise(calling_from_wire("CALLER", provider), provider.country),
        "Set(__CALLER=${GOSUB_RETVAL})",
        "Set(CALLERID(ani)=${CALLER})",
        f"Set(CALLERID(num)={shown})",
        'GotoIf($["${CALLED}" = ""]?nobody)',
        "go: Goto(dids,${CALLED},1)",
        "withheld: Set(__CALLER=)",
        "Set(__CLIR=1)",
        "Set(CALLERID(all)=)",
        "Set(CALLERID(ani)=)",
        "Set(CALLERID(pres)=prohib)",
        'GotoIf($["${CALLED}" != ""]?go)',
        "nobody: Hangup(1)",
    ]
    extensions: list[tuple[str, list[str]]] = [(NUMBER, steps)]
    if isinstance(trunk.auth, RegisterAuth):
        # The request names our contact: who is called stands in To; the account itself is the line's main number.
        main = f"Goto({trunk.caller_number},1)" if trunk.caller_number else "Hangup(1)"
        to = [
            "Set(TO=${FILTER(+0-9,${PJSIP_PARSE_URI(${CHANNEL(pjsip,local_uri)},user)})})",
            "GotoIf(${DIALPLAN_EXISTS(did,+${TO},1)}?+${TO},1)",
            "GotoIf($[${LEN(${TO})} > 4]?${TO},1)",
            main,
        ]
        extensions.append((name, to))
    return dialplan(f"from-{name}", *extensions)
