"""`evaluate_inpainter`: hair painted back onto test people's bald pictures, beside what needs no network.

Each test picture is painted twice: as itself (its own style, prompt and identity), which the truth can judge, and in
the style and by the prompt of the next picture's person, of which only the colour can be judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import sub, truediv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visage.errors import DataError
from visage.features.encoders import check_watched
from visage.inpaint.conditions import Told
from visage.inpaint.evaluate_plots import histogram, sheet
from visage.inpaint.inpainter_task import identity_of
from visage.inpaint.latents import decode, encode, open_autoencoder
from visage.inpaint.painter import Canvas, Painter, known_pixels, open_painter
from visage.inpaint.perceptual import IdentityLoss
from visage.inpaint.picture_set import PictureSet, from_signed, to_signed
from visage.inpaint.prompt import CURLS, MISSING
from visage.inpaint.prompt_cache import read_prompts
from visage.inpaint.quality import mean_colour, measure, median_colour, summarise
from visage.inpaint.quality_networks import curl_probe, lpips_on_hair, open_lpips, texture_distance
from visage.inpaint.record import read_metadata
from visage.inpaint.snapshots import check_snapshot, newest, open_snapshot
from visage.inpaint.style import StyleEncoder, open_style
from visage.inpaint.train_inpainter import Inputs
from visage.inpaint.tryout_config import Tryout
from visage.io.atomic import sha256_file, write_csv, write_json
from visage.io.rgba import read_rgba
from visage.metrics.rounding import NOT_MEASURED, rounded
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.vision.palette import delta_e

STAGE = "evaluate_inpainter"
OF_STEPS = 16  # pictures that every snapshot is measured on
OVER_STEPS = {"hair_psnr": "mean", "delta_e": "median", "contrast_share": "mean"}
COMPARED = {"hair_psnr": "mean", "hair_ssim": "mean", "delta_e": "median", "contrast_share": "mean"}
SHOWN = 10
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Bench:
    """The test pictures and what is told of each."""

    pictures: PictureSet
    told: Told
    style: StyleEncoder

    def canvas(self, index: int) -> Canvas:
        """Picture `index`, to be painted."""
        of = self.pictures
        return Canvas(of.image(index), of.bald(index), of.paint(index), of.hair(index))

    def hair(self, index: int) -> NDArray[np.bool_]:
        """Where picture `index` has hair: where it is judged."""
        return self.pictures.hair(index) != 0

    def told_of(self, rows: Sequence[int], styles: Sequence[int]) -> Told:
        """What is told of pictures `rows` with prompt and style of pictures `styles`."""
        own, given = list(rows), list(styles)
        there = self.told.there[given].clone()
        there[:, 2] = self.told.there[own, 2]
        return Told(
            self.told.tokens[given], self.told.pooled[given], self.told.style[given], self.told.identity[own], there
        )


def evaluate(
    settings: Tryout, runtime: Runtime, *, seed: int, inputs: Inputs, snapshots: Path, metrics: Path, plots: Path
) -> None:
    """Write the metrics and the plots of the newest usable snapshot of train_inpainter in `snapshots`.

    plots: gets own.png and swapped.png (bald, mask, reference, result, truth), comparison.csv, histograms.csv and
    steps.csv.

    Raises:
        VisageError: there is no such snapshot, no test picture, or weights that a setting names are not there.
    """
    settings.check()
    check_watched(settings.lpips_file, "tryout.lpips_file")
    device = torch_device(runtime, seed)
    judge = open_lpips(settings.lpips, settings.lpips_file)
    chosen, refused = newest(snapshots)
    vae = open_autoencoder(inputs.autoencoder).to(device)
    bench = open_bench(inputs, int(chosen.config["size"]), settings.pictures)
    count = len(bench.pictures)
    rows, others = list(range(count)), [(index + 1) % count for index in range(count)]
    with track(STAGE, params={"tryout": settings, "runtime": runtime.results()}):
        painter = open_painter(open_snapshot(chosen).to(device), vae, chosen.config)
        own = paint_all(painter, bench, rows, rows, settings, seed)
        swapped = paint_all(painter, bench, rows, others, settings, seed)
        known = [known_pixels(bench.canvas(index)) for index in rows]
        ways: dict[str, list[Pixels]] = {
            "inpainter": own,
            "opencv": known,
            "mean_colour": [mean_colour(bench.pictures.image(i), known[i], bench.hair(i)) for i in rows],
            "autoencoder": [round_trip(vae, bench.pictures.image(index)) for index in rows],
        }
        measured = {name: [measure(made[i], bench.pictures.image(i), bench.hair(i)) for i in rows]
                    for name, made in ways.items()}  # fmt: skip
        alike = IdentityLike(inputs.encoder)
        for index, each in enumerate(measured["inpainter"]):
            truth, hair = bench.pictures.image(index), bench.hair(index)
            each["lpips"] = lpips_on_hair(judge, own[index], truth, hair)
            each["texture_distance"] = texture_distance(
                bench.style.network, bench.style.config, own[index], truth, hair
            )
            each["swapped_delta_e"] = _apart(swapped[index], hair, bench, others[index])
            each["identity_similarity"] = alike(own[index], truth, hair)
        table = {name: summarise(each) for name, each in measured.items()}
        result: dict[str, Any] = {
            **table,
            "gate": gate_numbers(table),
            "curl_probe": probe(bench, own, swapped, others),
            "lpips_net": settings.lpips if judge else NOT_MEASURED,
            "step": chosen.step,
            "snapshot": chosen.path.name,
            "sha256": sha256_file(chosen.path),
            "refused": len(refused),
            "pictures": count,
            "sources": len({row.source for row in bench.pictures.rows}),
            "sampler": {"name": settings.sampler, "steps": settings.steps, "guidance": settings.guidance},
        }
        write_json(metrics, result)
        write_csv(plots / "comparison.csv", _comparison(table), ["way", *COMPARED])
        write_csv(plots / "histograms.csv", histogram(measured), ["metric", "way", "value"])
        steps = over_steps(snapshots, vae, bench, settings, seed, str(device))
        write_csv(plots / "steps.csv", steps, ["step", *OVER_STEPS])
        sheet(plots / "own.png", bench, rows[:SHOWN], rows[:SHOWN], own)
        sheet(plots / "swapped.png", bench, rows[:SHOWN], others[:SHOWN], swapped)
    for name, each in table.items():
        print(f"{name:12} {_line(each)}")
    print("gate: " + "  ".join(f"{name} {value}" for name, value in result["gate"].items()))


def open_bench(inputs: Inputs, size: int, at_most: int) -> Bench:
    """Test pictures, evenly chosen, at most `at_most`.

    Raises:
        DataError: there is none.
    """
    every = [row for row in read_metadata(inputs.data) if row.split == "test"]
    if not every:
        raise DataError("there are no test pictures: give inpaint.prepare.test a larger share")
    chosen = [every[index * len(every) // min(at_most, len(every))] for index in range(min(at_most, len(every)))]
    style, prompts = open_style(inputs.texture), read_prompts(inputs.prompts)
    styles = [style.style(read_rgba(inputs.data / row.hair_only)) for row in chosen]
    words = [prompts.get(row.text_prompt) for row in chosen]
    known = [identity_of(inputs.data, row) for row in chosen]
    there = [[1.0, float(one.any()), known_one] for one, (_, known_one) in zip(styles, known, strict=True)]
    told = Told(
        torch.stack([tokens for tokens, _ in words]),
        torch.stack([pooled for _, pooled in words]),
        torch.from_numpy(np.stack(styles)),
        torch.from_numpy(np.stack([vector for vector, _ in known])),
        torch.tensor(there),
    )
    return Bench(PictureSet(inputs.data, chosen, size), told, style)


def paint_all(
    painter: Painter, bench: Bench, rows: Sequence[int], styles: Sequence[int], settings: Tryout, seed: int
) -> list[Pixels]:
    """Pictures `rows` painted with prompt and style of `styles`."""
    painted: list[Pixels] = []
    for start in range(0, len(rows), settings.batch_size):
        part = slice(start, start + settings.batch_size)
        canvases = [bench.canvas(index) for index in rows[part]]
        painted += painter.paint(canvases, bench.told_of(rows[part], styles[part]), settings, seed + start)
    return painted


def round_trip(vae: Any, image: Pixels) -> Pixels:
    """The picture through the autoencoder: the ceiling of whatever works on its latents."""
    device = next(vae.parameters()).device
    with torch.inference_mode():
        return from_signed(
            decode(vae, encode(vae, torch.from_numpy(to_signed(image))[None].to(device)))[0].cpu().numpy()
        )


def over_steps(
    snapshots: Path, vae: Any, bench: Bench, settings: Tryout, seed: int, device: str
) -> list[dict[str, Any]]:
    """The metrics of every snapshot that training kept by step, on the first pictures."""
    rows = list(range(min(OF_STEPS, len(bench.pictures))))
    table = []
    kept = sorted(
        (check_snapshot(path) for path in snapshots.glob("stage2_step_*.safetensors")), key=lambda one: one.step
    )
    for snapshot in kept:
        painter = open_painter(open_snapshot(snapshot).to(device), vae, snapshot.config)
        made = paint_all(painter, bench, rows, rows, settings, seed)
        summary = summarise([measure(made[i], bench.pictures.image(i), bench.hair(i)) for i in rows])
        table.append(
            {"step": snapshot.step, **{name: value_of(summary[name], kind) for name, kind in OVER_STEPS.items()}}
        )
    return table


def gate_numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    """What the gate asks for, from the summaries of each way; "not measured" where it was not."""

    def of(way: str, name: str, kind: str) -> Any:
        return value_of(table[way].get(name, NOT_MEASURED), kind)

    def together(one: Any, other: Any, how: Callable[[float, float], float]) -> Any:
        known = isinstance(one, float) and isinstance(other, float)
        return how(one, other) if known else NOT_MEASURED

    psnr = of("inpainter", "hair_psnr", "mean")
    contrast, ceiling = (of(way, "contrast_share", "mean") for way in ("inpainter", "autoencoder"))
    return rounded(
        {
            "psnr": psnr,
            "over_inpaint": together(psnr, of("opencv", "hair_psnr", "mean"), sub),
            "over_mean": together(psnr, of("mean_colour", "hair_psnr", "mean"), sub),
            "delta_e": of("inpainter", "delta_e", "median"),
            "swapped_delta_e": of("inpainter", "swapped_delta_e", "median"),
            "texture": together(contrast, ceiling or NOT_MEASURED, truediv),
            "lpips": of("inpainter", "lpips", "mean"),
        }
    )


def value_of(summary: Any, kind: str) -> Any:
    """The "mean" or "median" of a summary, or what stands in its place."""
    return summary if isinstance(summary, str) else summary[kind]


def probe(bench: Bench, own: Sequence[Pixels], swapped: Sequence[Pixels], others: Sequence[int]) -> dict[str, Any]:
    """How often the texture encoder reads the asked curl from parts inside the hair, where no outline is: of the truth,
    of the pictures painted as themselves, and of those painted like another."""
    network, config = bench.style.network, bench.style.config
    rows = bench.pictures.rows
    truth = [bench.pictures.image(index) for index in range(len(rows))]
    asked = {"truth": (truth, range(len(rows))), "own": (own, range(len(rows))), "swapped": (swapped, others)}
    result: dict[str, Any] = {"classes": len(CURLS)}
    for name, (pictures, wanted) in asked.items():
        right = []
        for index, other in enumerate(wanted):
            told = curl_probe(network, config, pictures[index], bench.hair(index))
            if told is not None and rows[other].curl != MISSING:
                right.append(float(int(told.argmax()) == rows[other].curl))
        result[name] = rounded({"right": float(np.mean(right)), "pictures": len(right)}) if right else NOT_MEASURED
    return result


class IdentityLike:
    """The cosine of two pictures' embeddings, their hair covered with the same grey."""

    def __init__(self, encoder: Path) -> None:
        from visage.features.pretrained import open_encoder

        self.loss = IdentityLoss(open_encoder(encoder))

    def __call__(self, one: Pixels, other: Pixels, hair: NDArray[np.bool_]) -> float:
        """Both H x W x 3 RGB."""
        pictures = [torch.from_numpy(to_signed(image))[None] for image in (one, other)]
        mask = torch.from_numpy(hair[None, None].astype(np.float32))
        with torch.inference_mode():
            return 1 - float(self.loss(*pictures, mask))


def _apart(result: Pixels, hair: NDArray[np.bool_], bench: Bench, reference: int) -> float | None:
    """The difference of the painted hair's median colour from the reference's."""
    made = median_colour(result, hair)
    wanted = median_colour(bench.pictures.image(reference), bench.hair(reference))
    return None if made is None or wanted is None else float(delta_e(made, wanted))


def _comparison(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"way": way, **{name: value_of(each[name], kind) for name, kind in COMPARED.items()}}
        for way, each in table.items()
    ]


def _line(summary: Mapping[str, Any]) -> str:
    shown = ("hair_psnr", "background_psnr", "hair_ssim", "delta_e", "contrast_share")
    return "  ".join(f"{n} {value_of(summary[n], 'mean')}" for n in shown)
