"""Published eye data sets, brought once from the Hugging Face Hub and linked into data/raw.

The hub's own cache layout is kept in the data folder: interrupted downloads resume, files are named by their checksums,
and a snapshot is complete or refused. The link points at the snapshot, which holds the data set's files alone.
"""

import os
from pathlib import Path

from visage.errors import DataError

DATASETS = {"openeds": "Conner/openeds-precomputed", "sddec25": "Conner/sddec25-01"}
DATA_DIR = Path("~/.cache/openeds")


def fetch(name: str, link: Path, data_dir: Path = DATA_DIR) -> Path:
    """Bring data set `name` to `data_dir`, where it is not there yet, and make `link` point at it.

    Args:
        name: one of `DATASETS`.
        link: such as data/raw/openeds; an older link there is replaced.
        data_dir: the cache; "~" is the home folder.

    Returns:
        The folder with the data set's files.

    Raises:
        DataError: unknown name, no network, no access, an interrupted download, or something else lies at `link`.
    """
    if name not in DATASETS:
        raise DataError(f"no data set {name!r}: choose one of {', '.join(DATASETS)}")
    if link.exists() and not link.is_symlink():
        raise DataError(f"{link} is there and is no link: move it away first")
    cache = data_dir.expanduser().resolve()
    folder = _snapshot(DATASETS[name], cache)
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.tmp-{os.getpid()}")
    fresh.symlink_to(folder, target_is_directory=True)
    os.replace(fresh, link)
    print(f"{link} -> {folder}")
    return folder


def _snapshot(repo: str, cache: Path) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        IncompleteSnapshotError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(snapshot_download(repo, repo_type="dataset", cache_dir=cache, local_files_only=True))
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        pass
    else:
        print(f"{repo} is cached in {cache}")
        return folder
    print(f"{repo}: downloading to {cache} (an interrupted download resumes)")
    try:
        return Path(snapshot_download(repo, repo_type="dataset", cache_dir=cache))
    except (GatedRepoError, RepositoryNotFoundError):
        raise DataError(
            f"{repo}: no access: ask for it on https://huggingface.co/datasets/{repo}, then set HF_TOKEN"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        # The hub's own text has many lines; the cause is the first one's kind.
        cause = error.__cause__ or error
        raise DataError(
            f"{repo}: cannot be downloaded ({type(cause).__name__}; no network?): run this again where "
            f"huggingface.co can be reached, or copy a cache made elsewhere to {cache}"
        ) from None
