"""Everything that training asks of a picture, computed once: latents, mask and style, in files of some pictures each.

A file appears whole or not at all, so whoever continues after a kill computes what is missing and nothing else; they
are read as they lie on the disk, so a data set need not fit into memory.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.inpaint.latents import AT_ONCE, encode, stride
from visage.inpaint.picture_set import PictureSet, to_signed
from visage.inpaint.shown import Shown
from visage.inpaint.style import COLOURS, StyleEncoder, colours
from visage.inpaint.tint import draw_tint, tint
from visage.io.atomic import atomic_path
from visage.io.rgba import read_rgba
from visage.vision.resize import resize

PER_FILE = 32  # pictures
CLEAN, KNOWN, MASK, STYLE = "clean", "known", "mask", "style"
FIELDS = (CLEAN, KNOWN, MASK, STYLE)


@dataclass(frozen=True)
class Views:
    """In which ways each picture is there: as it is and with `tints` other colours of hair, and all of them mirrored
    where `flips` says so. seed: of the colours."""

    flips: bool = False
    tints: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return (1 + self.tints) * (1 + self.flips)

    def is_tinted(self, view: int) -> bool:
        """Whether view `view` has hair of another colour, of which the prompt does not tell."""
        return view >= 1 + self.flips


@dataclass(frozen=True, eq=False)
class LatentCache:
    """Of `count` pictures in `folder`, each in V views. Rows of `FIELDS`: V x 4 x h x w float16 of the picture and of
    what is known of it, V x 1 x h x w float16 masks, V x S float32 styles."""

    folder: Path
    count: int
    views: Views

    def __post_init__(self) -> None:
        object.__setattr__(self, "_open", {})

    def row(self, field: str, index: int) -> NDArray[Any]:
        """The views of picture `index`."""
        opened: dict[tuple[str, int], NDArray[Any]] = self._open  # type: ignore[attr-defined]
        key = field, index // PER_FILE
        if key not in opened:
            opened[key] = np.load(cache_file(self.folder, *key), mmap_mode="r")
        return opened[key][index % PER_FILE]


def cache_file(folder: Path, field: str, part: int) -> Path:
    """Where `field` of the pictures of file `part` lies."""
    return folder / f"{field}-{part:05d}.npy"


def fill_cache(
    folder: Path,
    pictures: PictureSet,
    vae: Any,
    style: StyleEncoder,
    shown: Shown,
    views: Views,
    device: str = "cpu",
    threads: int = 1,
) -> LatentCache:
    """Compute what is missing of the cache in `folder`.

    shown: what the network is to see of a picture. threads: small pictures are computed so many side by side on a CPU.
    """
    vae.to(device)
    small = device == "cpu" and len(views) * pictures.size**2 <= AT_ONCE
    row_of = partial(_row, pictures, vae, style, shown, views, device)
    with _side_by_side(threads if small else 1) as each:
        for part in range(-(-len(pictures) // PER_FILE)):
            wanted = {field: cache_file(folder, field, part) for field in FIELDS}
            if all(path.is_file() for path in wanted.values()):
                continue
            made = list(each(row_of, range(part * PER_FILE, min((part + 1) * PER_FILE, len(pictures)))))
            for field, path in wanted.items():
                with atomic_path(path) as draft, open(draft, "wb") as file:
                    np.save(file, np.stack([row[field] for row in made]))
    return LatentCache(folder, len(pictures), views)


@contextmanager
def _side_by_side(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` of so many threads, in each of which torch has one: on small pictures that takes 0.6 of the time of as
    many threads on one picture."""
    if workers == 1:
        yield map
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)


def _row(
    pictures: PictureSet, vae: Any, style: StyleEncoder, shown: Shown, views: Views, device: str, index: int
) -> dict[str, NDArray[Any]]:
    """Picture `index` in its views."""
    hair = _hair(pictures, index)
    cover = resize(np.ascontiguousarray(hair[..., 3]), pictures.size, pictures.size) / 255
    rng = np.random.default_rng((views.seed, index, 8))
    images, styles = [pictures.image(index)], [style.style(hair)]
    for _ in range(views.tints if hair[..., 3].any() else 0):
        shift = draw_tint(hair, rng)
        images.append(tint(images[0], cover, shift))
        other = np.dstack([tint(np.ascontiguousarray(hair[..., :3]), hair[..., 3] / 255, shift), hair[..., 3]])
        styles.append(np.concatenate([styles[0][:-COLOURS], colours(other)]))
    # A picture without hair is there as often as the others, so that all rows are alike.
    images += images[-1:] * (1 + views.tints - len(images))
    styles += styles[-1:] * (1 + views.tints - len(styles))
    tensors = torch.stack([torch.from_numpy(to_signed(image)) for image in images])
    paint, there = (
        torch.from_numpy(mask[None, None].astype(np.float32)).expand(len(images), 1, -1, -1)
        for mask in (pictures.paint(index), pictures.hair(index))
    )
    bald = torch.from_numpy(to_signed(pictures.bald(index))).expand_as(tensors)
    planes = [tensors, bald, paint, there]
    if views.flips:
        planes = [torch.stack([plane, plane.flip(-1)], 1).flatten(0, 1) for plane in planes]
        styles = [one for one in styles for _ in range(2)]
    clean, balds, paints, hairs = (plane.to(device) for plane in planes)
    known = shown.known(clean, balds, paints)
    # A tint is of the hair alone: what is known of a bald picture is the same in all of them.
    distinct = 1 + views.flips if shown.convention == "bald" else len(known)
    seen = encode(vae, known[:distinct]).cpu().numpy().astype(np.float16)
    return {
        CLEAN: encode(vae, clean).cpu().numpy().astype(np.float16),
        KNOWN: np.tile(seen, (len(known) // distinct, 1, 1, 1)),
        MASK: shown.mask(paints, hairs, stride(vae)).cpu().numpy().astype(np.float16),
        STYLE: np.stack(styles).astype(np.float32),
    }


def _hair(pictures: PictureSet, index: int) -> NDArray[np.uint8]:
    try:
        return read_rgba(pictures.folder / pictures.rows[index].hair_only)
    except BadImageError as error:
        raise DataError(f"{error}: run prepare_inpaint again") from None
