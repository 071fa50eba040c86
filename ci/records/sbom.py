"""The SBOM, `<stem>.cdx.json`: what is in an image, as CycloneDX has it."""

import json
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import InputError, VerificationError

LARGEST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SbomSummary:
    """What an SBOM comes to; `components` is how many there are."""

    components: int


def read_sbom(path: Path, *, image_sha256: str) -> SbomSummary:
    """Read an SBOM; raises InputError where it is none, VerificationError where it is of another image."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST} bytes", hint="Build the image again.")
        document = json.loads(path.read_bytes())
        hashes = document["metadata"]["component"]["hashes"]
        digests = [one["content"] for one in hashes if one["alg"] == "SHA-256"]
        components = len(document["components"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not an SBOM of an image", hint="Build the image again.") from error
    if digests != [image_sha256]:
        raise VerificationError(f"{path} is not of the image with SHA-256 {image_sha256}", hint="Build it again.")
    return SbomSummary(components=components)
