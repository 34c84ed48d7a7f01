"""Sources are drawn here: chests of a few ellipses in DICOM series, no one's."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tensorflow_datasets as tfds
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import tfds_builders
from mlp_med.errors import DatasetError, ImageError, SourceError
from mlp_med.imaging.crop import grid_mm
from mlp_med.imaging.hounsfield import render_hounsfield
from tests.tfds_builders.drawn_source import DrawnSource
from tfds_builders.dsb2017 import Builder, build, check, preview
from tfds_builders.dsb2017.crops import read_chest
from tfds_builders.dsb2017.release import split_of
from tfds_builders.dsb2017.survey import FIELD_MM

REAL = Path(__file__).parents[3] / "shared/real/dsb2017_layout"
SIZE, PIXEL_MM, SLICE_MM, NUM_SLICES = 64, 2.5, 10.0, 12
MIDDLE_MM = np.array([12.0, -140.0, -95.0])  # of the scan, and of its lungs
HEART_MM = np.array([30.0, -15.0, -15.0])  # from there: to the left, to the front, below
# Four patients of each table's use; the hash of their names puts them into these splits.
PATIENTS = {
    name: table
    for table, names in {
        "stage1_labels.csv": [f"p{number:02d}" for number in range(24)],
        "stage1_solution.csv": ["t0", "t1"],
    }.items()
    for name in names
}


def chosen() -> dict[str, str]:
    """Two patients of each split, by their table."""
    kept: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, table in PATIENTS.items():
        split = split_of(name, table)
        if counts.get(split, 0) < 2:
            kept[name], counts[split] = table, counts.get(split, 0) + 1
    return kept


def draw_chest(seed: int) -> np.ndarray:
    """HU [z, y, x], feet to head, front to back, right to left; a bright heart, a spine behind."""
    z, y, x = np.meshgrid(
        grid_mm(NUM_SLICES, SLICE_MM), *[grid_mm(SIZE, PIXEL_MM)] * 2, indexing="ij"
    )
    hu = np.where(np.hypot(x, y) < 75, 0.0, -1000.0)
    for side in (-1, 1):
        inside = ((x - side * 33) / 26) ** 2 + (y / 45) ** 2 < 1
        hu[inside & (np.abs(z) < 52)] = -850
    across = np.stack([x, y, z], axis=-1) - HEART_MM
    hu[np.linalg.norm(across, axis=-1) < 16] = 40
    hu[(np.hypot(x, y - 55) < 9)] = 700
    return hu + np.random.default_rng(seed).normal(0, 20, hu.shape)


def write_slice(path: Path, stored: np.ndarray, **elements: object) -> None:
    """A CT slice of stored int16 values [y, x]; `elements` by their keywords."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = str(elements["SOPInstanceUID"])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    rows, columns = stored.shape
    common = {
        "SOPClassUID": CTImageStorage,
        "Modality": "CT",
        "PatientName": "Someone^Real",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": [PIXEL_MM, PIXEL_MM],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 2,
        "RescaleIntercept": -1024,
    }
    for keyword, value in {**common, **elements}.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = stored.astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_axial(folder: Path, hu: np.ndarray, number: int) -> None:
    """Slices whose names are not in the order of their positions."""
    first = MIDDLE_MM - np.array([SIZE - 1, SIZE - 1, 0]) * PIXEL_MM / 2
    for index, (height, plane) in enumerate(zip(grid_mm(NUM_SLICES, SLICE_MM), hu, strict=True)):
        write_slice(
            folder / f"{(index * 5) % NUM_SLICES:03d}.dcm",
            np.rint((plane + 1024) / 2),
            SOPInstanceUID=f"2.25.{number}.{index}",
            SeriesInstanceUID=f"2.25.{number}",
            ImagePositionPatient=(first + np.array([0, 0, height])).tolist(),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )


def write_tables(root: Path, patients: dict[str, str]) -> None:
    for table in set(PATIENTS.values()):
        names = [name for name, of in patients.items() if of == table]
        lines = ["id,cancer", *(f"{name},{number % 2}" for number, name in enumerate(names))]
        (root / table).write_text("\n".join(lines) + "\n")


