"""What `trivy sbom` makes of a CycloneDX document's Debian packages, by its own decoder's rules.

It asks for notices of the source package, by the name and version that come out here. The rules are those of
https://github.com/aquasecurity/trivy/tree/v0.74.0/pkg: sbom/cyclonedx/unmarshal.go, sbom/io/decode.go, purl/purl.go and
scan/utils/utils.go. What Trivy passes over in silence is an error here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packageurl import PackageURL

NAMESPACE = "aquasecurity:trivy:"
# fillPkgFieldsFromComponentProps; of these, ours are the source's.
KNOWN = {"PkgID", "FilePath", "SrcName", "SrcVersion", "SrcRelease", "SrcEpoch", "Modularitylabel", "LayerDigest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The distribution, and of each Debian package the name and the version of its source."""

    family: str
    release: str
    sources: Mapping[str, tuple[str, str]]


def decode(document: Mapping[str, Any]) -> Decoded:
    """Read a whole document; raises ValueError where Trivy would refuse it, or not see something."""
    systems = [one for one in document["components"] if one["type"] == "operating-system"]
    if len(systems) != 1:  # "Multiple OS components are not supported, taking the first one"
        raise ValueError(f"{len(systems)} operating systems")
    purls = [(one, PackageURL.from_string(one["purl"])) for one in document["components"] if "purl" in one]
    packages = [(one, purl) for one, purl in purls if purl.type == "deb"]
    for one, _ in packages:
        if one["type"] not in {"library", "framework"}:
            raise ValueError(f"{one['name']} is of the type {one['type']}")
    return Decoded(
        family=systems[0]["name"],
        release=systems[0]["version"],
        sources={one["name"]: _source(one, purl) for one, purl in packages},
    )


def _source(component: Mapping[str, Any], purl: PackageURL) -> tuple[str, str]:
    fields = {
        entry["name"].removeprefix(NAMESPACE): entry["value"]
        for entry in component.get("properties", [])
        if entry["name"].startswith(NAMESPACE)
    }
    if unknown := fields.keys() - KNOWN:
        raise ValueError(f"Trivy knows no {unknown}")
    # purl.Package: of a Debian package only the qualifiers arch and epoch count; `upstream` is not looked at.
    assert isinstance(purl.qualifiers, dict)
    package = {"epoch": int(purl.qualifiers.get("epoch", "0")), "version": purl.version or ""}
    epoch = fields.get("SrcEpoch", "0")
    if not re.fullmatch(r"[+-]?[0-9]+", epoch):  # strconv.Atoi; the whole document is refused then
        raise ValueError(f"invalid src epoch: {epoch}")
    # fillSrcPkg; a CycloneDX component has no source of its own.
    name, version, release = fields.get("SrcName", ""), fields.get("SrcVersion", ""), fields.get("SrcRelease", "")
    if not (name and version):
        name, version = name or component["name"], version or str(package["version"])
        epoch = epoch if int(epoch) else str(package["epoch"])
    # formatVersion
    written = f"{version}-{release}" if release else version
    return name, f"{int(epoch)}:{written}" if int(epoch) else written
