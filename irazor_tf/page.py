"""Pieces of a page of HTML: what it looks like, tables, figures. Text given to them is plain and is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from irazor_tf import plots

NONE = "–"
CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1f2328; background: #fff; max-width: 1080px; margin: 2rem auto;
  padding: 0 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem; padding-top: .9rem; border-top: 1px solid #d7dbe0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } p { margin: .4rem 0; max-width: 56rem; } code { font: 13px ui-monospace, Menlo, Consolas, monospace; }
nav { margin: .9rem 0 0; font-size: .9rem; } nav a { color: #0059a3; margin-right: 1.1rem; } .lead { color: #4d545c; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { flex: 1 1 11rem; border: 1px solid #d7dbe0; border-radius: 6px; padding: .55rem .9rem; }
.card b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; } .card span { color: #4d545c; font-size: .85rem; }
.scroll { overflow: auto; max-height: 46rem; } .none { color: #5f666d; font-style: italic; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .26rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e9ec; } td.wrap { white-space: normal; min-width: 16rem; }
th { position: sticky; top: 0; background: #f4f6f8; color: #3b4249; font-weight: 600; vertical-align: bottom; } .left { text-align: left; }
tr.found td { background: #e8f2fa; font-weight: 600; } tr.off td { color: #80868b; } tr.head th { position: static; }
figure { margin: .6rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: #4d545c; font-size: .87rem; max-width: 56rem; }
summary { cursor: pointer; color: #0059a3; margin: .5rem 0; font-size: .9rem; }
@media print { body { max-width: none; margin: 0; padding: 0; font-size: 11px; } .scroll { max-height: none; overflow: visible; } nav { display: none; }
  figure, tr, .card { break-inside: avoid; } h2, h3 { break-after: avoid; } th { position: static; } table { font-size: 8px; } th, td { padding: .15rem .3rem; } }
@page { size: A4 landscape; margin: 12mm; }
"""


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """The whole file; a section is (title, id, HTML)."""
    title = html.escape(title)
    links = "".join(f'<a href="#{key}">{html.escape(name)}</a>' for name, key, _ in sections)
    parts = "\n".join(f'<section id="{key}"><h2>{html.escape(name)}</h2>\n{text}\n</section>' for name, key, text in sections)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{CSS}</style>'
    top = f"<h1>{title}</h1>\n{paragraph(lead, 'lead')}\n<nav>{links}</nav>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{top}\n{parts}\n</body></html>\n'


def number(value: Any, digits: int = 4) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, classes: Sequence[str] = ()) -> str:
    """A table; the first `left` columns to the left, `classes` one per row. Every cell is escaped."""

    def line(tag: str, cells: Sequence[str], kind: str = "") -> str:
        inner = "".join(
            f'<{tag} class="{"left" if i < left else "right"}{" wrap" if len(cell) > 60 else ""}">{html.escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f'<tr class="{kind}">{inner}</tr>'

    body = "\n".join(line("td", row, kind) for row, kind in zip(rows, classes or [""] * len(rows), strict=True))
    return f'<div class="scroll"><table><thead>{line("th", header)}</thead><tbody>\n{body}\n</tbody></table></div>'


def figure(figure: Any, key: str, caption: str) -> str:
    return f"<figure>{plots.svg(figure, key, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def none(sentence: str) -> str:
    return f'<p class="none">{html.escape(sentence)}</p>'


def _p(sentence: str) -> str:
    return f"<p>{html.escape(sentence)}</p>"


def chunks(items: Sequence[Any]) -> list[list[Any]]:
    """Pages of a figure: all on one where little would be left over for a second."""
    size = plots.ROWS if len(items) > plots.ROWS * 4 // 3 else len(items)
    return [list(items[start : start + size]) for start in range(0, len(items), size or 1)]


def pages(figures: Sequence[str]) -> str:
    """Figures below each other, in a box that scrolls where they are several."""
    return f'<div class="scroll">{"".join(figures)}</div>' if len(figures) > 1 else "".join(figures)


def part(caption: str, number: int, count: int) -> str:
    if count <= plots.ROWS * 4 // 3:
        return f"{caption}."
    return f"{caption}: {number * plots.ROWS + 1:,} to {min(count, (number + 1) * plots.ROWS):,} of {count:,}."


