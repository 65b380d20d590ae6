"""What the engine says, as it was heard on a real one, means what was written."""

from __future__ import annotations

import pytest

from appliance.applier.expect import (
    Context,
    Mismatch,
    Step,
    camel,
    compare_contexts,
    context,
    dropped,
    fields,
    same,
)
from appliance.core.asterisk import Section, dialplan
from appliance.core.plan import ReadBack


@pytest.mark.parametrize(
    ("option", "wanted", "got"),
    [
        ("direct_media", "no", "false"),
        ("dtls_verify", "fingerprint", "Fingerprint"),
        ("dtls_auto_generate_cert", "yes", "Yes"),
        ("allow", "opus,g722,alaw", "(opus|g722|alaw)"),
        ("allow", "!all,opus,alaw", "(opus|alaw)"),
        ("callerid", "<201>", "201"),
        ("callerid", '"Rossi ; Mario" <101>', '"Rossi ; Mario" <101>'),
        ("tos_audio", "ef", "184"),
        ("tos_video", "af41", "136"),
        ("tos", "cs3", "96"),
        ("pickup_group", "1-3", "1, 2, 3"),
        ("qualify_timeout", "2.5", "2.500000"),
        ("codec_prefs_outgoing_offer", "prefer: configured, keep: all", "prefer:configured, keep:all"),
        ("match", "192.0.2.10,192.0.2.0/24,2001:db8::/32",
         "192.0.2.10/255.255.255.255,192.0.2.0/255.255.255.0,2001:db8::/ffff:ffff::"),
        ("match", "192.0.2.10:5090", "192.0.2.10:5090/255.255.255.255"),
        ("match", "[2001:db8::1]:5090", "[2001:db8::1]:5090/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("local_net", "10.0.0.0/8", "10.0.0.0/255.0.0.0"),
        ("bind", "192.0.2.1", "192.0.2.1:5060"),
        ("set_var", "A=b;c,B=d", "A=b;c,B=d"),
    ],
)  # fmt: skip
def test_the_same_in_other_words(option: str, wanted: str, got: str) -> None:
    assert same(option, wanted, got)


@pytest.mark.parametrize(
    ("option", "wanted", "got"),
    [
        ("direct_media", "no", "true"),
        ("context", "a", "A"),
        ("allow", "opus,alaw", "(alaw|opus)"),
        ("callerid", "<201>", "202"),
        ("match", "192.0.2.10", "192.0.2.11/255.255.255.255"),
        ("match", "192.0.2.10:5090", "192.0.2.10:5091/255.255.255.255"),
        ("match", "192.0.2.10:5090", "192.0.2.10/255.255.255.255"),
        ("tos_audio", "ef", "0"),
        ("max_contacts", "1", "0"),
        ("password", "yes", "true"),
        ("password_digest", "MD5:ab", "MD5:AB"),
        ("set_var", "A=yes", "A=true"),
        ("bind", "192.0.2.1:5061", "192.0.2.1:5060"),
    ],
)
def test_not_the_same(option: str, wanted: str, got: str) -> None:
    assert not same(option, wanted, got)


def test_the_last_of_a_repeated_option_counts_but_lists_are_joined() -> None:
    section = Section(
        "x", (("set_var", "A=1"), ("language", "it"), ("set_var", "B=2"), ("language", "en"), ("disallow", "all"))
    )
    assert fields(section) == {"set_var": "A=1,B=2", "language": "en"}


def test_options_taken_out_are_found() -> None:
    before = Section("x", (("language", "it"), ("context", "a")), "endpoint")
    after = Section("x", (("context", "b"),), "endpoint")
    assert dropped(ReadBack("pjsip.conf", "x", "endpoint", before, after)) == {"language": "it"}
    assert dropped(ReadBack("pjsip.conf", "x", "endpoint", None, after)) == {}


@pytest.mark.parametrize(
    ("option", "name"), [("set_var", "SetVar"), ("100rel", "100rel"), ("t38_udptl_ec", "T38UdptlEc")]
)
def test_names_of_options_in_the_manager_interface(option: str, name: str) -> None:
    assert camel(option) == name


def test_dialplan_lines_become_what_the_engine_makes_of_them() -> None:
    section = dialplan(
        "a", ("_1XX", ["NoOp(a;b)", "lab: Dial(PJSIP/${EXTEN},60,g)", "Hangup"]), ("2", ["Echo()"]), includes=["b", "c"]
    )
    lines = (*section.options, ("exten", "_1XX,hint,PJSIP/${EXTEN}"), ("exten", "3,hint,${AST_CONFIG(a,b,c)}"))
    assert context(lines) == Context(
        {
            ("_1XX", "1"): Step("", "NoOp", "a;b"),
            ("_1XX", "2"): Step("lab", "Dial", "PJSIP/${EXTEN},60,g"),
            ("_1XX", "3"): Step("", "Hangup", ""),
            ("2", "1"): Step("", "Echo", ""),
            ("_1XX", "hint"): Step("", "PJSIP/${EXTEN}", ""),
            ("3", "hint"): Step("", "${AST_CONFIG(a,b,c)}", ""),
        },
        ("b", "c"),
    )


def test_differences_of_a_context_name_the_priority() -> None:
    wanted = Context({("1", "1"): Step("", "NoOp", ""), ("1", "2"): Step("", "Hangup", "")}, ("b",))
    got = Context({("1", "1"): Step("", "NoOp", "x"), ("9", "1"): Step("", "Echo", "")}, ())
    assert [(m.field, m.wanted, m.got) for m in compare_contexts("context a", wanted, got)] == [
        ("1,1", "NoOp()", "NoOp(x)"),
        ("1,2", "Hangup()", "nothing"),
        ("9,1", "nothing", "Echo()"),
        ("include", "b", ""),
    ]


def test_a_hint_that_the_engine_made_of_a_patterns_hint_is_no_difference() -> None:
    hint = {("_2XX", "hint"): Step("", "${AST_CONFIG(a,b,c)}", "")}
    watched = Context(hint | {("201", "hint"): Step("", "PJSIP/201-1", "")}, ())
    assert not list(compare_contexts("context a", Context(hint, ()), watched))
    assert list(compare_contexts("context a", Context({}, ()), Context({("201", "hint"): Step("", "PJSIP/9", "")}, ())))


def test_a_mismatch_of_a_secret_shows_neither_value() -> None:
    text = str(Mismatch("auth desk", "password", "right-one", "wrong-one"))
    assert text == "auth desk: password isn't what was written"


def test_the_installations_token_is_not_shown() -> None:
    text = str(Mismatch("endpoint desk@tcp.4963069445587acbf0", "language", "it", "en"))
    assert text == "endpoint desk@tcp: language should be 'it' and is 'en'"
    assert "4963069445587acbf0" not in str(Mismatch("transport tcp", "domain", "tcp.4963069445587acbf0", ""))
