"""Every message has its Italian, and messages with values in them are recognised."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from appliance.core.document import parse
from appliance.core.errors import InvalidError
from appliance.i18n import language, pattern_of, translated
from appliance.kinds import KINDS
from tools.catalogue import TRANSLATED, catalogue_file, messages, read, text_of, updated


def placeholders(text: str) -> list[str]:
    return sorted(f"{name}{'!' + conversion if conversion else ''}:{form}" for _, name, form, conversion in Formatter().parse(text) if name is not None)  # fmt: skip


@pytest.mark.parametrize("lang", TRANSLATED)
def test_the_catalogue_is_complete(lang: str) -> None:
    catalogue = read(lang)
    known = {str(message.id): message for message in catalogue if message.id}
    assert set(known) == messages(), "run tools/translations, then translate what is new"
    assert [id for id, message in known.items() if not message.string] == []
    assert [id for id, message in known.items() if message.fuzzy] == []
    assert dict(catalogue.obsolete) == {}
    assert catalogue_file(lang).read_bytes() == text_of(updated(lang)), "run tools/translations"


@pytest.mark.parametrize("lang", TRANSLATED)
def test_placeholders_and_markup_are_the_same_in_both_languages(lang: str) -> None:
    for message in read(lang):
        id, text = str(message.id), str(message.string)
        if "{x: 1}" not in id:
            assert placeholders(id) == placeholders(text), id
        assert id.endswith(".") == text.endswith("."), id
        assert re.findall(r"--[a-z]+[a-z-]*|CENTRALINO_\w+", id) == re.findall(
            r"--[a-z]+[a-z-]*|CENTRALINO_\w+", text
        ), id


def test_the_header_names_nobody() -> None:
    head = catalogue_file("it").read_text().split("\n\n")[0]
    assert "Centralino" in head
    for word in ("FULL NAME", "EMAIL", "PROJECT", "ORGANIZATION", "LL@li.org", "FIRST AUTHOR"):
        assert word not in head


@pytest.fixture
def italian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_LANGUAGE", "it")


@pytest.mark.usefixtures("italian")
@pytest.mark.parametrize(
    ("english", "text"),
    [
        ("there is no extension 'ext-9'", "non c'è nessun extension 'ext-9'"),
        ("centralino extension list shows those there are", "centralino extension list mostra quelli che ci sono"),
        ("refers to site 'nowhere', which does not exist", "si riferisce a site 'nowhere', che non esiste"),
        ("read back auth 201 of pjsip.conf (changed)", "rilettura di auth 201 di pjsip.conf (cambiato)"),
        ("the applier can't be reached", "l'applicatore non si raggiunge"),
        ("nothing would change", "non cambierebbe nulla"),
        ("list of extension id, at least 1", "elenco di id di extension, almeno 1"),
        ("nobody translated this", "nobody translated this"),
        ("", ""),
    ],
)
def test_texts_of_the_core_are_translated_values_kept(english: str, text: str) -> None:
    assert translated(english) == text


@pytest.mark.usefixtures("italian")
def test_what_pydantic_says_is_translated() -> None:
    data = {"id": "x", "number": "1", "site": "hq", "ring_seconds": 1, "busy_policy": "x", "foo": 1}
    with pytest.raises(InvalidError) as error:
        parse(KINDS, "extension", data)
    said = {fault.path.rpartition("/")[2]: translated(fault.message) for fault in error.value.faults}
    assert said["ring_seconds"] == "deve essere maggiore o uguale a 5"
    assert said["foo"] == "non è un campo di qui"
    assert said["busy_policy"] == "non è uno dei valori ammessi"
    assert translated(error.value.faults[0].hint) == "da 2 a 10 cifre"
    with pytest.raises(InvalidError) as error:
        parse(KINDS, "extension", {"id": "x"})
    assert translated(error.value.faults[0].message) == "manca"


def test_english_needs_no_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRALINO_LANGUAGE", "en")
    assert translated("nothing would change") == "nothing would change"


@pytest.mark.parametrize(("value", "lang"), [("it_IT.UTF-8", "it"), ("de_DE.UTF-8", "en"), ("C", "en"), ("", "en")])
def test_the_language_is_the_environment_s(monkeypatch: pytest.MonkeyPatch, value: str, lang: str) -> None:
    for name in ("CENTRALINO_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", value)
    assert language() == lang


def test_a_template_s_pattern_takes_any_value_but_no_other_text() -> None:
    pattern = pattern_of("no {1} (see {2})")
    assert pattern.fullmatch("no *.[x] (see a\nb)")
    assert not pattern.fullmatch("now x (see y)")
