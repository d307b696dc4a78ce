"""The parts of an HTML page: style, tables, figures. Arguments are plain text, which is escaped
here, unless their description says HTML. No TensorFlow import."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TypeVar

from matplotlib.figure import Figure

from irazor_tf.report.figures.style import ROWS, svg
from irazor_tf.report.formats import NONE

# px; a box says that it scrolls where the page is narrower than the step below its content's width
HINT_STEPS = (350, 500, 700, 900, 1032)
_SIDES = 48  # px, of the page beside its content
CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; color: #1f2328; background: #fff;
  max-width: 1080px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .5rem; padding-top: .9rem; border-top: 1px solid #d7dbe0; }
p { margin: .4rem 0; max-width: 56rem; overflow-wrap: anywhere; } p.title { font-weight: 600; margin: 1.4rem 0 .3rem; }
nav { margin: .9rem 0 0; font-size: .9rem; } nav a { color: #0059a3; margin-right: 1.1rem; }
.notice { border-left: 3px solid #e69f00; padding-left: .7rem; font-size: .9rem; }
.note { color: #4d545c; font-size: .87rem; } .none { color: #5f666d; font-style: italic; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { flex: 1 1 11rem; border: 1px solid #d7dbe0; border-radius: 6px; padding: .55rem .9rem; }
.card b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; } .card span { color: #4d545c; font-size: .85rem; }
.scroll { overflow: auto; max-height: 46rem; } .drawing { overflow-x: auto; }
.scroll, .drawing { scrollbar-width: thin; scrollbar-color: #9aa0a6 #eef0f2; }
.hint { display: none; color: #8a5a00; font-size: .8rem; margin: .3rem 0 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .26rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e9ec; vertical-align: top; }
th { position: sticky; top: 0; background: #f4f6f8; color: #3b4249; font-weight: 600; vertical-align: bottom; white-space: normal; }
.left { text-align: left; } td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 13rem; }
table.dense { font-size: .72rem; } .dense th, .dense td { padding: .22rem .3rem; }
tr.found td { background: #e8f2fa; font-weight: 600; } tr.off td { color: #6b7279; }
figure { margin: .6rem 0; } figure svg { display: block; }
figcaption { color: #4d545c; font-size: .87rem; max-width: 56rem; }
summary { cursor: pointer; color: #0059a3; margin: .5rem 0; font-size: .9rem; }
@media (max-width: 45rem) {
  body { margin: 1rem auto; padding: 0 1rem; } .card { flex-basis: 8rem; } td.wrap { min-width: 9rem; }
  td:first-child, th:first-child { position: sticky; left: 0; z-index: 1; background: #fff; min-width: 5.5rem; white-space: normal;
    overflow-wrap: anywhere; border-right: 1px solid #d7dbe0; }
  th:first-child { background: #f4f6f8; z-index: 2; } tr.found td:first-child { background: #e8f2fa; }
}
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { font-size: 11px; } body { max-width: none; margin: 0; padding: 0; font-size: 1rem; } nav { display: none; }
  .scroll { max-height: none; overflow: visible; } figure, tr, .card { break-inside: avoid; } h2, .title { break-after: avoid; }
  th { position: static; } th, td { padding: .15rem .5rem; } .dense th, .dense td { padding: .15rem .3rem; }
  td.wrap { min-width: 9rem; } .drawing { overflow: visible; } figure svg { max-width: 100%; height: auto; max-height: 175mm; }
}
""" + "".join(
    f"@media screen and (max-width: {step + _SIDES}px) {{ .w{step} {{ display: block; }} }}\n"
    for step in HINT_STEPS
)

T = TypeVar("T")


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]], first: str = "") -> str:
    """The text of the whole HTML file.

    Args:
      title: The page's title, plain text.
      lead: The paragraph below the title, plain text.
      sections: Title (plain text), id and HTML of every section; one with empty HTML is left out.
      first: HTML that stands before the lead.
    """
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{html.escape(name)}</a>' for name, key, _ in sections)
    body = "\n".join(
        f'<section id="{key}"><h2>{html.escape(name)}</h2>\n{text}\n</section>'
        for name, key, text in sections
    )
    title = html.escape(title)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{CSS}</style>"
    )
    top = f"<h1>{title}</h1>\n{first}{paragraph(lead)}\n<nav>{links}</nav>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{top}\n{body}\n'
        "</body></html>\n"
    )


