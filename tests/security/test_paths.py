"""Names in tables and headers come from outside: none leads out of the folder that was given."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import ImageError, SourceError
from mlp_med.imaging.formats import image_files, read_image_header
from mlp_med.imaging.volume import read_header
from mlp_med.phantoms.metaimage import write_metaimage
from tests.fuzzing.tables import CASE_ROW
from tests.tfds_builders.conftest import _make_source as make_source
from tfds_builders.breast_screening.exams import COLUMNS, TABLE, read_exams
from tfds_builders.cbis_ddsm_crops import case_tables
from tfds_builders.dsb2017.release import find_release
from tfds_builders.luna16 import check, release_tables
from tfds_builders.metastasis_patches.survey import survey_source

OUTSIDE = ("../secret", "../../etc/passwd", "/etc/passwd", "a/../../secret", "a/b", "..", ".", "")


@pytest.fixture
def root(tmp_path):
    """A folder with a secret beside it, which an image could be read from."""
    folder = tmp_path / "release"
    folder.mkdir()
    write_metaimage(
        tmp_path / "secret.mhd",
        np.zeros((4, 4, 4), np.int16),
        origin_mm=(0.0, 0.0, 0.0),
        spacing_mm=(1.0, 1.0, 1.0),
    )
    return folder


def headers(root: Path, name: str) -> list[Path]:
    """A MetaImage and an NRRD header whose voxels are said to be in `name`."""
    meta, nrrd = root / "scan.mhd", root / "scan.nhdr"
    meta.write_text((root.parent / "secret.mhd").read_text().replace("secret.raw", name))
    sitk.WriteImage(sitk.ReadImage(str(root.parent / "secret.mhd")), str(nrrd))
    lines = nrrd.read_text(encoding="latin-1").splitlines()
    nrrd.write_text("\n".join(f"data file: {name}" if "data file" in x else x for x in lines))
    return [meta, nrrd]


@pytest.mark.parametrize("where", ["../secret.raw", "absolute", "sub/../../secret.raw"])
def test_voxels_beside_another_folder_are_refused(root, where):
    secret = root.parent / "secret.raw"
    name = str(secret) if where == "absolute" else where
    (root / "sub").mkdir()
    for header in headers(root, name):
        with pytest.raises(ImageError, match="expected its data file beside the header"):
            read_image_header(header)
        assert secret not in [path.resolve() for path in image_files(header)]
    with pytest.raises(ImageError, match="expected its data file beside the header"):
        read_header(root / "scan.mhd")


def test_voxels_below_the_header_are_read(root):
    (root / "sub").mkdir()
    (root / "sub" / "a.raw").write_bytes((root.parent / "secret.raw").read_bytes())
    for header in headers(root, "sub/a.raw"):
        assert read_image_header(header).size == (4, 4, 4)


def test_a_link_out_of_luna16_is_refused(tmp_path):
    source = make_source(tmp_path / "source")
    raw = source.scan_file(0, ".raw")
    elsewhere = source.root.parent / "elsewhere.raw"
    raw.rename(elsewhere)
    raw.symlink_to(elsewhere)
    problems = check(source.root).problems
    assert any("expected ElementDataFile beside the header" in problem for problem in problems)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_series_of_luna16_is_a_name(name, tmp_path):
    path = tmp_path / "candidates.csv"
    path.write_text(f'seriesuid,coordX,coordY,coordZ,class\n"{name}",1,2,3,0\n')
    with pytest.raises(SourceError, match="expected a series id"):
        release_tables.read_candidates([path])


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_a_patient_of_dsb2017_is_a_name(name, tmp_path):
    for patient in ("a", "b"):
        (tmp_path / "stage1" / patient).mkdir(parents=True)
    (tmp_path / "stage1_labels.csv").write_text(f"id,cancer\na,0\n{name},1\n")
    (tmp_path / "stage1_solution.csv").write_text("id,cancer\nb,1\n")
    release = find_release(tmp_path)
    assert any("expected a name as id" in problem for problem in release.problems)
    assert set(release.exams["patient"]) == {"a", "b"}


@pytest.mark.parametrize("name", ["../secret/a.dcm", "/etc/passwd", "a/../../secret.dcm", "a", ""])
def test_a_path_of_cbis_ddsm_stays_below_its_root(name, tmp_path):
    for table, (kind, _) in case_tables.TABLES.items():
        row = {**CASE_ROW, "abnormality type": kind, "ROI mask file path": name}
        row |= dict.fromkeys(case_tables.APPEARANCE[kind], "X")
        lines = [",".join(row), ",".join(row.values())]
        (tmp_path / table).write_text("\n".join(lines) + "\n")
    problems: list[str] = []
    cases = case_tables.read_cases(tmp_path, problems)
    assert cases.empty
    assert all("FOLDER/STUDY/SERIES/FILE" in problem for problem in problems)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("column", ["study_id", "image_id"])
def test_a_study_of_vindr_is_a_name(name, column, tmp_path):
    row = dict(zip(COLUMNS, ["s", "i", "L", "CC", "BI-RADS 1", "DENSITY B", "test"], strict=True))
    row[column] = name
    (tmp_path / TABLE).write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    problems: list[str] = []
    assert read_exams(tmp_path, problems, {}).empty
    assert f"expected a name for {column}" in problems[0]


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_a_patch_of_pcam_is_a_name(name, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a1.tif").touch()
    (tmp_path / "train_labels.csv").write_text(f"id,label\na1,0\n{name},1\n")
    assert survey_source(tmp_path).problems
