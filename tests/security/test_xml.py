"""XML comes from outside; what it declares is neither fetched nor multiplied."""

import resource
import time

import pytest

from mlp_med.errors import SourceError
from tfds_builders.camelyon16.annotations import read_annotations

BODY = '<ASAP_Annotations><Annotation PartOfGroup="{}" /></ASAP_Annotations>'
LEVELS = 12  # of tenfold growth: 10¹² characters


def billion_laughs() -> str:
    entities = ['<!ENTITY e0 "laugh">']
    entities += [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, LEVELS)]
    return f"<!DOCTYPE x [{''.join(entities)}]>" + BODY.format(f"&e{LEVELS - 1};")


def external_entity(path) -> str:
    return f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{path}">]>' + BODY.replace("{}", "").replace(
        "<Annotation", "&e;<Annotation"
    )


@pytest.mark.parametrize(
    "kind", ["laughs", "external", "external doctype", "parameter", "undeclared"]
)
def test_declared_entities_are_refused_before_they_are_read(kind, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("top secret")
    text = {
        "laughs": billion_laughs(),
        "external": external_entity(secret),
        "external doctype": f'<!DOCTYPE x SYSTEM "file://{secret}">' + BODY.format("_0"),
        "parameter": f'<!DOCTYPE x [<!ENTITY % p SYSTEM "file://{secret}"> %p;]>' + BODY,
        "undeclared": BODY.format("&unknown;"),
    }[kind]
    path = tmp_path / "tumor_001.xml"
    path.write_text(text)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(SourceError) as refused:
        read_annotations(path)
    assert "top secret" not in str(refused.value)
    assert ("document type declaration" in str(refused.value)) == (kind != "undeclared")
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10  # 20 MiB
