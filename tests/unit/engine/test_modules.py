"""The allow-list of modules: each application and function that is loaded is used, and each that is used is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from appliance.applier import readback
from appliance.core.document import Document
from appliance.engine.modules import MODULES, modules_conf
from appliance.engine.plan import EngineParams, static_files
from appliance.pbx.context import Installation
from appliance.pbx.plan import desired
from appliance.run.demo import demo
from appliance.run.provider import provider_files
from tests.unit.store.documents import everything

GIVES: Final = {
    "app_bridgewait": {"BridgeWait"},
    "app_celgenuserevent": {"CELGenUserEvent"},
    "app_channelredirect": {"ChannelRedirect"},
    "app_dial": {"Dial"},
    "app_directed_pickup": {"PickupChan"},
    "app_echo": {"Echo"},
    "app_exec": {"ExecIf"},
    "app_originate": {"Originate"},
    "app_playback": {"Playback"},
    "app_playtones": {"StopPlayTones"},
    "app_read": {"Read"},
    "app_sayunixtime": {"SayUnixTime"},
    "app_softhangup": {"SoftHangup"},
    "app_stack": {"Gosub", "GosubIf", "Return", "LOCAL"},
    "app_userevent": {"UserEvent"},
    "func_callerid": {"CALLERID", "CONNECTEDLINE", "REDIRECTING"},
    "func_channel": {"CHANNEL", "CHANNELS"},
    "func_config": {"AST_CONFIG"},
    "func_cut": {"CUT", "SORT"},
    "func_db": {"DB", "DB_EXISTS", "DB_KEYS", "DB_DELETE"},
    "func_devstate": {"DEVICE_STATE"},
    "func_dialplan": {"DIALPLAN_EXISTS"},
    "func_global": {"GLOBAL"},
    "func_groupcount": {"GROUP", "GROUP_COUNT"},
    "func_hangupcause": {"HANGUPCAUSE", "HANGUPCAUSE_KEYS", "HangupCauseClear"},
    "func_logic": {"IF", "IMPORT", "EXISTS", "ISNULL"},
    "func_pjsip_aor": {"PJSIP_AOR"},
    "func_pjsip_contact": {"PJSIP_CONTACT"},
    "func_sorcery": {"AST_SORCERY"},
    "func_strings": {
        "ARRAY",
        "FIELDNUM",
        "FIELDQTY",
        "FILTER",
        "LEN",
        "REGEX",
        "REPLACE",
        "SHIFT",
        "PUSH",
        "TOUPPER",
        "STRFTIME",
    },
    "chan_pjsip": {"PJSIP_DIAL_CONTACTS", "PJSIP_MEDIA_OFFER", "PJSIP_PARSE_URI"},
    "res_musiconhold": {"MusicOnHold"},
    "res_pjsip_header_funcs": {"PJSIP_HEADER"},
}
"""Module → what it gives, as far as we use it. Source: the engine root's own documentation (core-en_US.xml)."""
BUILT_IN: Final = {
    "Answer", "Bridge", "Busy", "Congestion", "Goto", "GotoIf", "Hangup", "NoOp", "Progress", "Ringing", "SayDigits", "Set", "Wait"
}  # fmt: skip
"""Applications of the engine's core (main/pbx_builtins.c, main/features.c)."""
APPLICATION: Final = re.compile(r"^(?:exten => [^,\n]+,(?:\d+|n)|same => n)(?:\([^)]*\))?,(\w+)", re.MULTILINE)
FUNCTION: Final = re.compile(r"(?:\$\{|Set\(|,)([A-Z][A-Z_]+)\(")


def dialplans() -> str:
    """Everything that is ever dialplan: of a document with something of everything, of the demo, of the provider."""
    texts = []
    for document in (Document.of(everything()), Document.of(demo("127.0.0.1", lambda: "x").objects)):
        files = desired(document, Installation("token", dict.fromkeys(("line", "provider-account"), "x")))
        texts += [file.text for file in files.values()]
    texts.append(provider_files("x", "x")["extensions.conf"])
    return "\n".join(texts)


def used(text: str) -> set[str]:
    """Names of the applications and functions in it."""
    return set(APPLICATION.findall(text)) | set(FUNCTION.findall(text))


def test_every_application_and_function_that_is_loaded_is_used() -> None:
    asked = set(FUNCTION.findall(Path(readback.__file__).read_text().replace('f"', "${")))  # the applier, by AMI
    assert "AST_SORCERY" in asked
    names = used(dialplans()) | asked
    for module in MODULES:
        if module.startswith(("app_", "func_")):
            assert GIVES[module] & names, f"nothing uses {module} ({MODULES[module]})"


def test_every_application_and_function_that_is_used_is_loaded() -> None:
    known = BUILT_IN.union(*(names for module, names in GIVES.items() if module in MODULES))
    assert used(dialplans()) - known == set()


def test_what_the_command_line_of_the_engine_is_given_is_loaded() -> None:
    text = static_files(EngineParams(ami_secret="x"))["cli.conf"]
    assert "channel originate" in text
    assert "res_clioriginate" in MODULES
    assert "load=res_clioriginate.so" in modules_conf()
