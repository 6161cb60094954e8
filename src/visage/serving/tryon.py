"""The hairstyle of one picture painted onto the person in another, by what export_inpainter wrote.

The network works on a small square; its hair is brought back to the target's own size and blended there over the
target's own pixels without their hair. What lies outside the widened hair mask of the target is the target to the bit.
Length is the mask's: hair comes where the target has hair, or where a mask says that it is to come.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import MissingWeightsError, VisageError
from visage.inpaint.config import PrepareInpaint
from visage.inpaint.exported import Exported, open_exported
from visage.inpaint.hooks import Control, edges, hooked, open_adapter, open_control
from visage.inpaint.latents import stride
from visage.inpaint.painter import Canvas
from visage.inpaint.pictures import hair_alone, identify
from visage.inpaint.text_encoders import TOKENS
from visage.io.images import read_image
from visage.serving.hair_masks import open_finder
from visage.serving.model import MODELS
from visage.serving.recolor import check_out
from visage.serving.segmenter import HAIR, Laps, Segmenter
from visage.serving.tryon_pictures import Part, Picture, canvas_of, find_hair, lay, on_white, part_of, read_picture
from visage.vision.detect import Detector, largest
from visage.vision.resize import resize

MODEL = "deep_hair_v1"
SEED = 7
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TryOn:
    """image: H x W x 3 uint8, of the target's size. paint: H x W of {0, 1}, where it may differ from the target. notes:
    what the network was not told, and why. timings: milliseconds by step."""

    image: Pixels
    paint: Pixels
    model_version: str
    notes: list[str]
    timings: dict[str, float]


@dataclass(frozen=True)
class Extras:
    """What may stand beside the network; see `visage.inpaint.hooks`.

    controlnet: a folder or a repository. control_image: of the target's size, what the ControlNet is shown; None: the
    edges of what stays. ip_adapter: a safetensors file, which is shown the reference's hair alone, on white.
    image_encoder: the folder of its CLIP. The scales are weights, 0 for no effect.
    """

    controlnet: str | None = None
    control_image: Path | None = None
    control_scale: float = 1.0
    ip_adapter: Path | None = None
    image_encoder: Path | None = None
    ip_scale: float = 1.0

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            VisageError: names what is missing.
        """
        if self.control_image is not None and self.controlnet is None:
            raise VisageError(f"{self.control_image}: a control image without a ControlNet: give a ControlNet too")
        if (self.ip_adapter is None) != (self.image_encoder is None):
            raise VisageError("an IP-Adapter goes with its image encoder: give both or none")


def open_model(model: Path | str = MODEL, device: str = "cpu") -> Exported:
    """The exported inpainter in a folder, or of a name under artifacts/models/.

    Raises:
        VisageError: it is not there, did not pass the gate, or is damaged.
    """
    given = Path(model)
    return open_exported(given if given.is_dir() or len(given.parts) > 1 else MODELS / given, device)


