"""A report as one HTML file that needs nothing else: no script, no other file, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import assert_never

from n4a_flows.reports.document import Block, Bullets, Heading, Paragraph, Picture, Pictures, Table

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; background: #fff; color: #222;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid #0072b2; }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .5rem; }
p, ul { max-width: 46rem; }
.table { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
thead th { border-bottom: 1px solid #888; }
tbody th { font-weight: normal; }
.number { text-align: right; }
td.number { white-space: nowrap; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin: 1rem 0; }
figure { margin: 0; flex: 1 1 20rem; max-width: 30rem; break-inside: avoid; }
img { display: block; width: 100%; height: auto; }
figcaption { font-size: .88rem; color: #555; margin-top: .3rem; }
@media (max-width: 34rem) {
  body { padding: .75rem; }
  table { font-size: .86rem; }
  th, td { padding-right: .55rem; }
}
@media print {
  @page { margin: 16mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .table { overflow-x: visible; }
  figure { flex: 0 1 45%; max-width: 45%; }
}
"""


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The report as a whole HTML document, for the screen, the phone and paper."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, strong):
            return f"<p><strong>{escape(text)}</strong></p>" if strong else f"<p>{escape(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "\n</ul>"
        case Table():
            return _table(block)
        case Pictures(pictures):
            return '<div class="pictures">\n' + "\n".join(map(_figure, pictures)) + "\n</div>"
    assert_never(block)


def _figure(picture: Picture) -> str:
    caption = escape(picture.caption)
    return f'<figure><img src="{picture.uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _table(table: Table) -> str:
    numbers = [all(_is_number(row[column]) for row in table.rows) for column in range(len(table.header))]

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="number">{escape(cell)}</{tag}>' if number else f"<{tag}>{_lines(cell)}</{tag}>"
            for cell, number in zip(row, numbers, strict=True)
        )

    head = f"<thead><tr>{cells(table.header, 'th')}</tr></thead>" if any(table.header) else ""
    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return f'<div class="table"><table>{head}<tbody>\n{body}\n</tbody></table></div>'


def _lines(cell: str) -> str:
    return "<br>".join(escape(line) for line in cell.splitlines() if line.strip())


def _is_number(cell: str) -> bool:
    return not cell.strip("0123456789.,+-–eE% ")
