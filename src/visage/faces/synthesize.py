"""The embedded faces: drawn people in the layout of a real folder, person_NN/session_N/NN.jpg.

They are written as JPEG of quality 92 and read back like anybody's photographs, so the embedded default takes the
path that real data takes.
"""

import shutil
from pathlib import Path

from visage.errors import ConfigError
from visage.faces.config import SynthesizeFaces
from visage.io.atomic import write_jsonl
from visage.io.images import encode_jpeg
from visage.synthetic.draw import Spec, draw_many
from visage.synthetic.portrait import RENDERER_VERSION

JPEG_QUALITY = 92


def synthesize(settings: SynthesizeFaces, *, seed: int, out: Path) -> None:
    """Draw people 0 to `people` - 1 of population `seed`; the same bytes for any number of worker processes.

    Args:
        settings: how many people, sessions, pictures of a session, and pixels a side.
        seed: of the population.
        out: gets the pictures and `attributes.jsonl`, a row for each: path, person, session, attributes, face_box
            (x0, y0, x1, y1) and landmarks (5 x (x, y)) in pixels, seed, renderer_version. What an earlier run left
            there is removed.

    Raises:
        ConfigError: a number is below 1, or the size below 32.
    """
    for name, least in (("people", 1), ("sessions", 1), ("pictures", 1), ("size", 32)):
        if getattr(settings, name) < least:
            raise ConfigError(f"faces.synthesize.{name} is {getattr(settings, name)}: use at least {least}")
    for person in out.glob("person_*"):
        shutil.rmtree(person)
    specs = [
        Spec(seed, person, session, picture, settings.size)
        for person in range(settings.people)
        for session in range(settings.sessions)
        for picture in range(settings.pictures)
    ]
    rows = []
    for spec, portrait in zip(specs, draw_many(specs), strict=True):
        path = f"person_{spec.person:02d}/session_{spec.session}/{spec.picture:02d}.jpg"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        # Not flushed one by one: attributes.jsonl, written last, says that the set is complete.
        (out / path).write_bytes(encode_jpeg(portrait.image, JPEG_QUALITY))
        rows.append(
            {
                "path": path,
                "person": spec.person,
                "session": spec.session,
                "attributes": portrait.attributes,
                "face_box": [round(float(value), 2) for value in portrait.face_box],
                "landmarks": [[round(float(value), 2) for value in point] for point in portrait.landmarks],
                "seed": seed,
                "renderer_version": RENDERER_VERSION,
            }
        )
    write_jsonl(out / "attributes.jsonl", rows)
    print(f"synthesize_faces: {settings.people} people, {len(rows)} pictures of {settings.size} px in {out}")
