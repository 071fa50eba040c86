"""The files of an image, by the ends of their names: each begins with the stem, `<image name>-<version>`."""

from pathlib import Path

IMAGE = ".qcow2"
SHA256 = ".sha256"  # behind an image's whole name
CHECKSUM = IMAGE + SHA256
PACKAGES = ".packages.tsv"
SBOM = ".cdx.json"
SIZES = ".sizes.tsv"
SIZES_PICTURE = ".sizes.svg"
BUILD = ".build.json"
REPORT = ".validation.json"
REPORT_JUNIT = ".validation.xml"
REPORT_MARKDOWN = ".validation.md"
CONSOLE_LOG = ".console.log"
SCREENSHOT = ".console.png"
BOOT_CHART = ".boot.svg"

# Of a release as a whole, so without a stem.
RELEASE = "release.json"
SNIPPET = "manifest-snippet.json"  # so Toolsmith's scripts/fetch-toolsmith-manifest.sh asks for it


def beside(record: Path, ending: str) -> Path:
    """The file with `ending` of the image that `record`, a build record, is of."""
    return record.with_name(record.name.removesuffix(BUILD) + ending)
