"""`/etc/fountainkit/image.json`: how a running guest knows which image it is."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from ci.records.record import Record, Sha256


class ImageIdentity(Record):
    """What the build record says of the image, as far as it is known before the image is finished."""

    schema_: Literal["fountainkit-toolsmith-image/identity/1"] = Field(
        default="fountainkit-toolsmith-image/identity/1", alias="schema"
    )
    name: str
    version: str
    commit: str
    built_at: datetime
    base_sha256: Sha256
