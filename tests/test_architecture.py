"""The rules about who imports whom, and the sizes that keep files readable and git small."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from closure import ROOT, SRC, imported_modules

DOMAINS = {"faces", "hair", "eyes", "inpaint"}
# Modules at the root of the package that join the domains.
JOINING = {"config", "cli", "fit", "serving"}
ONLY_IN = {
    "hydra": ("stages/", "src/visage/config.py", "src/visage/compose.py", "src/hydra_plugins/"),
    "dask": ("src/visage/jobs/engines.py",),
    "onnxruntime": (
        "src/visage/export/", "src/visage/features/backends.py", "src/visage/vision/detect.py", "src/visage/serving/",
    ),
    "openvino": (
        "src/visage/export/", "src/visage/features/backends.py", "src/visage/vision/detect.py", "src/visage/serving/",
    ),
}  # fmt: skip
SOURCES = sorted([*SRC.rglob("*.py"), *(ROOT / "stages").glob("*.py")])
TRACKED_LIMIT, PICTURES_LIMIT, PICTURE_LIMIT = 400_000, 4_000_000, 200_000


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def packages_of(path: Path) -> set[str]:
    """The first parts below visage of what `path` imports."""
    return {name.split(".")[1] for name in imported_modules(path) if "." in name}


def foreign_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_point_from_domains_to_shared_packages(path: Path) -> None:
    place = path.relative_to(SRC / "visage").parts[0].removesuffix(".py") if path.is_relative_to(SRC / "visage") else ""
    domains = packages_of(path) & DOMAINS
    if place in DOMAINS:
        assert domains <= {place}, f"{relative(path)} imports another domain: {domains - {place}}"
    elif not place:
        assert len(domains) <= 1, f"{relative(path)} imports several domains: {domains}"
    elif place not in JOINING:
        assert not domains, f"{relative(path)} is shared and imports {domains}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_special_libraries_stay_where_they_belong(path: Path) -> None:
    for library in set(foreign_modules(path)) & ONLY_IN.keys():
        assert relative(path).startswith(ONLY_IN[library]), f"{relative(path)} imports {library}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = 30 if relative(path).startswith("stages/") else 300
    assert len(text.splitlines()) <= limit
    assert ast.get_docstring(ast.parse(text)), f"{relative(path)} does not say what it is"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=relative)
def test_packages_do_nothing_when_imported(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        typing = (isinstance(node, ast.ImportFrom) and node.module == "typing") or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        # A function is how a name is imported only when it is asked for (PEP 562).
        assert typing or isinstance(node, ast.Expr | ast.Assign | ast.FunctionDef), f"{relative(path)} runs code"


def test_git_holds_no_large_files() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: (ROOT / name).stat().st_size for name in names.split("\0") if name and (ROOT / name).is_file()}
    assert not {name: size for name, size in sizes.items() if size > TRACKED_LIMIT}
    pictures = {name: size for name, size in sizes.items() if name.endswith((".png", ".jpg", ".webp", ".gif"))}
    assert not {name: size for name, size in pictures.items() if size > PICTURE_LIMIT}
    assert sum(pictures.values()) <= PICTURES_LIMIT
