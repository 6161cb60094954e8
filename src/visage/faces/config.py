"""The parameters of the faces line, one dataclass for each section of `params.yaml` below `faces`.

No field has a default: values live in `conf/faces/`, in one place, and a missing one is an error.
"""

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING


@dataclass
class FacesData:
    """Which pictures: `root` is the folder, `labels` a CSV in it, or null where its subfolders are the classes."""

    name: str = MISSING
    root: str = MISSING
    labels: Optional[str] = MISSING  # noqa: UP007, UP045 - the spelling omegaconf documents


@dataclass
class SynthesizeFaces:
    """The embedded set: so many drawn people, sessions of each, pictures in each session, and pixels a side."""

    people: int = MISSING
    sessions: int = MISSING
    pictures: int = MISSING
    size: int = MISSING


@dataclass
class PrepareFaces:
    """From a labelled folder to splits; `duplicate_bits` of 512 may differ between near duplicates (-1: none are)."""

    size: int = MISSING
    classes: Optional[list[str]] = MISSING  # noqa: UP007, UP045
    train: float = MISSING
    val: float = MISSING
    test: float = MISSING
    max_bad_fraction: float = MISSING
    duplicate_bits: int = MISSING


@dataclass
class Faces:
    """The section `faces`."""

    data: FacesData = field(default_factory=FacesData)
    synthesize: SynthesizeFaces = field(default_factory=SynthesizeFaces)
    prepare: PrepareFaces = field(default_factory=PrepareFaces)
