"""The SBOM of an image, `<stem>.cdx.json`, as the stages after the build read it: CycloneDX 1.6, and of which image."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ci.host.errors import InputError, VerificationError
from ci.host.files import read_bounded
from ci.records.strict_json import parse_json, walk

MAX_BYTES = 16 << 20  # GitHub attests no larger one: https://github.com/actions/attest#readme
# The schema wants the items of most lists to differ, for which each is compared with each.
MAX_LIST = 5000
MAX_ITEMS = 4 * MAX_LIST
HINT = "The build writes this file and nobody edits it; fetch or build it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class SbomSummary:
    """What other records say of an SBOM; `components` are those of the image, without itself."""

    serial_number: str
    components: int


def read_sbom(path: Path, *, image_sha256: str) -> SbomSummary:
    """Read an SBOM and check it: whole, valid by CycloneDX's own schema, and about the image with this digest.

    Raises InputError where it is no such document, VerificationError where it speaks of another image.
    """
    document = parse_sbom(read_bounded(path, MAX_BYTES), path.name)
    described = document["metadata"]["component"]
    found = [item["content"].lower() for item in described.get("hashes", []) if item["alg"] == "SHA-256"]
    if found != [image_sha256]:
        raise VerificationError(
            f"{path.name} describes another image: its SHA-256 is {' and '.join(found) or 'not given'}, "
            f"not {image_sha256}",
            hint="An SBOM belongs to the bytes it was made from; build both again.",
        )
    return SbomSummary(serial_number=document["serialNumber"], components=len(document["components"]))


def parse_sbom(content: bytes, where: str) -> dict[str, Any]:
    """The document, with everything that `read_sbom` looks at in it; `where` names it in the InputError."""
    try:
        document = parse_json(content)
    except ValueError as error:
        raise _refused(where, str(error)) from error
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise _refused(where, "it is not CycloneDX")
    if document.get("specVersion") != "1.6":
        raise _refused(where, f"its version of CycloneDX is {str(document.get('specVersion'))[:20]!r}, not '1.6'")
    lengths = [len(value) for value, _ in walk(document) if isinstance(value, list)]
    if max(lengths, default=0) > MAX_LIST or sum(lengths) > MAX_ITEMS:
        raise _refused(where, f"a list in it has more than {MAX_LIST} items, or all have more than {MAX_ITEMS}")
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)):
        raise _refused(where, "it is not valid by the schema of CycloneDX 1.6", details=str(problem)[:2000])
    for key in ("serialNumber", "components", "metadata"):
        if key not in document:
            raise _refused(where, f"it has no {key}")
    if "component" not in document["metadata"]:
        raise _refused(where, "it does not say what it describes")
    return document


def _refused(where: str, problem: str, *, details: str = "") -> InputError:
    return InputError(f"{where} is not the SBOM of an image: {problem}", hint=HINT, details=details)
