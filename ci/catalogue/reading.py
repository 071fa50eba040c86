"""The release records of a folder, as they may be shown: each is what its name says, and could be in a manifest.

A pull request can add any file to `releases/`, so nothing is taken on trust but what the record's model promises.
"""

from pathlib import Path

from ci.host.errors import InputError, ToolsmithError
from ci.records.manifest_rules import image_findings
from ci.records.published import read_releases as read_all
from ci.records.release import ReleaseRecord, manifest_image

_HINT = "ci.publish_release makes the records and a roll-out brings them; nobody edits them."


def read_releases(folder: Path) -> tuple[ReleaseRecord, ...]:
    """The records in `folder`, newest version first; raises InputError, naming the file that is wrong."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="It holds the release records, <tag>.json.")
    found = []
    for record in read_all(folder):
        if isinstance(record, ToolsmithError):
            raise InputError(f"it cannot be shown: {record.message}", hint=_HINT, details=record.details) from record
        if finding := next(iter(image_findings(manifest_image(record))), None):
            raise InputError(
                f"{folder / record.tag}.json cannot be shown: its image cannot be that of a manifest: {finding}",
                hint=_HINT,
            )
        found.append(record)
    return tuple(found)
