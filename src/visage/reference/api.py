"""The pages of the library: for each package, its modules, for mkdocstrings to fill from their docstrings."""

import ast
from pathlib import Path


def packages(source: Path) -> dict[str, list[str]]:
    """The modules of each package of visage in the folder `source`, by the package's full name."""
    found: dict[str, list[str]] = {}
    for init in sorted(source.glob("*/__init__.py")):
        package = f"{source.name}.{init.parent.name}"
        found[package] = [f"{package}.{path.stem}" for path in sorted(init.parent.glob("[!_]*.py"))]
    return found


def pages(source: Path) -> dict[str, str]:
    """Each package's page, in Markdown, by the package's short name."""
    made = {}
    for package, modules in packages(source).items():
        name = package.rpartition(".")[2]
        docstring = ast.get_docstring(ast.parse((source / name / "__init__.py").read_text(encoding="utf-8"))) or ""
        made[name] = "\n".join([f"# {package}", "", docstring, "", *(f"::: {module}\n" for module in modules)])
    return made
