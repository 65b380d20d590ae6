"""Export and import: canonical, byte for byte, and nothing can hide in a text."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.core.document import Document
from appliance.core.errors import InvalidError
from appliance.kinds import KINDS
from appliance.organisation.model import Company, Person, Secret
from appliance.store import Keyring, Secrets, export_document, import_document
from appliance.store.exporting import scalar
from appliance.store.yaml_tree import read
from tests.unit.store.documents import documents, everything, tricky


def test_the_sample_has_every_kind() -> None:
    assert {item.kind for item in everything()} == set(KINDS)


@given(document=documents)
@example(document=Document())
@example(document=Document.of(everything()))
def test_export_import_export_gives_the_same_bytes(document: Document) -> None:
    text = export_document(document)
    imported = import_document(text.encode(), current=document)
    assert export_document(imported.document) == text
    assert {(item.kind, item.id): item for item in imported.document} == {
        (item.kind, item.id): item for item in document
    }


@given(text=st.text(st.characters(exclude_categories=["Cs"])) | tricky)
@example(text="\u0085\u2028\ufeff\x7f\x00\ufffe\U0001f600")
@example(text=" lead")
@example(text="")
def test_any_text_is_read_back_by_us_and_by_any_yaml_reader(text: str) -> None:
    written = (
        f"k: {scalar(text)}\nl: [{scalar(text)}, x]\n{scalar(text)}: v\n"
        if text not in {"k", "l"}
        else "k: k\nl: [k, x]\n"
    )
    if text in {"k", "l"}:
        return
    expected = {"k": text, "l": [text, "x"], text: "v"}
    assert read(written) == (expected, [])
    assert yaml.safe_load(written) == expected


def test_objects_stand_in_the_order_of_kinds_and_ids_whatever_order_they_came_in() -> None:
    items = everything()
    assert export_document(Document.of(items)) == export_document(Document.of(items[::-1]))


def test_defaults_are_written_unless_they_are_nothing() -> None:
    text = export_document(Document.of([Company(id="demo", name="Demo"), Person(id="a", name="A")]))
    assert text.splitlines() == [
        "# Centralino configuration document",
        "format: 1",
        "secrets: omitted",
        "objects:",
        "  company:",
        "    demo:",
        "      name: Demo",
        "      language: it",
        "  person:",
        "    a:",
        "      name: A",
    ]


def test_secrets_are_left_out_and_kept_on_import(tmp_path: Path) -> None:
    keyring = Keyring.load_or_create(tmp_path / "key")
    sealed = keyring.seal("desk", "hunter2-of-the-desk")
    document = Document.of([Secret(id="desk", value=sealed), Secret(id="new")])
    text = export_document(document)
    assert "sealed" not in text
    imported = import_document(text, current=document, keyring=keyring)
    assert imported.document.get(Secret, "desk").value == sealed
    assert imported.missing_secrets == ("new",)
    assert import_document(text, current=Document()).missing_secrets == ("desk", "new")


def test_sealed_secrets_round_trip_with_the_same_key_and_are_refused_with_another(tmp_path: Path) -> None:
    keyring, other = (Keyring.load_or_create(tmp_path / name) for name in ("key", "other"))
    document = Document.of([Secret(id="desk", value=keyring.seal("desk", "hunter2"))])
    text = export_document(document, Secrets.sealed(keyring))
    imported = import_document(text, current=Document(), keyring=keyring).document
    assert export_document(imported, Secrets.sealed(keyring)) == text
    for wrong in (other, None):
        with pytest.raises(InvalidError, match="key") as caught:
            import_document(text, current=Document(), keyring=wrong)
        assert caught.value.hint


def test_passphrase_carries_secrets_to_another_machine(tmp_path: Path) -> None:
    here, there = (Keyring.load_or_create(tmp_path / name) for name in ("here", "there"))
    document = Document.of([Secret(id="desk", value=here.seal("desk", "hunter2")), Secret(id="none")])
    text = export_document(document, Secrets.passphrase(here, "four words of sense"))
    assert "hunter2" not in text
    found = import_document(text, current=Document(), keyring=there, passphrase="four words of sense").document
    assert there.reveal(found) == {"desk": "hunter2"}
    # where the value is already known, it stays as it is: nothing changes
    again = import_document(text, current=document, keyring=here, passphrase="four words of sense").document
    assert again.get(Secret, "desk") == document.get(Secret, "desk")
    with pytest.raises(InvalidError) as caught:
        import_document(text, current=Document(), keyring=there, passphrase="four words of sens")
    assert [(fault.path, fault.error_id) for fault in caught.value.faults] == [("secret/desk/value", "bad_passphrase")]
    with pytest.raises(InvalidError, match="passphrase"):
        import_document(text, current=Document(), keyring=there)
    with pytest.raises(InvalidError, match="too short"):
        Secrets.passphrase(here, "short")


def test_a_value_moved_to_another_secret_is_found(tmp_path: Path) -> None:
    keyring = Keyring.load_or_create(tmp_path / "key")
    document = Document.of(
        [Secret(id="aa", value=keyring.seal("aa", "1")), Secret(id="bb", value=keyring.seal("bb", "2"))]
    )
    text = export_document(document, Secrets.sealed(keyring)).replace("    aa:", "    x:").replace("    bb:", "    aa:")
    with pytest.raises(InvalidError) as caught:
        import_document(text.replace("    x:", "    bb:"), current=Document(), keyring=keyring)
    assert {fault.path for fault in caught.value.faults} == {"secret/aa/value", "secret/bb/value"}