def draw_source(root: Path) -> Path:
    for number, name in enumerate(chosen(), start=1):
        write_axial(root / "stage1" / name, draw_chest(number), number)
    write_tables(root, chosen())
    return root


class Dsb2017Test(DrawnSource, tfds.testing.DatasetBuilderTestCase):
    """Tests dsb2017; its dummy data are drawn here."""

    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["4mm"]  # noqa: RUF012
    SPLITS = {"train": 2, "validation": 2, "test": 2}  # noqa: RUF012
    draw = staticmethod(draw_source)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that no test may change."""
    return draw_source(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def source(drawn: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "source"))


def everything(builder: tfds.core.DatasetBuilder) -> dict[str, dict[str, dict]]:
    return {
        split: {e["id"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split))}
        for split in builder.info.splits
    }


def value_at(image: np.ndarray, offset_mm: np.ndarray) -> float:
    """The voxel [z, y, x, 1] at an offset (x, y, z) from the centre of the field."""
    size = len(image)
    x, y, z = np.round(offset_mm * size / FIELD_MM + (size - 1) / 2).astype(int)
    return float(image[z, y, x, 0])


def test_the_same_patients_centres_and_values_at_every_resolution(drawn: Path, tmp_path: Path):
    builders = build(drawn, tmp_path, [2.0, 4.0], num_workers=1)
    fine, coarse = (everything(builder) for builder in builders)
    for split, of in fine.items():
        assert of.keys() == coarse[split].keys()
        assert len(of) == 2
        for name, example in of.items():
            other = coarse[split][name]
            assert example["image"].shape == (176, 176, 176, 1)
            assert other["image"].shape == (88, 88, 88, 1)
            assert example["image"].dtype == np.int16
            assert np.array_equal(example["centre_mm"], other["centre_mm"])
            assert example["centre_mm"] == pytest.approx(MIDDLE_MM, abs=5)
            assert example["native_spacing_mm"].tolist() == [PIXEL_MM, PIXEL_MM, SLICE_MM]
            shift = MIDDLE_MM - example["centre_mm"]
            for image in (example["image"], other["image"]):
                assert value_at(image, HEART_MM + shift) == pytest.approx(40, abs=40)
                assert value_at(image, HEART_MM * [-1, 1, 1] + shift) == pytest.approx(-850, abs=60)
                assert value_at(image, np.array([0, 55, 0]) + shift) > 400
                assert value_at(image, np.array([150, 0, 0])) == -1000
    metadata = builders[0].info.metadata
    assert (metadata["field_mm"], metadata["phantom"]) == (352.0, False)
    assert metadata["num_finer_than_native"] == 6
    assert not (tmp_path / ".crops").exists()


def test_splits_are_the_tables_and_the_label_is_theirs(drawn: Path, tmp_path: Path):
    (builder,) = build(drawn, tmp_path, [4.0], num_workers=1)
    labels = {}
    for table in set(PATIENTS.values()):
        with (drawn / table).open() as file:
            labels |= {row["id"]: int(row["cancer"]) for row in csv.DictReader(file)}
    for split, of in everything(builder).items():
        for name, example in of.items():
            assert example["label"] == labels[name]
            assert example["patient"].decode() == name
            assert (split == "test") == (chosen()[name] == "stage1_solution.csv")
    files = [path for path in tmp_path.glob("dsb2017/**/*") if path.is_file()]
    assert files
    assert all(b"Someone" not in path.read_bytes() for path in files)


def write_sagittal(folder: Path, hu: np.ndarray) -> None:
    """From left to right; rows to the back, columns to the feet: pixels 2.5 × 2.5 mm."""
    repeated = np.repeat(hu, 3, axis=0)[:, :, ::4]  # of voxels 8/3 × 2.5 × 10 mm
    depth, _, width = repeated.shape
    z_mm, x_mm = grid_mm(depth, SLICE_MM / 3), (np.arange(width) * 4 - (SIZE - 1) / 2) * PIXEL_MM
    front = -(SIZE - 1) / 2 * PIXEL_MM
    for index in range(width):
        plane = repeated[::-1, :, width - 1 - index]
        write_slice(
            folder / f"{index:03d}.dcm",
            np.rint((plane + 1024) / 2),
            SOPInstanceUID=f"2.25.77.{index}",
            SeriesInstanceUID="2.25.77",
            PixelSpacing=[SLICE_MM / 3, PIXEL_MM],
            ImagePositionPatient=(
                MIDDLE_MM + np.array([x_mm[width - 1 - index], front, z_mm[-1]])
            ).tolist(),
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        )


def test_axial_flipped_and_sagittal_series_come_out_alike(tmp_path: Path):
    hu = draw_chest(5)
    write_axial(tmp_path / "axial", hu, 1)
    write_sagittal(tmp_path / "sagittal", hu)
    last = MIDDLE_MM + np.array([SIZE - 1, SIZE - 1, 0]) * PIXEL_MM / 2
    for index, height in enumerate(grid_mm(NUM_SLICES, SLICE_MM)):
        write_slice(
            tmp_path / "flipped" / f"{index}.dcm",
            np.rint((hu[index, ::-1, ::-1] + 1024) / 2),
            SOPInstanceUID=f"2.25.78.{index}",
            SeriesInstanceUID="2.25.78",
            ImagePositionPatient=(last + np.array([0, 0, height])).tolist(),
            ImageOrientationPatient=[-1, 0, 0, 0, -1, 0],
        )
    images, centres = {}, {}
    for name in ("axial", "flipped", "sagittal"):
        volume, centres[name] = read_chest(tmp_path / name)
        images[name] = render_hounsfield(volume, MIDDLE_MM[np.newaxis], FIELD_MM, 4.0)[0]
    assert np.abs(images["axial"].astype(int) - images["flipped"]).max() <= 1
    assert centres["flipped"] == pytest.approx(centres["axial"], abs=5)
    assert centres["sagittal"] == pytest.approx(centres["axial"], abs=6)
    heart = HEART_MM
    assert value_at(images["sagittal"][..., None], heart) == pytest.approx(40, abs=60)
    assert value_at(images["sagittal"][..., None], heart * [-1, 1, 1]) < -700
    assert value_at(images["sagittal"][..., None], heart * [1, 1, -1]) < -700
    assert value_at(images["sagittal"][..., None], np.array([0, 55, 0])) > 300


def test_check_counts_and_writes_nothing(drawn: Path):
    before = sorted(drawn.rglob("*"))
    report = check(drawn)
    assert report.problems == []
    assert report.files == {"stage1 (patients)": 6, "stage1 (slices of usable scans)": 72}
    assert report.candidates == {"stage1_labels.csv": 4, "stage1_solution.csv": 2}
    assert report.examples["test"] == {"no cancer": 1, "cancer": 1}
    assert report.crop_bytes["4mm"] == 6 * 2 * 88**3
    assert "of slices 10 (10–10)" in report.native
    assert 0 < report.build_core_seconds < 60
    assert f"resolutions: about {report.build_core_seconds:.2g} s of one core" in str(report)
    assert sorted(drawn.rglob("*")) == before


def slice_of(source: Path, number: int = 4) -> Path:
    return sorted(source.glob("stage1/p*/*.dcm"))[number]


def edit(**elements: object) -> Callable[[Path], None]:
    """Changes elements of one slice, or removes those that are None."""

    def spoil(source: Path) -> None:
        dataset = pydicom.dcmread(slice_of(source))
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(slice_of(source))

    return spoil


def edit_all(**elements: object) -> Callable[[Path], None]:
    def spoil(source: Path) -> None:
        for path in slice_of(source).parent.iterdir():
            dataset = pydicom.dcmread(path)
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)

    return spoil


def cut_short(source: Path) -> None:
    path = slice_of(source)
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_slice(source: Path) -> None:
    slice_of(source).unlink()


def copy_a_slice(source: Path) -> None:
    path = slice_of(source)
    shutil.copy(path, path.with_name("again.dcm"))


def lie(source: Path) -> None:
    path = slice_of(source)
    syntax = b"1.2.840.10008.1.2.1\0"
    data = path.read_bytes()
    assert syntax in data
    path.write_bytes(data.replace(syntax, b"1.2.840.10008.1.2.5\0"))


def copy_a_patient(source: Path) -> None:
    first, second = sorted(source.glob("stage1/p*"))[:2]
    shutil.rmtree(second)
    shutil.copytree(first, second)


def empty_a_folder(source: Path) -> None:
    for path in slice_of(source).parent.iterdir():
        path.unlink()


def table(old: str, new: str, name: str = "stage1_labels.csv") -> Callable[[Path], None]:
    def spoil(source: Path) -> None:
        text = (source / name).read_text()
        assert old in text
        (source / name).write_text(text.replace(old, new, 1))

    return spoil


def both_tables(source: Path) -> None:
    with (source / "stage1_solution.csv").open("a") as file:
        file.write("p00,0\n")


def rename_case(source: Path) -> None:
    (source / "stage1" / "p00").rename(source / "stage1" / "P00")


def no_solution(source: Path) -> None:
    (source / "stage1_solution.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_a_slice, "a slice is missing"),
        (copy_a_slice, r"again\.dcm are the same slice; keep one"),
        (edit(ImagePositionPatient=[0, 0, 9]), "shifted against|at another spacing"),
        (edit(SeriesInstanceUID="2.25.99"), "found 2 series"),
        (edit(PixelSpacing=[3, 3]), "expected the spacing"),
        (edit(PixelSpacing=None), "has no spacing"),
        (edit(ImagePositionPatient=None), "has no position"),
        (edit(PixelData=None), "has no pixel data"),
        (edit(NumberOfFrames=2), "multi-frame DICOM is not read"),
        (edit(Rows=99), "is cut short"),
        (cut_short, r"is cut short: expected 8,192 bytes of pixels, found 8,092"),
        (
            lie,
            "its transfer syntax is RLE, and holds 8,192 bytes of pixels that are not in",
        ),
        (edit_all(Modality="MR"), "expected a CT, found the modality 'MR'"),
        (edit_all(PixelSpacing=[0.0007, 0.0007]), "expected voxels of 0.2 to 10 mm"),
        (
            edit_all(ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]),
            "resample the oblique series first",
        ),
        (copy_a_patient, "the same series lies in the folders"),
        (empty_a_folder, "expected the slices of one DICOM series, found none"),
        (table("p00,0", "p00,2"), r"expected 0 or 1 as cancer, not so for '2' \(line 2\)"),
        (table("p00,0", "../p00,0"), "expected a name as id"),
        (table("p00,0", "p00,0\np00,1"), r"expected each id once, not so for 'p00' \(line 3\)"),
        (table("id,cancer", "name,cancer"), "missing: id"),
        (both_tables, "both hold p00: nobody may be in training and in the test"),
        (rename_case, "the same but for upper and lower case"),
        (no_solution, r"stage1_solution\.csv is missing"),
        (table("t1,1", "t1,0", "stage1_solution.csv"), "the test split has 2 no cancer and 0"),
    ],
)
def test_bad_input_is_told_and_nothing_is_built(
    source: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
):
    spoil(source)
    assert re.search(message, str(check(source)))
    with pytest.raises(SourceError, match=message):
        build(source, tmp_path / "data", [4.0], num_workers=1)
    assert not (tmp_path / "data").exists()


def test_patients_without_scan_or_label_are_skipped_and_counted(source: Path):
    with (source / "stage1_labels.csv").open("a") as file:
        file.write("nobody,1\n")
    shutil.copytree(source / "stage1" / "p00", source / "stage1" / "unlabelled")
    report = check(source)
    assert report.problems == []
    assert report.skipped == {
        "labels of patients without a folder in stage1": 1,
        "patients without a label": 1,
    }
    assert sum("skipped" in warning for warning in report.warnings) == 2


def test_tables_with_semicolons_and_a_byte_order_mark_are_read(source: Path):
    expected = check(source).examples
    for name in ("stage1_labels.csv", "stage1_solution.csv"):
        text = (source / name).read_text().replace(",", ";").replace("\n", "\r\n")
        (source / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    report = check(source)
    assert (report.problems, report.examples) == ([], expected)


def test_a_directory_of_another_layout_is_refused(tmp_path: Path):
    with pytest.raises(SourceError, match="expected the folder stage1"):
        build(tmp_path, tmp_path / "data")
    (tmp_path / "stage1").mkdir()
    assert "found none" in check(tmp_path).problems[0]


@pytest.mark.parametrize("filled", [-1000.0, 30.0])
def test_a_scan_without_lungs_leaves_nothing_half_built(
    source: Path, tmp_path: Path, filled: float
):
    write_axial(source / "stage1" / "p00", np.full((NUM_SLICES, SIZE, SIZE), filled), 1)
    assert check(source).problems == []
    with pytest.raises(ImageError, match="p00: no lungs are found"):
        build(source, tmp_path / "data", [4.0], num_workers=1)
    assert not list((tmp_path / "data").glob("dsb2017/**/*.*"))


def test_another_source_is_refused(source: Path, tmp_path: Path):
    build(source, tmp_path / "data", [4.0], num_workers=1)
    table("p00,0", "p00,1")(source)
    with pytest.raises(DatasetError, match="digest"):
        tfds_builders.open_config("dsb2017", 4.0, tmp_path / "data", source=source)


def test_a_preview_needs_no_labels(source: Path):
    cases = preview(source, 2, [4.0])
    assert [case.label for case in cases] == ["cancer", "no cancer"]
    for name in ("stage1_labels.csv", "stage1_solution.csv"):
        (source / name).unlink()
    (case,) = preview(source, 1, [4.0])
    assert (case.label, case.crops["4mm"].shape) == ("label unknown", (88, 88, 88, 1))


@pytest.mark.skipif(not REAL.is_dir(), reason="no real CT in DSB 2017's layout here")
class TestRealCt:
    """One CT of 99 slices, from TCIA's CPTAC-LSCC."""

    @pytest.fixture(scope="class")
    def volume(self) -> np.ndarray:
        (case,) = preview(REAL, 1, [4.0])
        return case.crops["4mm"][..., 0]

    def test_check_says_what_is_there_and_what_is_missing(self):
        report = check(REAL)
        assert report.files["stage1 (slices of usable scans)"] == 99
        assert len(report.problems) == 2
        assert all("is missing" in problem for problem in report.problems)

    def test_the_patient_lies_on_the_back_and_the_head_is_up(self, volume: np.ndarray):
        z, y, x = np.indices(volume.shape) - (len(volume) - 1) / 2

        def middle(mask: np.ndarray, axis: np.ndarray) -> float:
            return float(axis[mask].mean())

        central = (np.abs(x) < 12) & (np.abs(z) < 12)
        bone = (volume > 300) & central
        assert middle(bone, y) > 8  # spine: at the back, which is below in an axial picture
        soft = (volume > 20) & (volume < 300) & (np.abs(z + 6) < 5) & (np.abs(y) < 14)
        assert middle(soft & (np.abs(x) < 22), x) > 2  # heart: to the patient's left
        right = (x < -6) & (x > -22) & (np.abs(y) < 12) & (np.abs(z) < 32)
        solid = (volume > -50)[right]
        below = z[right] < -22  # the liver; above it lung
        assert solid[below].mean() > 3 * solid[~below].mean()
        lung = (volume < -700) & (np.abs(x) < 28) & (np.abs(y) < 22)
        width = [x[lung & (z == level)].std() for level in (-20.5, 30.5)]
        assert width[0] > width[1]  # apices are narrower than bases

    def test_it_is_built_with_labels_beside_it(self, drawn: Path, tmp_path: Path):
        source = tmp_path / "source"
        (source / "stage1").mkdir(parents=True)
        for folder in [*drawn.glob("stage1/*"), *REAL.glob("stage1/*")]:
            (source / "stage1" / folder.name).symlink_to(folder.resolve())
        (real,) = (folder.name for folder in REAL.glob("stage1/*"))
        for name in ("stage1_labels.csv", "stage1_solution.csv"):
            shutil.copy(drawn / name, source / name)
        with (source / "stage1_solution.csv").open("a") as file:
            file.write(f"{real},1\n")
        (builder,) = build(source, tmp_path / "data", [4.0], num_workers=1)
        example = everything(builder)["test"][real]
        (case,) = preview(REAL, 1, [4.0])
        assert np.array_equal(example["image"], case.crops["4mm"])
        assert example["label"] == 1


if __name__ == "__main__":
    tfds.testing.test_main()
