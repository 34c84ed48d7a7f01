import json
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

from mlp_med.errors import SourceError
from mlp_med.phantoms.luna16 import write_luna16
from mlp_med.phantoms.scan import JITTER_MM, plan_scan

NUM_SCANS = 12


@pytest.fixture(scope="module")
def seed(phantom) -> int:
    return json.loads((phantom / "PHANTOM.json").read_text())["seed"]


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_layout_is_luna16s(phantom):
    assert {path.name for path in phantom.iterdir()} == {
        *(f"subset{n}" for n in range(10)),
        "annotations.csv",
        "candidates_V2.csv",
        "seriesuids.csv",
        "PHANTOM.json",
    }
    series = (phantom / "seriesuids.csv").read_text().split()
    assert len(series) == len(set(series)) == NUM_SCANS
    assert {p.stem for p in phantom.glob("subset*/*.mhd")} == set(series)
    assert {p.stem for p in phantom.glob("subset*/*.raw")} == set(series)
    counts = [len(list((phantom / f"subset{n}").glob("*.mhd"))) for n in range(10)]
    assert max(counts) - min(counts) <= 1
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{30,38}", uid) for uid in series)


def test_the_tables_agree_with_each_other(phantom):
    annotations = pd.read_csv(phantom / "annotations.csv")
    candidates = pd.read_csv(phantom / "candidates_V2.csv")
    assert list(annotations) == ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    assert list(candidates) == ["seriesuid", "coordX", "coordY", "coordZ", "class"]
    assert set(candidates["class"]) == {0, 1}
    marks = candidates[candidates["class"] == 1]
    assert len(marks) == len(annotations)
    axes = ["coordX", "coordY", "coordZ"]
    for uid, rows in candidates.groupby("seriesuid"):
        nodules = annotations.loc[annotations.seriesuid == uid, axes].to_numpy()
        gaps = np.linalg.norm(rows[axes].to_numpy()[:, None] - nodules, axis=2).min(axis=1)
        assert np.all((gaps < JITTER_MM + 1e-3) == (rows["class"] == 1))
    description = json.loads((phantom / "PHANTOM.json").read_text())
    assert description["complete"] is True
    assert description["num_scans"] == NUM_SCANS
    assert description["num_nodules"] == len(annotations)
    assert description["num_mimics"] == len(candidates) - len(marks)


def test_scans_read_with_tissue_where_the_tables_say(phantom):
    """Also those that are stored flipped."""
    annotations = pd.read_csv(phantom / "annotations.csv")
    found, directions = [], set()
    for header in phantom.glob("subset*/*.mhd"):
        image = sitk.ReadImage(str(header))
        assert image.GetPixelID() == sitk.sitkInt16
        assert image.GetSize()[:2] == (512, 512)
        assert 64 <= image.GetSize()[2] <= 160
        assert 0.59 < image.GetSpacing()[0] == image.GetSpacing()[1] < 0.81
        directions.add(image.GetDirection()[0])
        voxels = sitk.GetArrayViewFromImage(image)
        rows = annotations[(annotations.seriesuid == header.stem) & (annotations.diameter_mm > 6)]
        for row in rows.itertuples():
            point = (row.coordX, row.coordY, row.coordZ)
            x, y, z = image.TransformPhysicalPointToIndex(point)
            assert np.all(np.array([x, y, z]) > 0)
            found.append(voxels[z, y - 1 : y + 2, x - 1 : x + 2].mean())
    assert directions == {1.0, -1.0}
    assert np.mean(np.array(found) > -200) > 0.9


