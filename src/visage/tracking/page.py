"""One self-contained HTML page: the style sheet, and the few pieces a report is made of.

Everything is in the file and the page has no script, so that it opens from a disk, an attachment or a CI artefact.
Every text goes through `text`; only `Markup`, which this module and the figures make, enters a page as it is.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NewType

Markup = NewType("Markup", str)

_STYLE = """
:root{color-scheme:light dark;--paper:#fbfbfd;--card:#fff;--ink:#1c1e26;--soft:#646a7a;--line:#e4e6ee;--accent:#4f46e5}
@media(prefers-color-scheme:dark){:root{--paper:#101117;--card:#191b23;--ink:#e7e8ee;--soft:#9a9fb0;--line:#2b2e3a;
--accent:#a5b4fc}}
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.page{max-width:1240px;margin:0 auto;padding:2.5rem clamp(1rem,4vw,2.5rem) 4rem;display:grid;gap:0 3rem}
@media(min-width:1000px){.page{grid-template-columns:190px minmax(0,1fr)}header,footer{grid-column:1/-1}
nav{position:sticky;top:1.5rem;align-self:start;max-height:calc(100vh - 3rem);overflow:auto}}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:2.6rem 0 1rem;padding-bottom:.4rem;border-bottom:1px solid var(--line)}
main>section:first-child h2{margin-top:0}h3{font-size:1rem;margin:0 0 .6rem;overflow-wrap:anywhere}
header p,footer{color:var(--soft);margin:.3rem 0 0}header{margin-bottom:2rem}
footer{margin-top:3rem;font-size:.85rem}
nav{font-size:.92rem;margin-bottom:2rem}nav ul{list-style:none;margin:0;padding:0}
nav a{display:block;padding:.16rem 0;color:var(--soft);text-decoration:none;overflow-wrap:anywhere}
nav a:hover,nav a:focus-visible{color:var(--accent)}
.cards{display:grid;gap:1.1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));align-items:start}
.columns{columns:2 380px;column-gap:1.1rem}.columns>.card{break-inside:avoid;margin-bottom:1.1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.1rem 1.2rem;min-width:0}
figure{margin:0}figcaption{font-weight:600;margin-bottom:.7rem;overflow-wrap:anywhere}
figure svg,figure img{display:block;max-width:100%;height:auto;margin:0 auto}figure img{border-radius:6px}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-top:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
tr:first-child>*{border-top:0}thead th{color:var(--soft);font-weight:500}tbody th{font-weight:400}
tbody tr:first-child>*{border-top:1px solid var(--line)}table:not(:has(thead)) tr:first-child>*{border-top:0}
.number{text-align:right;padding-right:0;padding-left:.8rem;white-space:nowrap}tbody td.number{font-weight:600}
details{margin-top:.7rem}summary{cursor:pointer;color:var(--accent);font-size:.9rem}.scroll{overflow-x:auto}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
@media print{nav{display:none}.page{display:block}.card{break-inside:avoid}}
"""


def text(value: Any) -> Markup:
    """`value` as text that HTML cannot mistake for markup."""
    return Markup(html.escape(str(value)))


def join(pieces: Iterable[Markup]) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(pieces))


def card(title: str, *pieces: Markup) -> Markup:
    """A framed box with a heading."""
    return Markup(f'<div class="card"><h3>{text(title)}</h3>{join(pieces)}</div>')


def cards(boxes: Iterable[Markup]) -> Markup:
    """Boxes of about one height, in rows of as many as the window has room for."""
    return Markup(f'<div class="cards">{join(boxes)}</div>')


def columns(boxes: Iterable[Markup]) -> Markup:
    """Boxes of different heights, one below the other in as many columns as the window has room for."""
    return Markup(f'<div class="columns">{join(boxes)}</div>')


def figure(title: str, drawing: Markup) -> Markup:
    """A framed picture with its caption."""
    return Markup(f'<figure class="card"><figcaption>{text(title)}</figcaption>{drawing}</figure>')


def folded(summary: str, content: Markup) -> Markup:
    """Content behind a line that opens it."""
    return Markup(f"<details><summary>{text(summary)}</summary>{content}</details>")


def pairs(values: Mapping[str, Any]) -> Markup:
    """Names and values as a table of two columns."""
    return Markup(f"<table>{join(_row([name, value]) for name, value in values.items())}</table>")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table with a header, which scrolls sideways where it must; numbers stand to the right."""
    body = [list(row) for row in rows]
    right = [all(_is_number(row[i]) or row[i] == "" for row in body) for i in range(len(header))]
    head = join(_cell("th", name, right[i]) for i, name in enumerate(header))
    body_rows = join(_row(row) for row in body)
    return Markup(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body_rows}</tbody></table></div>')


def page(title: str, subtitle: str, sections: Mapping[str, Markup], footer: str) -> str:
    """The whole document; `sections` are headings and contents, and become the table of contents too."""
    links = join(Markup(f'<li><a href="#{anchor(name)}">{text(name)}</a></li>') for name in sections)
    bodies = join(
        Markup(f'<section id="{anchor(name)}"><h2>{text(name)}</h2>{body}</section>') for name, body in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body><div class='page'>"
        f"<header><h1>{text(title)}</h1><p>{text(subtitle)}</p></header>"
        f"<nav aria-label='Contents'><ul>{links}</ul></nav><main>{bodies}</main>"
        f"<footer>{text(footer)}</footer></div></body></html>\n"
    )


def anchor(name: str) -> str:
    """A name as the id of a section."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())


def number(value: Any) -> str:
    """A value as a reader wants it: floats with four digits, thousands apart."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(tag: str, value: Any, right: bool) -> Markup:
    kind = ' class="number"' if right else ""
    return Markup(f"<{tag}{kind}>{text(number(value))}</{tag}>")


def _row(values: Sequence[Any]) -> Markup:
    first = Markup(f'<th scope="row">{text(values[0])}</th>')
    return Markup(f"<tr>{first}{join(_cell('td', value, _is_number(value)) for value in values[1:])}</tr>")
