"""What a release changes in a manifest."""

from ci.records.manifest_edit import Fields, replace_image
from ci.records.manifest_snippet import image_fields

__all__ = ["Fields", "image_fields", "replace_image"]
