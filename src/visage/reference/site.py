"""The hook of MkDocs (mkdocs.yml) that puts the generated reference pages into the site; none is kept in git."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from visage.reference import api, commands, parameters, stages


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of parameters, stages, commands and packages to those that docs/ holds."""
    for address, text in generated(Path(config.config_file_path).parent).items():
        files.append(File.generated(config, address, content=text))
    return files


def generated(root: Path) -> dict[str, str]:
    """The generated pages in Markdown by their address below docs/; `root` is the repository."""
    made = {
        "reference/parameters.md": parameters.page(root),
        "reference/stages.md": stages.page(root),
        "reference/commands.md": commands.page(),
    }
    return made | {f"reference/api/{name}.md": text for name, text in api.pages(root / "src" / "visage").items()}