def paragraph(text: str, kind: str = "text") -> str:
    """HTML of a paragraph.

    Args:
      text: Its words, plain text.
      kind: CSS class: text, title, note, notice (about something that went wrong), or none (says
        that there is nothing to show).
    """
    return f'<p class="{kind}">{html.escape(text)}</p>'


def cards(values: Sequence[tuple[str, str]]) -> str:
    """HTML of boxes side by side.

    Args:
      values: For every box a value and the words below it.
    """
    boxes = "".join(
        f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(label)}</span></div>'
        for value, label in values
    )
    return f'<div class="cards">{boxes}</div>'


def data_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    classes: Sequence[str] = (),
    wrap: int = 80,
) -> str:
    """HTML of a table that scrolls where it is large. A column in which no row has a value is left
    out, unless it is the first.

    Args:
      header, rows: texts of the cells, plain text.
      left: number of columns, from the first, that are aligned to the left.
      classes: class of every row: plain, found (the found config) or off (a removed field). If
        empty (default), all are plain.
      wrap: number of letters from which on a cell may break.
    """
    shown = [
        i for i in range(len(header)) if not i or any(row[i] not in (NONE, "") for row in rows)
    ]

    def line(tag: str, cells: Sequence[str], kind: str) -> str:
        sides = [
            ("left" if i < left else "right") + (" wrap" if len(cells[i]) > wrap else "")
            for i in shown
        ]
        inner = "".join(
            f'<{tag} class="{side}">{html.escape(cells[i])}</{tag}>'
            for side, i in zip(sides, shown, strict=True)
        )
        return f'<tr class="{kind}">{inner}</tr>'

    body = "\n".join(
        line("td", row, kind)
        for row, kind in zip(rows, classes or ["plain"] * len(rows), strict=True)
    )
    size = "dense" if len(shown) > 13 else "plain"
    longest = [max(map(len, [*header[i].split(), *(row[i][:wrap] for row in rows)])) for i in shown]
    width = sum((5 if size == "dense" else 6) * letters + 17 for letters in longest)  # px, about
    head = line("th", header, "plain")
    table = f'<table class="{size}"><thead>{head}</thead><tbody>\n{body}\n</tbody></table>'
    return f'{_hint(width)}<div class="scroll">{table}</div>'


def figure(drawn: Figure, key: str, caption: str) -> str:
    """HTML of a figure with its caption, in the figure's own size: where the page is narrower, it
    scrolls.

    Args:
      drawn: the figure.
      key: a name that no other figure of the page has.
      caption: the words below it.
    """
    drawing = f'<div class="drawing">{svg(drawn, key, caption)}</div>'
    return f"<figure>{_hint(96 * drawn.get_figwidth())}{drawing}<figcaption>{html.escape(caption)}</figcaption></figure>"


def figures(draw: Callable[[list[T]], Figure], items: Sequence[T], key: str, caption: str) -> str:
    """HTML of a figure with many rows, cut in pages of `ROWS` rows (one page where little would be
    left over), in a box that scrolls.

    Args:
      draw: function that draws a figure of some of the rows.
      items: the rows.
      key: a name that no other figure of the page has.
      caption: the words below each page, without a full stop.
    """
    if len(items) <= ROWS * 4 // 3:
        return figure(draw(list(items)), key, f"{caption}.")
    pages = []
    for start in range(0, len(items), ROWS):
        rows = list(items[start : start + ROWS])
        span = f"{start + 1:,} to {start + len(rows):,} of {len(items):,}"
        pages.append(figure(draw(rows), f"{key}-{start}", f"{caption}: {span}."))
    return f'<div class="scroll">{"".join(pages)}</div>'


def _hint(width: float) -> str:
    """HTML of the words that a box scrolls sideways, shown only where the page is narrower than the
    box's content.

    Args:
      width: Width of the content, px.
    """
    step = max((step for step in HINT_STEPS if step <= width), default=None)
    return "" if step is None else f'<p class="hint w{step}">⟷ scrolls sideways</p>'
