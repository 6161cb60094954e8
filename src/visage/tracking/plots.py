"""The plots that dvc.yaml declares, as pictures which need no network: SVG for charts, data URIs for images.

DVC fills its templates and vl-convert draws them. The charts are restyled on the way: text in the page's own colour,
so that one SVG serves light and dark, and a colour per curve, where DVC keeps colour for revisions and has dashes.
"""

import base64
import html
import json
import mimetypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visage.errors import VisageError

VEGA_LITE = "5.20"  # what DVC 3's templates are written in
PALETTE = ("#6366f1", "#f59e0b", "#10b981", "#ef4444", "#06b6d4", "#a855f7", "#84cc16", "#ec4899")

_OUTSIDE = re.compile(r"""(?:href|src)=["'](?!#|data:)|url\(["']?(?!#)|@import""")
_CURVE = "filename::field"
_TEXT = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 11, "titleFontSize": 12}
_HEAT = ["rgba(99,102,241,0.06)", "rgba(99,102,241,1)"]
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {**_TEXT, "titleFontWeight": 500, "grid": True, "gridColor": "currentColor", "gridOpacity": 0.12}
    | {"domain": False, "tickColor": "currentColor", "tickOpacity": 0.3},
    "axisBand": {"grid": False},
    "legend": {**_TEXT, "orient": "bottom", "labelLimit": 280},
    "header": _TEXT,
    "title": {"color": "currentColor"},
    "line": {"strokeWidth": 2},
    "point": {"filled": True, "size": 45},
    "mark": {"color": PALETTE[0]},
    "range": {"category": list(PALETTE), "heatmap": _HEAT, "ramp": _HEAT},
}


@dataclass(frozen=True)
class Figure:
    """One plot: the `group` it is shown in (a stage, or "" for overlays), its `title`, and safe HTML that draws it."""

    group: str
    title: str
    html: str


def collect_figures(root: Path) -> tuple[list[Figure], list[str]]:
    """Every plot of the repository at `root`, in dvc.yaml's order, and a line for each that could not be drawn.

    Raises VisageError where DVC cannot read the repository at all.
    """
    figures: list[Figure] = []
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as pictures:
        shown = _dvc_plots(root, Path(pictures))
        for name, drawings in shown.get("data", {}).items():
            for drawing in drawings:
                try:
                    figures.append(_figure(name, drawing, len(figures)))
                except (ValueError, OSError, KeyError) as error:
                    faults.append(f"{name}: {str(error).splitlines()[0]}")
    for missed in shown.get("errors", []):
        where = missed.get("source") or missed.get("name", "plots")
        faults.append(f"{where}: {missed.get('msg') or missed.get('type')}")
    return figures, faults


def data_uri(path: Path) -> str:
    """The file at `path` as a data URI."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def restyle(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a DVC-filled vega-lite `spec` in the page's style; its title is left to the page."""
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    copy.pop("title", None)
    data = copy.get("data")
    rows = data.get("values", []) if isinstance(data, dict) else []
    revisions = {row.get("rev") for row in rows if isinstance(row, dict)}
    curves = list(dict.fromkeys(row[_CURVE] for row in rows if isinstance(row, dict) and _CURVE in row))
    if len(revisions) <= 1:
        _simplify(copy, curves)
        if copy.get("facet", {}).get("column", {}).get("field") == "rev":
            copy["facet"]["column"]["header"] = None
    if "width" in copy:
        copy |= {"width": 420, "height": 250}
    return copy | {"config": _CONFIG}


def _dvc_plots(root: Path, pictures: Path) -> dict[str, Any]:
    # The command, not DVC's modules: its JSON is the stable interface. CI and DVC_NO_ANALYTICS keep it from asking for
    # updates and from reporting its use.
    command = [sys.executable, "-m", "dvc", "plots", "show", "--json", "--out", str(pictures)]
    environment = os.environ | {"CI": "1", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise VisageError(f"{root}: `dvc plots show` failed ({reason}); run it there to see more")
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def _figure(name: str, drawing: Mapping[str, Any], number: int) -> Figure:
    parts = Path(name).parts
    group = parts[1] if parts[0] == "plots" and len(parts) > 2 else ""
    title = Path(name).stem.replace("_", " ") if group else name
    if drawing["type"] == "image":
        source = data_uri(Path(drawing["url"]))
        return Figure(group, title, f'<img loading="lazy" src="{source}" alt="{html.escape(title)}">')
    spec = drawing["content"]
    named = spec.get("title", "")
    named = named.get("text", "") if isinstance(named, Mapping) else named
    return Figure(group, title if named in ("", name) else str(named), draw(restyle(spec), f"f{number}"))


def draw(spec: dict[str, Any], prefix: str) -> str:
    """The SVG element of a vega-lite `spec`, ids begun with `prefix`; ValueError where it cannot be drawn offline."""
    import vl_convert

    # No base URL is allowed: a template that asks for data or pictures elsewhere is an error, not a request.
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[])
    if _OUTSIDE.search(svg):
        raise ValueError("its template refers to something outside of the page; remove the address from it")
    # Ids are only unique within a drawing; on one page a clip path would find the first chart's.
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg[svg.index("<svg") :])


def _simplify(node: Any, curves: list[str]) -> None:
    """For one revision and a still picture: a colour per curve where DVC has one per revision, and no panning."""
    if isinstance(node, list):
        for item in node:
            _simplify(item, curves)
    if not isinstance(node, dict):
        return
    color = node.get("color")
    if isinstance(color, dict) and color.get("field") == "rev":
        dash = node.pop("strokeDash", None)
        own = (
            dash if isinstance(dash, dict) and dash.get("field") not in (None, "rev", _CURVE) else {"value": PALETTE[0]}
        )
        node["color"] = _curve_colour(curves) if curves else own
    if "params" in node:
        # Panning by mouse, which a picture cannot do, makes Vega cut the marks off at the frame.
        node["params"] = [one for one in node["params"] if one.get("bind") != "scales"]
    y = node.get("y")
    if isinstance(y, dict) and y.get("title") == "y":
        y["title"] = None
    for key in [key for key in node if key != "data"]:
        _simplify(node[key], curves)


def _curve_colour(curves: list[str]) -> dict[str, Any]:
    fields = [curve.rpartition("::")[2] for curve in curves]
    part = 1 if len(set(fields)) == len(fields) else 0  # one column of several files: the file's name tells them apart
    legend = {"title": None, "labelExpr": f"replace(split(datum.label, '::')[{part}], '.csv', '')"}
    return {"field": _CURVE, "type": "nominal", "scale": {"domain": curves, "range": list(PALETTE)}, "legend": legend}
