"""TorchScript of a model, the same bytes in every process and directory.

torch.jit.save writes source ranges with absolute paths (`*.debug_pkl`), a random serialization id, and a class name
that counts what the process traced before. Freezing leaves one class, so the archive is small enough to pack again
without the first two and with the count taken out; torch.jit.load misses none of them.
"""

import io
import re
import warnings
import zipfile

import torch
from torch import Tensor, nn

from visage.export.card import STAMP, ModelCard

CARD_RECORD = f"{STAMP}.json"
# "module.___torch_mangle_17.Name" in the code, "module/___torch_mangle_17.py" as a record's name.
MANGLED = re.compile(r"[./]___torch_mangle_\d+")


def torchscript_bytes(model: nn.Module, card: ModelCard, example: Tensor) -> bytes:
    """Trace and freeze `model` (in eval mode) on `example`, float32 (N, C, H, W), with the card as an extra file.

    Load with torch.jit.load(path, map_location=device, _extra_files={"visage.json": ""}); map_location is the way to
    a GPU, because frozen weights are constants that `.to` does not move.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch calls TorchScript deprecated in favour of torch.export; C++ and mobile users still load it.
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(model, example, check_trace=False))
        torch.jit.save(frozen, buffer, _extra_files={CARD_RECORD: card.to_json()})
    return _repack(buffer)


def load_torchscript(content: bytes) -> torch.jit.ScriptModule:
    """The module in an archive's bytes, on the CPU, without torch's deprecation warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(content), map_location="cpu")


def _repack(archive: io.BytesIO) -> bytes:
    """The archive without what differs between processes; every date is 1980-01-01, zipfile's default."""
    records: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as source:
        for name in source.namelist():
            if name.endswith((".debug_pkl", "/serialization_id")):
                continue
            content = source.read(name)
            if name.endswith((".py", "/data.pkl")):
                # Latin-1 keeps every byte of the pickle; the class name is a newline-ended string in it, of any length.
                content = MANGLED.sub("", content.decode("latin-1")).encode("latin-1")
            plain = MANGLED.sub("", name)
            assert plain not in records, f"freezing left two classes that become {plain}"
            records[plain] = content
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for name, content in records.items():
            target.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()
