"""The schema of the whole configuration, and the decorator that makes a function a stage.

The root only joins the dataclasses that live beside the code they configure: a new field in one domain must not rerun
another. DVC checks the same tree when it composes conf/ into params.yaml (src/hydra_plugins), a stage checks it again
when it reads params.yaml, so that a mistyped key stops before anything runs, whichever way it came in.
"""

import difflib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from visage.errors import ConfigError, Unfinished, VisageError
from visage.eyes.config import Ellipse, Eyes, Pupil
from visage.faces.config import Faces, Finetune, Heads
from visage.features.config import Features, Pretrain
from visage.hair.config import Hair, Patches, PatchHead, Segmenter, ZeroShot
from visage.inpaint.config import Inpaint, Texture
from visage.inpaint.diffusion_config import Autoencoder, Inpainter, Prompts
from visage.inpaint.tryout_config import Gate, Tryout
from visage.runtime import Runtime, tune


@dataclass
class Config:
    """params.yaml as a tree of types.

    lr: learning rate of the head loop, other trainers have their own. seed: of every random stream, each of which adds
    what it is for.
    """

    lr: float = MISSING
    seed: int = MISSING
    runtime: Runtime = field(default_factory=Runtime)
    faces: Faces = field(default_factory=Faces)
    pretrain: Pretrain = field(default_factory=Pretrain)
    features: Features = field(default_factory=Features)
    heads: Heads = field(default_factory=Heads)
    finetune: Finetune = field(default_factory=Finetune)
    eyes: Eyes = field(default_factory=Eyes)
    pupil: Pupil = field(default_factory=Pupil)
    ellipse: Ellipse = field(default_factory=Ellipse)
    hair: Hair = field(default_factory=Hair)
    zero_shot: ZeroShot = field(default_factory=ZeroShot)
    segmenter: Segmenter = field(default_factory=Segmenter)
    patches: Patches = field(default_factory=Patches)
    patch_head: PatchHead = field(default_factory=PatchHead)
    inpaint: Inpaint = field(default_factory=Inpaint)
    texture: Texture = field(default_factory=Texture)
    autoencoder: Autoencoder = field(default_factory=Autoencoder)
    prompts: Prompts = field(default_factory=Prompts)
    inpainter: Inpainter = field(default_factory=Inpainter)
    tryout: Tryout = field(default_factory=Tryout)
    gate: Gate = field(default_factory=Gate)

    def check(self) -> None:
        """Refuse values out of range in any section: an hour before the stage that reads them, if need be.

        Raises:
            ConfigError: names the first such key.
        """
        faces = (self.faces.prepare, self.pretrain, self.features, self.heads, self.finetune)
        eyes = (self.eyes, self.pupil, self.ellipse)
        hair = (self.hair, self.zero_shot, self.segmenter, self.patches, self.patch_head)
        painting = (self.inpaint, self.texture, self.autoencoder, self.prompts, self.inpainter, self.tryout, self.gate)
        for section in (*faces, *eyes, *hair, *painting):
            section.check()
        if self.features.size > self.faces.prepare.size:
            raise ConfigError(
                f"features.size={self.features.size} is more than the prepared pictures have (faces.prepare.size="
                f"{self.faces.prepare.size}): raise faces.prepare.size instead, features.size follows it"
            )


def stage(function: Callable[[Config], None]) -> Callable[[], None]:
    """Make `function` a Hydra application over the composed params.yaml of the working directory.

    The application is quiet (conf/stage.yaml), checks the types, takes overrides by hand (`finetune.epochs=1`) and
    answers `--cfg job`. A user's mistake ends with one line and exit code 2, a time limit with exit code 3.
    """

    @functools.wraps(function)
    def main() -> None:
        import hydra

        refuse_resolved_keys(sys.argv[1:])
        # Without this Hydra prints its own many-line report and exits, and there is nothing left to say in one line.
        os.environ["HYDRA_FULL_ERROR"] = "1"

        mistakes: list[VisageError] = []

        def job(composed: object) -> None:
            config = OmegaConf.to_object(composed)  # type: ignore[arg-type]
            assert isinstance(config, Config)
            try:
                tune(config.runtime)
                config.check()
                function(config)
            except VisageError as error:
                # Raised through Hydra it would come with a line of Hydra's own.
                mistakes.append(error)

        conf = Path("conf").resolve()
        if not conf.is_dir():
            raise ConfigError(f"no conf/ in {Path.cwd()}: run from the repository's root")
        if not Path("params.yaml").is_file():
            raise ConfigError(f"no params.yaml in {Path.cwd()}: visage compose makes it")
        hydra.main(version_base="1.3", config_path=str(conf), config_name="stage")(job)()
        if mistakes:
            raise mistakes[0]

    return functools.partial(report_errors, main)


