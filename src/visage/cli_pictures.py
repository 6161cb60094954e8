"""The commands that change pictures of people: `visage recolor` and `visage tryon`; `visage.cli` registers them."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from visage.errors import VisageError

# What `visage models fetch yunet` brings; a picture's identity is told to the network where it is there.
YUNET = Path("data/raw/models/face_detection_yunet_2023mar.onnx")
SCORE = 0.6  # least confidence of a face


def recolor(
    image: Annotated[Path, typer.Argument(help="a picture of a person")],
    color: Annotated[str, typer.Option(help="a name of conf/palette.yaml, or '#rrggbb'")],
    out: Annotated[Path, typer.Option(help="a .png, which keeps all else to the bit, or a .jpg")],
    intensity: Annotated[float, typer.Option(help="from 0, unchanged, to 1, wholly the new colour")] = 0.8,
    mask: Annotated[Optional[Path], typer.Option(help="where the hair is, white on black; instead of a model")] = None,
    model: Annotated[Optional[str], typer.Option(help="an exported hair model; default hair")] = None,
    size: Annotated[Optional[int], typer.Option(help="pixels of the model's input, a multiple of 32: finer")] = None,
    closer: Annotated[bool, typer.Option("--closer", help="look again where hair may be: small heads")] = False,
    skin: Annotated[Optional[Path], typer.Option(help="where skin is, white on black: it keeps its colour")] = None,
) -> None:
    """Give the hair in a picture another colour."""
    from visage.serving.recolor import recolor_file

    if mask is not None and (model is not None or size is not None or closer):
        raise VisageError("--mask takes the place of a model: leave out --model, --size and --closer, or --mask")
    done = recolor_file(
        image, color, out, intensity=intensity, mask=mask, skin=skin, model=model or "hair", size=size, closer=closer
    )
    print(f"{done.share:.1%} of the picture is now {done.color.name}: {done.path}", file=sys.stderr)
    if not done.share:
        print("no hair was found: the picture is as it was", file=sys.stderr)


def tryon(
    target: Annotated[Path, typer.Argument(help="a picture of a person")],
    reference: Annotated[Path, typer.Option(help="a picture of the hairstyle")],
    out: Annotated[Path, typer.Option(help="a .png, which keeps all but the hair to the bit, or a .jpg")],
    prompt: Annotated[Optional[str], typer.Option(help="the hairstyle in words")] = None,
    model: Annotated[str, typer.Option(help="what export_inpainter wrote: a folder, or a name")] = "deep_hair_v1",
    mask: Annotated[Optional[Path], typer.Option(help="where hair is to come, white on black")] = None,
    reference_mask: Annotated[Optional[Path], typer.Option(help="where the reference's hair is, likewise")] = None,
    segmenter: Annotated[str, typer.Option(help="the exported model that finds hair")] = "hair",
    closer: Annotated[bool, typer.Option("--closer", help="look again where hair may be: small heads")] = False,
    segformer: Annotated[Optional[Path], typer.Option(help="a folder with a SegFormer instead of it")] = None,
    yunet: Annotated[Path, typer.Option(help="the face detector, for identity")] = YUNET,
    embedder: Annotated[Optional[Path], typer.Option(help="weights of identity, if the model lacks them")] = None,
    sampler: Annotated[Optional[str], typer.Option(help="ddim, dpm or euler; default as evaluated")] = None,
    steps: Annotated[Optional[int], typer.Option(help="default as evaluated")] = None,
    guidance: Annotated[Optional[float], typer.Option(help="1 for none; default as evaluated")] = None,
    seed: Annotated[int, typer.Option(help="of the noise")] = 7,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    controlnet: Annotated[Optional[str], typer.Option(help="a ControlNet: a folder, or a repository")] = None,
    control_image: Annotated[Optional[Path], typer.Option(help="what it sees; default the edges that stay")] = None,
    control_scale: Annotated[float, typer.Option(help="weight of the ControlNet")] = 1.0,
    ip_adapter: Annotated[Optional[Path], typer.Option(help="an IP-Adapter, .safetensors")] = None,
    image_encoder: Annotated[Optional[Path], typer.Option(help="the folder of its CLIP")] = None,
    ip_scale: Annotated[float, typer.Option(help="weight of the IP-Adapter")] = 1.0,
) -> None:
    """Paint the hairstyle of one picture onto the person in another."""
    from visage.jobs.progress import Progress
    from visage.serving.recolor import write_picture
    from visage.serving.segmenter import Segmenter
    from visage.serving.tryon import Extras, check_files, open_model, try_on
    from visage.vision.detect import open_detector

    if closer and (segformer is not None or (mask is not None and reference_mask is not None)):
        raise VisageError(
            "--closer is how the segmenter looks: leave it out, or --segformer, or a mask of one of the pictures"
        )
    check_files(out, [target, reference, mask, reference_mask, control_image])
    detector = open_detector("yunet", yunet, SCORE) if yunet != YUNET or yunet.is_file() else None
    opened = open_model(model, device)
    extras = Extras(controlnet, control_image, control_scale, ip_adapter, image_encoder, ip_scale)
    finder = Segmenter(segmenter, closer=True) if closer else segmenter
    with Progress("tryon", opened.settings(sampler, steps, guidance).steps, 0) as bar:
        done = try_on(
            target, reference, model=opened, prompt=prompt, segmenter=finder, segformer=segformer, mask=mask,
            reference_mask=reference_mask, detector=detector, embedder_file=embedder, sampler=sampler,
            steps=steps, guidance=guidance, seed=seed, extras=extras, progress=lambda *_: bar.add(1),
        )  # fmt: skip
    path = write_picture(done.image, out)
    line = f"{path}: {opened.folder.name} {done.model_version}, {sum(done.timings.values()) / 1000:.1f} s"
    print("; ".join([line, *done.notes]), file=sys.stderr)
