from __future__ import annotations

import configparser

import pytest

from appliance.engine.modules import APPLICATIONS, CORE, FUNCTIONS, MEDIA, MODULES, SIP, modules_conf
from appliance.engine.plan import CEL_FIELDS, EngineParams, WebSocketServer, static_files

WEB = WebSocketServer("2001:db8::1", 8089, "/etc/asterisk-tls/lan.pem", "/etc/asterisk-tls/lan.key")


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=(";",))
    parser.read_string(text)
    return parser


def test_only_listed_modules_are_loaded_each_with_its_reason() -> None:
    lines = modules_conf().splitlines()
    assert lines[:2] == ["[modules]", "autoload=no"]
    assert lines[2:] == [f"load={name}.so" for name in MODULES]
    assert all(reason.strip() for reason in MODULES.values())
    assert len(MODULES) == sum(len(group) for group in (CORE, SIP, MEDIA, APPLICATIONS, FUNCTIONS)), "listed twice"


@pytest.mark.parametrize(
    "name", ["res_ari", "app_stasis", "app_system", "func_shell", "res_agi", "chan_iax2", "pbx_spool"]
)
def test_what_could_run_programs_or_open_ports_is_not_loaded(name: str) -> None:
    assert name not in MODULES


def test_the_manager_listens_on_the_loopback_alone() -> None:
    manager = read(static_files(EngineParams(ami_secret="s3cret", ami_port=15038))["manager.conf"])
    assert manager["general"]["bindaddr"] == "127.0.0.1"
    assert manager["general"]["port"] == "15038"
    assert manager["general"]["webenabled"] == "no"
    assert manager["centralino"]["secret"] == "s3cret"
    assert "s3cret" not in repr(EngineParams(ami_secret="s3cret"))


def test_without_wss_there_is_no_web_server() -> None:
    http = read(static_files(EngineParams(ami_secret="x"))["http.conf"])
    assert (http["general"]["enabled"], http["general"]["tlsenable"]) == ("no", "no")


def test_the_web_server_is_tls_only_and_serves_websockets_only() -> None:
    http = read(static_files(EngineParams(ami_secret="x", web=WEB))["http.conf"])
    assert http["general"]["enabled"] == "no"
    assert http["general"]["tlsbindaddr"] == "[2001:db8::1]:8089"
    assert http["/ari"]["type"] == "restriction"
    assert "/ws" not in http


def test_the_gate_is_served_on_the_loopback_and_nobody_else_there() -> None:
    alone = read(static_files(EngineParams(ami_secret="x", gate=True))["http.conf"])
    assert (alone["general"]["enabled"], alone["general"]["bindaddr"], alone["general"]["bindport"]) == (
        "yes",
        "::1",
        "8088",
    )
    assert alone["general"]["tlsenable"] == "no"
    assert alone["/ari"]["type"] == "restriction"
    both = read(static_files(EngineParams(ami_secret="x", web=WEB, gate=True))["http.conf"])["general"]
    assert (both["bindaddr"], both["tlsbindaddr"]) == ("::1", "[2001:db8::1]:8089")


def test_parameters_reach_their_files() -> None:
    params = EngineParams("x", "pbx-1", rtp_first=30000, rtp_last=30099, language="en", country="eu", max_calls=7)
    files = static_files(params)
    assert read(files["rtp.conf"])["general"]["rtpstart"] == "30000"
    assert read(files["rtp.conf"])["general"]["rtpend"] == "30099"
    options = read(files["asterisk.conf"])["options"]
    assert (options["systemname"], options["defaultlanguage"], options["maxcalls"]) == ("pbx-1", "en", "7")
    assert read(files["indications.conf"])["general"]["country"] == "eu"


def test_browsers_are_told_of_one_address_for_voice_and_of_no_other() -> None:
    lines = static_files(EngineParams("x", web=WEB, voice=("203.0.113.7", "2001:db8::7")))["rtp.conf"].splitlines()
    assert [line for line in lines if line.startswith("ice_")] == [
        "ice_deny=0.0.0.0/0", "ice_deny=::/0", "ice_permit=203.0.113.7", "ice_permit=2001:db8::7",
    ]  # fmt: skip
    assert "ice_" not in static_files(EngineParams("x"))["rtp.conf"].replace("icesupport", "")


def test_events_go_to_the_spool_one_line_each() -> None:
    files = static_files(EngineParams("x"))
    spool = read(files["cel_custom.conf"])["/var/spool/asterisk-cel/events.csv"]
    assert spool["fields"].split(",") == list(CEL_FIELDS)
    assert read(files["cdr.conf"])["general"]["enable"] == "no"
