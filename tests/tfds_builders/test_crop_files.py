import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from tfds_builders.crop_files import open_crops, remove_others, rendering_code_digest, write_whole

CROPS = np.arange(40_000, dtype=np.int16).reshape(5, 20, 20, 20)


@pytest.mark.parametrize("crops", [CROPS, CROPS[..., ::-1], CROPS.astype(np.uint8)])
def test_what_is_written_is_read(tmp_path: Path, crops: np.ndarray) -> None:
    write_whole(tmp_path / "folder" / "a.npy", crops)
    read = open_crops(tmp_path / "folder" / "a.npy")
    assert read.dtype == crops.dtype
    np.testing.assert_array_equal(read, crops)


def test_a_file_that_does_not_fit_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_whole(tmp_path / "a.npy", CROPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_outdated_and_unfinished_files_go_and_folders_stay(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy", "c.1.unfinished"):
        (tmp_path / name).touch()
    (tmp_path / "downloads").mkdir()
    remove_others(tmp_path, [tmp_path / "a.npy"])
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "downloads"}


def test_the_code_digest_knows_its_files(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1")
    first = rendering_code_digest(tmp_path / "code.py")
    assert rendering_code_digest(tmp_path / "code.py") == first
    (tmp_path / "code.py").write_text("a = 2")
    assert len({first, rendering_code_digest(tmp_path / "code.py"), rendering_code_digest()}) == 3
