"""References are found in every shape in which models hold them."""

from appliance.core.document import Document, parse
from appliance.core.references import dangling, references
from appliance.kinds import KINDS


def test_references_in_lists_unions_and_parts() -> None:
    site = parse(KINDS, "site", {"id": "hq", "name": "HQ", "company": "demo", "trunks": ["t1"],
                                 "links": [{"to": "shop", "codec_policy": "thin"}]})  # fmt: skip
    assert sorted(references(site)) == [
        ("company", "demo", ("company",)),
        ("links[0].codec_policy", "thin", ("codec_policy",)),
        ("links[0].to", "shop", ("site",)),
        ("trunks[0]", "t1", ("trunk", "trunk_group")),
    ]
    did = parse(KINDS, "did", {"id": "d", "number": "+390200000001", "company": "demo",
                               "destination": {"type": "ring_group", "ring_group": "sales"}})  # fmt: skip
    assert ("destination.ring_group", "sales", ("ring_group",)) in list(references(did))
    trunk = parse(KINDS, "trunk", {"id": "t", "name": "T", "provider": "p", "host": "sip.example.com",
                                   "auth": {"type": "register", "username": "u", "secret": "s"}})  # fmt: skip
    assert ("auth.secret", "s", ("secret",)) in list(references(trunk))


def test_dangling_references_name_the_field() -> None:
    device = parse(KINDS, "device", {"id": "d", "extension": "e", "secret": "s"})
    assert {fault.path for fault in dangling(Document.of([device]))} == {"device/d/extension", "device/d/secret"}
