"""A check that comes before SimpleITK: teem, which reads NRRD for it, trusts a header's lines.

It copies them into buffers of fixed size when it complains, and so ends the process where a line is
long garbage. Format: https://teem.sourceforge.net/nrrd/format.html
"""

from pathlib import Path

from mlp_med.errors import ImageError
from mlp_med.imaging.claims import require_beside

MAGIC = b"NRRD000"
HEADER_BYTES = 1 << 16
LONGEST_LINE = 500


def is_nrrd(path: Path) -> bool:
    """By its first bytes, as SimpleITK tells it."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def check_nrrd_header(path: Path) -> None:
    """Checks that the header is lines of plain text, each of a form that the format knows.

    Raises:
        ImageError: a line is too long, is no text or no field, or the header does not end.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    lines = head.replace(b"\r\n", b"\n").split(b"\n")
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            return
        text = line.decode("ascii", errors="replace")
        if len(line) > LONGEST_LINE or not text.replace("\t", " ").isprintable():
            raise ImageError(
                f"{path} line {number}: expected a field of an NRRD header, plain text of at most "
                f"{LONGEST_LINE} characters, found {text[:40]!r}; copy the file again"
            )
        field, _, value = text.partition(":")
        if field.strip().lower() in ("data file", "datafile"):
            require_beside(path, value.strip())
        if not line.isascii() or not (text.startswith("#") or ":" in text):
            raise ImageError(
                f"{path} line {number}: expected 'field: value' in an NRRD header, found "
                f"{text[:40]!r}; copy the file again"
            )
    # A detached header may end with the file.
    if len(head) == HEADER_BYTES or path.suffix.lower() != ".nhdr":
        raise ImageError(f"{path}: its NRRD header does not end; copy the file again")