def try_on(
    target: Picture,
    reference: Picture,
    *,
    model: Exported,
    prompt: str | None = None,
    segmenter: Segmenter | Path | str = HAIR,
    segformer: Path | None = None,
    mask: Picture | None = None,
    reference_mask: Picture | None = None,
    detector: Detector | None = None,
    embedder_file: Path | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = SEED,
    extras: Extras | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TryOn:
    """`target` with the hair of `reference`.

    Args:
        target, reference: files, or H x W x 3 uint8 RGB.
        model: see `open_model`.
        prompt: the hairstyle in words; None tells the network none.
        segmenter, segformer: what finds hair, see `hair_masks.open_finder`; where heads are small, give a
            `Segmenter(closer=True)`.
        mask, reference_mask: where hair is, of the picture's size, instead of what finds it: files, or H x W uint8 of
            {0, 255}. In the target it is where hair is to come.
        detector: of faces; None, and where it finds none, tells the network no identity.
        embedder_file: the weights of the embedder of identity, other than the file that preparation used.
        sampler, steps, guidance: other than those that the model was evaluated with.
        progress: told the steps done and how many there are.

    Raises:
        VisageError: a picture, a mask or a model cannot be used, or there is no hair.
    """
    settings, laps, extras = model.settings(sampler, steps, guidance), Laps(), extras or Extras()
    extras.check()
    picture, other_picture = read_picture(target), read_picture(reference)
    control_image = None if extras.control_image is None else _control_image(extras.control_image, picture)
    laps.lap("decode")
    finder = None if mask is not None and reference_mask is not None else open_finder(segmenter, segformer)
    face, other_face = (largest(detector(of)) if detector else None for of in (picture, other_picture))
    hair = find_hair(picture, mask, finder, face)
    other_hair = find_hair(other_picture, reference_mask, finder, other_face)
    size = int(model.config["prepared_size"])
    own, other = part_of(picture, hair, face, size), part_of(other_picture, other_hair, other_face, size)
    if own is None:
        raise VisageError(f"{_name(target, 'the target')}: no hair was found: give a mask of where hair is to come")
    if other is None:
        raise VisageError(
            f"{_name(reference, 'the reference')}: no hair was found: give another reference, or a mask of its hair"
        )
    laps.lap("masks")
    identity, why = _identity(model, own, detector, embedder_file)
    notes = [f"identity not told: {why}"] if why else []
    length = model.encoders.length(prompt) if prompt is not None else 0
    if length > TOKENS:
        notes.append(f"of the prompt's {length} tokens {TOKENS} were read")
    told = model.told(model.style.style(hair_alone(other.image, other.mask)), prompt, identity)
    canvas = canvas_of(own, int(model.config["size"]), model.growth)
    laps.lap("conditions")
    unet = model.painter.network.unet
    control = open_control(extras.controlnet, unet, extras.control_scale) if extras.controlnet is not None else None
    shown = _shown_to(control, model, own, canvas, control_image) if control else None
    adapter = None
    if extras.ip_adapter is not None and extras.image_encoder is not None:
        adapter = open_adapter(extras.ip_adapter, extras.image_encoder, unet, extras.ip_scale)
    with hooked(model.painter.network, control, shown, adapter, on_white(other)) as network:
        laps.lap("extras")
        painter = replace(model.painter, network=network)
        painted = painter.paint([canvas], told, settings, seed, progress)[0]
    laps.lap("paint")
    image, paint = lay(painted, picture, hair, own.square, model.growth)
    laps.lap("blend")
    return TryOn(image, paint, model.model_version, notes, laps.milliseconds)


def check_files(out: Path, read: Sequence[Path | None]) -> None:
    """Refuse an output that cannot be written, or that would take the place of what is read.

    Raises:
        VisageError: names it.
    """
    check_out(out, [path for path in read if path is not None])


def _control_image(file: Path, picture: Pixels) -> Pixels:
    image = read_image(file)
    if image.shape != picture.shape:
        sizes = [f"{one.shape[1]}x{one.shape[0]}" for one in (image, picture)]
        raise VisageError(f"{file}: is {sizes[0]} pixels, the target {sizes[1]}: give one of its size")
    return image


def _name(picture: Picture, otherwise: str) -> str:
    return otherwise if isinstance(picture, np.ndarray) else str(picture)


def _identity(
    model: Exported, part: Part, detector: Detector | None, file: Path | None
) -> tuple[NDArray[np.float32] | None, str]:
    """The identity of the part's face, or why there is none."""
    if detector is None:
        return None, "no face detector (visage models fetch yunet)"
    if part.face is None:
        return None, "no face was found"
    try:
        embedder = model.embedder(file or Path(model.config["embedder_file"]))
    except MissingWeightsError as error:
        return None, str(error)
    settings = PrepareInpaint(embedder=model.config["identity_by"], sharpness=float(model.config["sharpness"]))
    found = identify(part.image, part.face, detector, embedder, settings)
    return (None, found.missing) if found.missing else (found.embedding, "")


def _shown_to(control: Control, model: Exported, part: Part, canvas: Canvas, given: Pixels | None) -> Pixels:
    """What the ControlNet sees: `given`, of the target's size, or the edges of what stays."""
    side = control.side(len(canvas.image) // stride(model.painter.vae))
    if given is not None:
        return resize(part.square.cut(given), side, side)
    return edges(resize(part.image, side, side), resize(canvas.paint, side, side))
