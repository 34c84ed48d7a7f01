from pathlib import Path

import pytest

from mlp_med.errors import SourceError
from tfds_builders.tables import read_list, read_table


def table(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_either_line_end_gives_the_same_rows(tmp_path: Path, newline: bytes) -> None:
    path = table(tmp_path, newline.join([b"id, extra ,size", b"a,x,1.5", b"", b" b ,y,-2", b""]))
    rows = read_table(path, text=["id"], numbers=["size"])
    assert rows["id"].tolist() == ["a", "b"]
    assert rows["size"].tolist() == [1.5, -2.0]
    assert rows.index.tolist() == [2, 4]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, b"\xef\xbb\xbfid\na\n"), text=["id"])["id"].tolist() == ["a"]


def test_semicolons_separate_where_the_first_line_has_no_comma(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, b"id;size\na,b;1.5\n"), text=["id"], numbers=["size"])
    assert (rows["id"].tolist(), rows["size"].tolist()) == (["a,b"], [1.5])


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, b"id,size\n"), text=["id"], numbers=["size"])
    assert list(rows) == ["id", "size"]
    assert rows.empty


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id\na\n", "line 1.*missing: size; found: id"),
        (b"", "line 1.*found: nothing"),
        (b"id,size\na,1\nb\n", "line 3: expected 2 values, found 1"),
        (b"id,size\na,1\nb,2,3\n", "line 3: expected 2 values, found 3"),
        (b"id,size\na,1\nb,big\nc,nan\n", "line 3.*size.*'big'.*1 more"),
        (b"id,size\na,inf\n", "line 2.*finite"),
        (b"id,size\na,\n", "line 2.*finite"),
        (b"id,size\n\xff,1\n", "UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"table\.csv.*{message}"):
        read_table(table(tmp_path, content), text=["id"], numbers=["size"])


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.csv: cannot be read"):
        read_list(tmp_path / "nothing.csv")
