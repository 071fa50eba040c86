"""What a release says of itself in a manifest."""

import json

from ci.records.release import ReleaseRecord

_NOTHING = {"name": "", "tarball": "", "sha256": "", "qcow2": ""}


def image_fields(record: ReleaseRecord) -> dict[str, str | int]:
    """What a release changes in a manifest; the container variant is not its business."""
    qcow2 = record.image.qcow2
    return {
        "name": record.image.name,
        "qcow2": qcow2.url,
        "qcow2_sha256": qcow2.sha256,
        "version": record.tag,
        "size": qcow2.size,
    }


def manifest_image(record: ReleaseRecord) -> dict[str, str | int]:
    """The whole image of a manifest that has no container variant, its keys in the order of manifests/tools.json."""
    return _NOTHING | image_fields(record)


def manifest_snippet(record: ReleaseRecord) -> str:
    """That image as it stands in a manifest."""
    return json.dumps({"image": manifest_image(record)}, indent=2)