def test_bytes_do_not_depend_on_workers_nor_on_how_many_scans(phantom, seed, tmp_path):
    calls = []
    write_luna16(
        tmp_path / "few",
        num_scans=2,
        seed=seed,
        num_workers=1,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 2), (2, 2)]
    few, many = digests(tmp_path / "few"), digests(phantom)
    scans = [name for name in few if name.startswith("subset")]
    assert len(scans) == 4
    assert all(few[name] == many[name] for name in scans)
    uid = Path(scans[0]).stem
    rows = (tmp_path / "few" / "candidates_V2.csv").read_text().splitlines()
    assert set(rows[1:]) <= set((phantom / "candidates_V2.csv").read_text().splitlines())
    assert any(row.startswith(uid) for row in rows)


def test_another_seed_is_another_phantom(seed):
    one, other = plan_scan(seed, 0), plan_scan(seed + 1, 0)
    assert one.series_uid != other.series_uid
    assert not np.array_equal(one.vessels.start_mm, other.vessels.start_mm)
    assert not np.array_equal(one.findings[0].candidate_mm, other.findings[0].candidate_mm)


def test_killed_half_way_it_looks_unfinished_and_is_completed(phantom, seed, tmp_path):
    out = tmp_path / "killed"
    call = f"write_luna16({str(out)!r}, num_scans=2, seed={seed}, num_workers=1)"
    code = f"from mlp_med.phantoms.luna16 import write_luna16\nif __name__ == '__main__': {call}"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob("subset*/*.mhd")) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(out.glob("subset*/*.mhd"))
    assert not list(out.glob("*.csv"))
    assert json.loads((out / "PHANTOM.json").read_text())["complete"] is False
    for _ in range(100):  # its worker notices and goes
        if not session_members(process.pid):
            break
        time.sleep(0.1)
    assert not session_members(process.pid)

    (out / "subset1" / "scan.raw.unfinished").write_bytes(b"left by the kill")
    first = next(out.glob("subset0/*.raw"))
    written = first.stat().st_mtime_ns
    write_luna16(out, num_scans=2, seed=seed, num_workers=2)
    assert first.stat().st_mtime_ns == written
    finished, reference = digests(out), digests(phantom)
    scans = [name for name in finished if name.startswith("subset")]
    assert len(scans) == 4
    assert all(finished[name] == reference[name] for name in scans)
    assert len((out / "seriesuids.csv").read_text().split()) == 2


def session_members(session: int) -> list[int]:
    """Processes of a session that still run (Linux)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members


def test_a_finished_phantom_is_left_as_it_is(phantom, seed):
    before = {path: path.stat().st_mtime_ns for path in phantom.rglob("*")}
    calls = []
    summary = write_luna16(
        phantom, num_scans=NUM_SCANS, seed=seed, progress=lambda *done: calls.append(done)
    )
    assert summary["complete"] is True
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in phantom.rglob("*")} == before


def test_what_is_not_this_phantom_is_refused(phantom, seed, tmp_path):
    with pytest.raises(SourceError, match="holds another phantom"):
        write_luna16(phantom, num_scans=NUM_SCANS, seed=seed + 1)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SourceError, match="not empty"):
        write_luna16(tmp_path, num_scans=1, seed=0)
    with pytest.raises(SourceError, match="is a file"):
        write_luna16(tmp_path / "thesis.txt", num_scans=1, seed=0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "PHANTOM.json").write_text("{")
    with pytest.raises(SourceError, match="cannot be read"):
        write_luna16(tmp_path / "broken", num_scans=1, seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "broken"}


@pytest.mark.parametrize("bad", [{"num_scans": 0}, {"seed": -1}, {"num_workers": 0}])
def test_senseless_numbers_are_refused(tmp_path, bad):
    with pytest.raises(SourceError, match="needs num_scans"):
        write_luna16(tmp_path / "out", **{"num_scans": 1, "seed": 0, **bad})
    assert not (tmp_path / "out").exists()


def test_a_disk_without_room_is_refused_before_any_scan(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SourceError, match=r"GB are free.*Make room"):
        write_luna16(tmp_path / "out", num_scans=5, seed=0)
    assert not list((tmp_path / "out").glob("subset*/*"))
