"""The image that is measured, for all parts of `python -m ci.bench`."""

from dataclasses import dataclass
from pathlib import Path

from ci.host.accelerator import Acceleration


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchedImage:
    """What is started. `identity` is the private key that the image lets in; `folder` takes logs and overlays."""

    image: Path
    identity: Path
    folder: Path
    acceleration: Acceleration
