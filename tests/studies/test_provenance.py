import mlp_med
from mlp_med.studies import provenance

FILES = [
    "mlp_med/__init__.py",
    "mlp_med/cores.py",
    "mlp_med/processor.py",
    "mlp_med/score_columns.py",
    "mlp_med/evidence/metrics.py",
    "mlp_med/imaging/crop.py",
    "mlp_med/training/loop.py",
    "mlp_med/reports/page.py",
    "mlp_med/studies/cell.py",
    "mlp_med/studies/cell_result.py",
    "mlp_med/studies/minimum.py",
    "mlp_med/studies/worker.py",
    "tfds_builders/scratch.py",
    "tfds_builders/luna16/survey.py",
    "tfds_builders/luna16/luna16_dataset_builder_test.py",
    "tfds_builders/luna16_fields/fields.py",
    "tfds_builders/table/rows.py",
]


def test_a_digest_covers_the_code_that_decides_and_no_other(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    monkeypatch.setattr(mlp_med, "__file__", str(tmp_path / "mlp_med" / "__init__.py"))

    def digests() -> tuple[str, ...]:
        of_dataset = provenance.code_digest.__wrapped__
        common = provenance.common_code_digest.__wrapped__()
        return common, *map(of_dataset, ("luna16", "table", "luna16_fields"))

    first = digests()
    assert len(set(first)) == 4
    for name in FILES:
        (tmp_path / name).write_text("2\n")
        changed = tuple(new != old for new, old in zip(digests(), first, strict=True))
        (tmp_path / name).write_text("1\n")
        if "reports" in name or name.endswith("_test.py"):
            assert changed == (False, False, False, False), name
        elif "luna16_fields" in name:
            assert changed == (False, False, False, True), name
        elif "luna16" in name:  # which luna16_fields is made from
            assert changed == (False, True, False, True), name
        elif "table" in name:
            assert changed == (False, False, True, False), name
        else:
            assert changed == (True, True, True, True), name
    assert digests() == first
