"""conf/ -> params.yaml, by the function that `dvc exp run` itself uses, so that the bytes are the same."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from visage.config import explain, load_config
from visage.errors import ConfigError
from visage.io.atomic import write_bytes

PARAMS = Path("params.yaml")


def compose_params(overrides: Sequence[str]) -> None:
    """Write params.yaml.

    Raises:
        ConfigError: an unknown key or choice, a wrong type, or a value left open.
    """
    write_bytes(PARAMS, _composed(overrides))


def params_differ(overrides: Sequence[str]) -> bool:
    """Whether params.yaml is other than what conf/ composes to."""
    return not PARAMS.is_file() or PARAMS.read_bytes() != _composed(overrides)


def _composed(overrides: Sequence[str]) -> bytes:
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException

    conf = Path("conf").resolve()
    if not conf.is_dir():
        raise ConfigError(f"no conf/ in {Path.cwd()}: run from the repository's root")
    with tempfile.TemporaryDirectory(prefix="visage-") as directory:
        target = Path(directory) / "params.yaml"
        try:
            compose_and_dump(str(target), str(conf), None, "config", str(Path("src").resolve()), list(overrides))
        except (OmegaConfBaseException, HydraException, DvcException) as error:
            raise ConfigError(explain(error)) from None
        content = target.read_bytes()
        if b"???" in content:
            missing = next(line.strip() for line in content.decode().splitlines() if "???" in line)
            raise ConfigError(f"conf/ leaves a value open: {missing}")
        load_config(params=target)
    return content