def report_errors(main: Callable[[], object]) -> None:
    """Run `main`; end a user's mistake with one line on stderr instead of a stack trace."""
    from hydra.errors import HydraException

    try:
        main()
    except KeyboardInterrupt:
        fail("interrupted: the same command continues where this one was", 130)
    except Unfinished as error:
        fail(str(error), 3)
    except VisageError as error:
        fail(str(error), 2)
    except (OmegaConfBaseException, HydraException) as error:
        fail(explain(error), 2)


def output(path: str) -> Path:
    """Where a stage writes what DVC knows as `path`: there, or under VISAGE_OUTPUT_DIR (`visage train --output-dir`).

    Checkpoints (artifacts/<domain>/<stage>) then lie directly in that folder, metrics and plots in folders of it.
    """
    elsewhere = os.environ.get("VISAGE_OUTPUT_DIR")
    if not elsewhere:
        return Path(path)
    return Path(elsewhere) / ("" if path.startswith("artifacts/") else path)


def load_config(overrides: Sequence[str] = (), params: Path = Path("params.yaml")) -> Config:
    """params.yaml with `overrides` ("finetune.epochs=1"), checked against the schema, for commands that are not stages.

    Raises:
        ConfigError: no params.yaml here, or a key or a type that the schema does not have.
    """
    if not params.is_file():
        raise ConfigError(f"no {params} in {Path.cwd()}: run from the repository's root (visage compose makes it)")
    try:
        merged = OmegaConf.merge(
            OmegaConf.structured(Config), OmegaConf.load(params), OmegaConf.from_dotlist(list(overrides))
        )
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from None
    assert isinstance(config, Config)
    config.check()
    return config


def fail(message: str, code: int) -> None:
    """Print one line on stderr and exit with `code`."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def explain(error: BaseException) -> str:
    """One line for what Hydra or OmegaConf found wrong, with the nearest key that exists."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # Hydra says in the first line where, and in the second what.
    joined = lines[0].endswith(":") or lines[0].startswith("Error merging")
    message = " ".join(lines[: 2 if joined else 1]).rstrip(".")
    for index, line in enumerate(lines):
        if line.startswith("Available options"):
            options = itertools.takewhile(lambda text: "search path" not in text, lines[index + 1 :])
            return f"{message}: choose one of {', '.join(options)}"
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ConfigKeyError | ConfigAttributeError):
        inner = inner.__cause__ or inner.__context__
    if inner is None:
        key = getattr(error, "full_key", None)
        return f"{message} (at {key})" if key and key not in message else message
    near = difflib.get_close_matches(str(getattr(inner, "full_key", "") or inner.key), known_keys(), 1)
    return message + (f": did you mean '{near[0]}'?" if near else "")


def known_keys() -> list[str]:
    """Every key of the schema, dotted."""

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in map(str, node):
            yield f"{prefix}{key}"
            inner = node._get_node(key)
            if isinstance(inner, DictConfig) and not inner._is_missing():
                yield from walk(inner, f"{prefix}{key}.")

    return list(walk(OmegaConf.structured(Config), ""))


def refuse_resolved_keys(arguments: list[str]) -> None:
    """Refuse `lr=` by hand: params.yaml holds the value already resolved into its sections, so it would do nothing."""
    for argument in arguments:
        if argument.lstrip("+").startswith("lr="):
            fail("lr= does nothing on one stage, params.yaml has it resolved already: use heads.lr=", 2)
