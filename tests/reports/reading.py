"""Reads a page as a browser does, as far as the tests need it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Page(HTMLParser):
    """What is in a page: its elements, its headings, and its tables by caption."""

    html: str
    elements: list = field(default_factory=list)
    headings: list = field(default_factory=list)
    tables: dict = field(default_factory=dict)
    text: str = ""

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open, self._caption = "", ""
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in ("h1", "h2"):
            self.headings.append("")
        elif tag == "table":
            self._caption = ""
        elif tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open != "style":
            self.text += data
        if self._open in ("h1", "h2"):
            self.headings[-1] += data
        elif self._open == "caption":
            self._caption += data
        elif self._open in ("td", "th"):
            self.tables[self._caption][-1][-1] += data

    def table(self, start):
        """Rows of the table whose caption begins so, without the header."""
        (rows,) = [rows for caption, rows in self.tables.items() if caption.startswith(start)]
        return rows[1:]
