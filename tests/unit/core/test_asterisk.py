"""No text gets out of its line: what is written to an engine file reads back the same, by the engine's own rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.asterisk import LINE_MAX, ConfFile, Section, dialplan, escape, lookup, parse, table
from tests import strategies

KEYS = st.sampled_from(["callerid", "exten", "same", "include", "42"])


@given(st.lists(st.tuples(KEYS, strategies.labels), max_size=5), st.sampled_from(["", "endpoint"]))
def test_any_label_comes_back(options: list[tuple[str, str]], kind: str) -> None:
    sections = (Section("one", tuple(options), kind), Section("two", (("key", "value"),)))
    assert parse(ConfFile("any.conf", sections).text) == sections


@given(strategies.labels, strategies.labels)
def test_structure_does_not_depend_on_what_people_type(one: str, other: str) -> None:
    def shape(label: str) -> list[tuple[str, list[str]]]:
        text = ConfFile("x.conf", (Section("a", (("name", label), ("next", "1"))), Section("b", ()))).text
        return [(section.name, [key for key, _ in section.options]) for section in parse(text)]

    assert shape(one) == shape(other) == [("a", ["name", "next"]), ("b", [])]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "\t", " a", "a ", "a\x7fb"])
def test_what_no_file_can_carry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"control|white space"):
        escape(text)


def test_a_line_of_the_greatest_length_is_written_and_no_longer_one() -> None:
    fits = "x" * (LINE_MAX - len("key="))
    (section,) = parse(Section("a", (("key", fits),)).text())
    assert section.get("key") == fits
    with pytest.raises(ValueError, match="8190"):
        Section("a", (("key", fits + "x"),)).text()
    with pytest.raises(ValueError, match="too long"):
        parse(f"[a]\nkey={fits}x\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]\nk = v ; comment\n", "v"),
        ("[a]\nk=>v\n", "v"),
        ("[a]\n k  =\tv\t \r\n", "v"),
        ("[a]\nk = a\\;b\\;\\;c;d\n", "a;b;;c"),
        ("[a]\nk = a\\\\;b\n", "a\\;b"),
        ("[a]\nk = a=b=>c\n", "a=b=>c"),
        ("[a]\nk=v;-- gone\nk=gone\nstill --; \n", "v"),
        ("[a]\nk=v;-- one ;-- two --; --;w\n", "vw"),
        ("[a]\nk=v;--- a comment of one line\n", "v"),
        ("\ufeff[a]\n\n   \nk=v\n", "v"),
        ("[a] ; comment\nk=v", "v"),
        ("[a]\nk=\n", ""),
        ("[a]\nk=\u00a0v\u0085\u2028w\n", "\u00a0v\u0085\u2028w"),
    ],
)
def test_parser_follows_the_engine(text: str, expected: str) -> None:
    assert parse(text) == (Section("a", (("k", expected),)),)


@pytest.mark.parametrize(
    "text",
    ["k=v\n", "[a\nk=v", "[a](+)\n", "[a](!)\n", "[a](b)\n", "#include x\n", "#exec x\n", "[a]\nword\n", "[a]\nk+=v\n",
     "[a]\n=v\n", "[a]\n;-- open\n", "[a]\n\\#k=v\n"],
)  # fmt: skip
def test_parser_refuses_what_we_never_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d|not closed"):
        parse(text)


def test_sections_of_one_name_are_told_apart_by_type() -> None:
    text = ConfFile("pjsip.conf", (Section("d", (("a", "1"),), "endpoint"), Section("d", (), "aor"))).text
    assert [(section.name, section.type) for section in parse(text)] == [("d", "endpoint"), ("d", "aor")]
    assert parse(text)[0].get("a") == "1"
    assert parse(text)[0].get("b") is None


def test_dialplan_numbers_steps_and_keeps_labels() -> None:
    section = dialplan("c", ("_2XX", ["NoOp(a: b)", "next: Goto(next)", "Hangup()"]), includes=["other"])
    assert section.options == (
        ("exten", "_2XX,1,NoOp(a: b)"),
        ("same", "n(next),Goto(next)"),
        ("same", "n,Hangup()"),
        ("include", "other"),
    )


@given(st.dictionaries(st.from_regex(r"[0-9]{2,10}", fullmatch=True), strategies.labels, max_size=20))
def test_tables_hold_each_row_once_in_its_shard(rows: dict[str, str]) -> None:
    file = table("names", rows.items())
    assert file.name == "tables/names.conf"
    found = {(section.name, key): value for section in parse(file.text) for key, value in section.options}
    assert found == {(key[-2:], key): value for key, value in rows.items()}


def test_lookup_asks_for_the_shard_of_the_key() -> None:
    assert lookup("names", "EXTEN") == "${AST_CONFIG(tables/names.conf,${EXTEN:-2},${EXTEN})}"
