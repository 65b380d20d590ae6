"""Bad files: everything is said at once, each with path and line; nothing can harm the reader."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.document import Document
from appliance.core.errors import CorruptError, Fault, InvalidError
from appliance.organisation.model import Company
from appliance.pbx.extensions.model import Extension
from appliance.store import export_document, import_document, importing
from tests.unit.store.documents import everything

HEAD = "format: 1\nsecrets: omitted\nobjects:\n"


def faults(text: bytes | str) -> list[Fault]:
    with pytest.raises(InvalidError) as caught:
        import_document(text, current=Document())
    return list(caught.value.faults)


def test_all_faults_come_at_once_with_path_and_line() -> None:
    text = HEAD + (
        "  company:\n"
        "    demo:\n"
        "      name: Demo\n"
        "      language: de\n"  # line 7
        "    Wrong Id: {name: x}\n"  # 8
        "  extension:\n"
        "    a:\n"
        "      number: 12x\n"  # 11
        "      colour: red\n"  # 12
        "  planet:\n"  # 13
        "    mars: {}\n"
        "  ring_group:\n"
        "    all:\n"
        "      name: All\n"
        "      site: hq\n"
        "      members:\n"
        "      - extension: a\n"
        "      - extension: A B\n"  # 21
        "  person: 7\n"  # 22
    )
    assert sorted((fault.line, fault.path) for fault in faults(text)) == [
        (7, "company/demo/language"),
        (8, "company/Wrong Id"),
        (10, "extension/a/site"),
        (11, "extension/a/number"),
        (12, "extension/a/colour"),
        (13, "planet"),
        (21, "ring_group/all/members[1].extension"),
        (22, "person"),
    ]


def test_the_message_for_people_names_the_line() -> None:
    with pytest.raises(InvalidError, match=r"^line 5, company/demo/name: ") as caught:
        import_document(HEAD + "  company:\n    demo: {language: it}\n", current=Document())
    assert caught.value.faults[0].line == 5


def test_duplicate_keys_are_refused_naming_both_lines() -> None:
    found = faults(HEAD + "  company:\n    demo:\n      name: A\n      name: B\n    demo: {name: C}\n")
    assert [(one.path, one.line, one.error_id) for one in found] == [
        ("company/demo/name", 7, "duplicate"),
        ("company/demo", 8, "duplicate"),
    ]
    assert "line 6" in found[0].hint


def test_aliases_are_refused_before_they_grow() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    found = faults(bomb)
    assert {one.error_id for one in found} == {"alias"}
    assert found[0].line == 1


@pytest.mark.parametrize(
    ("text", "error_id", "line"),
    [
        (b"\xff\xfe\x00garbage", "yaml", None),
        (b"\x89PNG\r\n\x1a\n", "yaml", None),
        (b"", "yaml", None),
        ("hello", "yaml", None),
        ("- a\n- b\n", "yaml", None),
        ("format: 1\n\tobjects: {}\n", "yaml", 2),
        ("format: 1\nobjects: {a: [}\n", "yaml", 2),
        ("a: \x00\n", "yaml", None),
        ("objects: {}\n", "format", None),
        ("format: one\nobjects: {}\n", "format", 1),
        ("format: 1\nobjects: []\n", "objects", 2),
        ("format: 1\nobjects: {}\nsecrets: maybe\n", "secrets", 3),
        ("format: 1\nobjects: {}\ncolour: red\n", "extra_forbidden", 3),
        ("format: 1\nobjects: {}\n---\nformat: 1\n", "several", 3),
        (HEAD + "  company: !!python/object:os.system {}\n", "tag", 4),
        (HEAD + "  company:\n    demo:\n      name: &a Demo\n", "alias", 6),
        (HEAD + "  company:\n    &a demo: {name: Demo}\n", "alias", 5),
        (HEAD + "  company: &a\n    demo: {name: Demo}\n", "alias", 4),
        (HEAD + "  company:\n    demo: {name: !!str 7}\n", "tag", 5),
        (HEAD + "  company:\n    ? [a]\n    : {}\n", "key", 5),
        ("[" * 100_000, "depth", 1),
        ("a:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, 40)), "depth", 13),
        (HEAD + "  company:\n    demo: {id: other, name: x}\n", "id", 5),
        (HEAD + "  secret:\n    a: {value: 'sealed:v1:AAAA'}\n", "secrets", 5),
        (HEAD + "  secret:\n    a: {value: hunter2}\n", "string_pattern_mismatch", 5),
    ],
)  # fmt: skip
def test_one_clear_error(text: bytes | str, error_id: str, line: int | None) -> None:
    found = faults(text)
    assert found[0].error_id == error_id
    assert found[0].hint
    if line is not None:
        assert found[0].line == line
    assert "hunter2" not in str(found)


def test_a_format_of_the_future_is_refused() -> None:
    with pytest.raises(CorruptError, match="format 99") as caught:
        import_document("format: 99\nobjects: {planet: {}}\n", current=Document())
    assert caught.value.error_id == "too_new"


def test_a_huge_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SIZE_MAX", 1000)
    assert faults("#" * 1001)[0].error_id == "too_large"


def test_values_written_without_quotes_are_what_the_model_wants() -> None:
    text = HEAD + (
        "  company:\n    demo: {name: no, caller_number: +390200001234}\n"
        "  extension:\n    101: {number: 0123, site: hq, ring_seconds: 45, label: ~}\n"
    )
    found = import_document(text, current=Document()).document
    assert found.get(Company, "demo").name == "no"
    assert found.get(Company, "demo").caller_number == "+390200001234"
    extension = found.get(Extension, "101")
    assert (extension.number, extension.ring_seconds, extension.label) == ("0123", 45, None)


SAMPLE = export_document(Document.of(everything())).encode()


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_gives_faults_or_a_document_never_a_crash(data: st.DataObject) -> None:
    text = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = start + data.draw(st.integers(0, 30))
        text[start:end] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"\n", b": ", b"- ", b"{", b"*a", b"&a ", b"  "])
        )
    with suppress(InvalidError, CorruptError):
        import_document(bytes(text), current=Document())


def test_old_documents_are_still_read_with_every_value() -> None:
    """``vN.yaml`` in the newest format is ``vN.now.yaml``, or the file itself as long as the format is the newest."""
    folder = Path(__file__).parents[2] / "data" / "documents"
    files = sorted(folder.glob("v*[0-9].yaml"))
    assert files
    for file in files:
        found = import_document(file.read_bytes(), current=Document()).document
        now = file.with_suffix(".now.yaml")
        assert export_document(found).encode() == (now if now.exists() else file).read_bytes(), file.name
