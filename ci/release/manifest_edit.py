"""What a release changes in a manifest."""

from ci.records.manifest_edit import Fields, replace_image
from ci.records.release import ReleaseRecord

__all__ = ["Fields", "image_fields", "replace_image"]


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
