import mlp_med
from mlp_med.studies import provenance

FILES = [
    "mlp_med/__init__.py",
    "mlp_med/cores.py",
    "mlp_med/processor.py",
    "mlp_med/score_columns.py",
    "mlp_med/imaging/crop.py",
    "mlp_med/training/loop.py",
    "mlp_med/reports/page.py",
    "mlp_med/studies/cell.py",
    "mlp_med/studies/minimum.py",
    "mlp_med/studies/worker.py",
    "tfds_builders/scratch.py",
    "tfds_builders/luna16/survey.py",
    "tfds_builders/luna16/luna16_dataset_builder_test.py",
    "tfds_builders/table/rows.py",
]


def test_a_digest_covers_the_code_that_decides_and_no_other(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    monkeypatch.setattr(mlp_med, "__file__", str(tmp_path / "mlp_med" / "__init__.py"))

    def digests() -> tuple[str, str, str]:
        of_dataset = provenance.code_digest.__wrapped__
        common = provenance.common_code_digest.__wrapped__()
        return common, of_dataset("luna16"), of_dataset("table")

    first = digests()
    assert len(set(first)) == 3
    for name in FILES:
        (tmp_path / name).write_text("2\n")
        changed = tuple(new != old for new, old in zip(digests(), first, strict=True))
        (tmp_path / name).write_text("1\n")
        if "reports" in name or name.endswith("_test.py"):
            assert changed == (False, False, False), name
        elif "luna16" in name:
            assert changed == (False, True, False), name
        elif "table" in name:
            assert changed == (False, False, True), name
        else:
            assert changed == (True, True, True), name
    assert digests() == first
