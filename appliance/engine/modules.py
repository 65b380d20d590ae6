"""The allow-list of Asterisk's modules: nothing else is loaded. Each has its reason (pure).

Later features add a group here; a module's own dependencies must be listed too, because autoload is off.
"""

from __future__ import annotations

from typing import Final

CORE: Final = {
    "res_timing_timerfd": "clock of playback and mixing: the kernel's timers",
    "res_sorcery_config": "objects from files: endpoints, AORs, transports",
    "res_sorcery_memory": "objects that live as long as the process: dynamic state",
    "res_sorcery_astdb": "contacts of registered devices, kept over a restart",
    "res_security_log": "failed logins and refused requests to the security log, for bans",
    "pbx_config": "the dialplan from extensions.conf",
    "res_cdrel_custom": "writes event records fast, without evaluating expressions",
    "cel_custom": "channel events, one line each, to the history's spool",
}
SIP: Final = {
    "res_pjproject": "the SIP stack's own log and options",
    "res_pjsip": "SIP",
    "res_pjsip_session": "INVITE sessions",
    "chan_pjsip": "SIP channels",
    "res_pjsip_authenticator_digest": "checks passwords of devices",
    "res_pjsip_outbound_authenticator_digest": "answers challenges of providers",
    "res_pjsip_outbound_registration": "registers trunks with providers",
    "res_pjsip_registrar": "registrations of devices",
    "res_pjsip_path": "registrations through an edge proxy (RFC 3327)",
    "res_pjsip_endpoint_identifier_user": "devices are known by their user name",
    "res_pjsip_endpoint_identifier_ip": "trunks without registration are known by their address",
    "res_pjsip_acl": "who may talk SIP to us at all",
    "res_pjsip_nat": "devices behind address translation",
    "res_pjsip_caller_id": "From, P-Asserted-Identity, Remote-Party-ID; connected line",
    "res_pjsip_diversion": "Diversion of forwarded calls (RFC 5806)",
    "res_pjsip_header_funcs": "identity headers of trunks; distinctive ringing",
    "res_pjsip_rfc3326": "Reason: answered elsewhere, so that the losing phones show no missed call",
    "res_pjsip_refer": "transfers by REFER (RFC 3515)",
    "res_pjsip_dtmf_info": "DTMF from devices that send it as INFO",
    "res_pjsip_empty_info": "answers empty INFO (keep-alive of some session border controllers)",
    "res_pjsip_notify": "check-sync and talk/hold events to devices",
    "res_pjsip_dlg_options": "answers OPTIONS within a call: providers' session keep-alive",
    "res_pjsip_pubsub": "subscriptions",
    "res_pjsip_outbound_publish": "required by res_pjsip_exten_state",
    "res_pjsip_exten_state": "busy lamps: subscriptions to hints",
    "res_pjsip_dialog_info_body_generator": "busy lamps of most phones (RFC 4235)",
    "res_pjsip_pidf_body_generator": "presence (RFC 3863)",
    "res_pjsip_xpidf_body_generator": "presence for older phones",
    "res_http_websocket": "WebSockets for browsers",
    "res_pjsip_transport_websocket": "SIP over WSS (RFC 7118)",
}
MEDIA: Final = {
    "res_pjsip_sdp_rtp": "audio in SDP",
    "res_rtp_asterisk": "RTP, RTCP, ICE, DTLS",
    "res_srtp": "encrypted media",
    "res_pjsip_t38": "fax (T.38) passed through",
    "res_format_attr_opus": "Opus parameters in SDP (RFC 7587)",
    "codec_alaw": "G.711 A-law: Europe's trunks and phones",
    "codec_ulaw": "G.711 µ-law: phones that offer nothing else",
    "codec_a_mu": "A-law to µ-law in one step",
    "codec_g722": "wideband phones; our prompts",
    "codec_opus_open_source": "browsers and mobiles",
    "codec_resample": "between narrowband and wideband",
    "format_pcm": "prompts and music in G.711 and G.722",
    "format_wav": "recorded announcements",
    "bridge_simple": "two-party calls",
    "bridge_native_rtp": "two-party calls without decoding",
    "bridge_softmix": "three parties during an attended transfer",
    "bridge_holding": "waiting: music on hold inside a bridge",
    "bridge_builtin_features": "feature codes during a call",
    "res_musiconhold": "music on hold",
}
APPLICATIONS: Final = {
    "app_dial": "calls",
    "app_bridgewait": "whom a consultation lets wait: music, in a bridge of its own",
    "app_channelredirect": "who waits is told that nobody is left to wait for",
    "app_playback": "announcements",
    "app_playtones": "a ringing tone is stopped when a consultation ends",
    "app_sayunixtime": "date and time service",
    "app_echo": "echo test",
    "app_read": "digits from the caller: codes, service numbers",
    "app_stack": "Gosub and hangup handlers",
    "app_exec": "conditional application without a branch",
    "app_celgenuserevent": "quality of each leg into the history",
    "app_softhangup": "emergency calls take a line from another call",
    "res_clioriginate": "announces every start of the engine to the history",
    "app_originate": "calls that the engine itself places",
    "app_userevent": "events to the hub",
    "app_directed_pickup": "a call that rings elsewhere is taken",
}
FUNCTIONS: Final = {
    "func_callerid": "CALLERID, CONNECTEDLINE, REDIRECTING",
    "func_channel": "CHANNEL: media quality, hangup handlers, language",
    "func_config": "AST_CONFIG: hot tables",
    "func_cut": "CUT, SORT",
    "func_db": "DB: values that a phone can set",
    "func_devstate": "DEVICE_STATE: which phones may ring",
    "func_dialplan": "DIALPLAN_EXISTS",
    "func_global": "GLOBAL: when the last emergency call was",
    "func_groupcount": "GROUP_COUNT: limits of trunks and between sites",
    "func_hangupcause": "HANGUPCAUSE: what a trunk answered, for failover",
    "func_logic": "IF, EXISTS, ISNULL",
    "func_pjsip_aor": "PJSIP_AOR: the contacts of a device",
    "func_pjsip_contact": "PJSIP_CONTACT: at which listener a phone registered",
    "func_sorcery": "AST_SORCERY: the applier reads changed objects back",
    "func_strings": "FILTER, LEN, FIELDQTY, FIELDNUM, REPLACE, PUSH",
}
MODULES: Final = {**CORE, **SIP, **MEDIA, **APPLICATIONS, **FUNCTIONS}
"""Every module that is loaded, with its reason."""


def modules_conf(modules: dict[str, str] = MODULES) -> str:
    """The text of modules.conf: autoload off, one line per module; the order is the loader's business."""
    lines = ["[modules]", "autoload=no"]
    lines += [f"load={name}.so" for name in modules]
    return "\n".join(lines) + "\n"
