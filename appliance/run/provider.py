"""The simulated provider of the demo: a second, small engine that behaves like a telephone company.

It is the registrar of the demo's line (digest authentication), answers every call by saying the number dialled and with
an echo, and calls back whoever dials CALL_BACK_NUMBER. Emergency calls
end here too: nothing leaves this machine.
"""

from __future__ import annotations

from typing import Final

from appliance.core.asterisk import ConfFile, Section, dialplan
from appliance.engine.plan import EngineParams, static_files
from appliance.run.demo import CALL_BACK_NUMBER, MAIN_NUMBER, PROVIDER_ACCOUNT, PROVIDER_PORT

PROVIDER_AMI_PORT: Final = 5039
_RING_S: Final = 2


def provider_files(password: str, ami_secret: str) -> dict[str, str]:
    """Every configuration file of the simulated provider."""
    params = EngineParams(
        ami_secret=ami_secret,
        system_name="provider",
        ami_port=PROVIDER_AMI_PORT,
        rtp_first=30000,
        rtp_last=30999,
        cel_events=(),
    )
    return {
        **static_files(params),
        "pjsip.conf": ConfFile("pjsip.conf", _pjsip(password)).text,
        "extensions.conf": ConfFile("extensions.conf", _dialplan()).text,
    }


def _pjsip(password: str) -> tuple[Section, ...]:
    endpoint = (
        ("context", "from-customer"),
        ("disallow", "all"),
        ("allow", "alaw,ulaw"),
        ("auth", PROVIDER_ACCOUNT),
        ("aors", PROVIDER_ACCOUNT),
        ("trust_id_inbound", "yes"),
        ("send_pai", "yes"),
        ("direct_media", "no"),
        ("language", "it"),
    )
    return (
        Section("global", (("user_agent", "Simulated provider"),), "global"),
        Section("udp", (("protocol", "udp"), ("bind", f"127.0.0.1:{PROVIDER_PORT}")), "transport"),
        Section(PROVIDER_ACCOUNT, endpoint, "endpoint"),
        Section(
            PROVIDER_ACCOUNT,
            (("auth_type", "userpass"), ("username", PROVIDER_ACCOUNT), ("password", password)),
            "auth",
        ),
        Section(PROVIDER_ACCOUNT, (("max_contacts", "1"), ("remove_existing", "yes")), "aor"),
        Section(PROVIDER_ACCOUNT, (("endpoint", PROVIDER_ACCOUNT), ("match", "127.0.0.1/32")), "identify"),
    )


def _dialplan() -> tuple[Section, ...]:
    digits = CALL_BACK_NUMBER.removeprefix("+")
    called_back = [f"Originate(Local/s@call-back,exten,announce,{digits},1,,a)", "Hangup(17)"]
    return (
        dialplan(
            "from-customer",
            (f"+{digits}", called_back),
            ("_[+0-9]!", ["Goto(announce,${EXTEN},1)"]),
        ),
        dialplan(
            "announce",
            (
                "_[+0-9]!",
                [
                    "Ringing()",
                    f"Wait({_RING_S})",
                    "Answer()",
                    "Wait(1)",
                    "SayDigits(${FILTER(0-9,${EXTEN})})",
                    "Playback(demo-echotest)",
                    "Echo()",
                ],
            ),
        ),
        dialplan(
            "call-back",
            ("s", ["Wait(4)", f"Set(CALLERID(num)=+{digits})", f"Dial(PJSIP/{MAIN_NUMBER}@{PROVIDER_ACCOUNT},40)"]),
        ),
    )
