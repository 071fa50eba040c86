"""The software bill of materials, `<stem>.cdx.json`: CycloneDX 1.6, the same bytes for the same image.

https://cyclonedx.org/docs/1.6/json/
"""

import re
from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from ci.host.errors import BuildError, InputError
from ci.image.contents.image_contents import ImageContents, OsRelease
from ci.image.contents.inventory import InstalledPackage
from ci.image.contents.licenses import License, conjunction
from ci.image.contents.python_packages import Distribution
from ci.image.plan import ImageIdentity
from ci.records import artifacts
from ci.records.sbom import parse_sbom

# https://cyclonedx.org/docs/1.6/json/#tab-pane_metadata_component_type: a format "which isolates software inside the
# container from software outside of a container through virtualization technology".
DISK_IMAGE = ComponentType.CONTAINER

PROPERTIES = "fountainkit:"
# Trivy takes the source package from these alone, and looks for security notices of the package's own name without:
# https://github.com/aquasecurity/trivy/discussions/11139
TRIVY = "aquasecurity:trivy:"
MAX_TEXT = 200  # characters of a name that the image gives

_MAINTAINER = re.compile(r'\s*"?(?P<name>[^<>"]*?)"?\s*<(?P<email>[^<>@\s]+@[^<>@\s]+)>\s*')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+")


def to_cyclonedx(identity: ImageIdentity, *, sha256: str, base_url: str, contents: ImageContents) -> str:
    """The document about the image with this digest.

    Raises BuildError where the image's own texts make it one that nobody would accept.
    """
    image = Component(
        type=DISK_IMAGE,
        bom_ref="image",
        name=identity.name,
        version=identity.version,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        properties=[Property(name=f"{PROPERTIES}commit", value=identity.commit)],
    )
    tool = Component(
        type=ComponentType.APPLICATION, bom_ref="tool", name="fountainkit-toolsmith-image", version=identity.commit
    )
    components = [_base(base_url, identity.base_sha256), _operating_system(contents.os)]
    components += [_debian(item, contents) for item in contents.installed]
    components += [_python(item) for item in contents.distributions if item.path not in contents.owners]
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"urn:sha256:{sha256}"),
        version=1,
        metadata=BomMetaData(
            timestamp=identity.built_at,
            component=image,
            tools=ToolRepository(components=[tool]),
            lifecycles=[PredefinedLifecycle(LifecyclePhase.POST_BUILD)],
        ),
        components=components,
    )
    bom.register_dependency(image, components)
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    try:
        parse_sbom(text.encode(), f"{identity.name}{artifacts.SBOM}")
    except InputError as error:
        raise BuildError(
            f"what the image says of itself makes no SBOM: {error.message}",
            hint="Look into its packages' copyright files, and into the fields of /var/lib/dpkg/status.",
            details=error.details,
        ) from error
    return text


def _base(url: str, sha256: str) -> Component:
    return Component(
        type=DISK_IMAGE,
        bom_ref="base-image",
        name="base-image",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url))],
    )


def _operating_system(os: OsRelease) -> Component:
    """Scanners look for it to know whose security notices to read."""
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"os:{os.id}-{os.version_id}",
        name=os.id,
        version=os.version_id,
        description=_text(os.pretty_name),
    )


def _debian(item: InstalledPackage, contents: ImageContents) -> Component:
    package, os = item.package, contents.os
    # Python distributions that came with the package are the package, so they are no components of their own: it would
    # be counted twice, and with what Debian mended in it taken for what PyPI has under that version.
    python = [one for one in contents.distributions if contents.owners.get(one.path) == package.name]
    purl = PackageURL(
        type="deb",
        namespace=os.id,
        name=package.name,
        version=package.version,
        qualifiers={"arch": package.architecture, "distro": f"{os.id}-{os.version_id}", **_upstream(item)},
    )
    properties = {
        f"{PROPERTIES}dpkg:source": [item.source],
        f"{PROPERTIES}dpkg:source-version": [item.source_version],
        f"{PROPERTIES}dpkg:installed-kib": [str(package.installed_kib)],
        f"{PROPERTIES}python-distribution": [f"{one.name}=={one.version}" for one in python],
        **_source(item),
    }
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        name=package.name,
        version=package.version,
        purl=purl,
        supplier=_supplier(item.maintainer),
        licenses=_licenses(contents.licenses.get(package.name, ())),
        properties=[Property(name=name, value=value) for name, values in properties.items() for value in values],
    )


def _upstream(item: InstalledPackage) -> dict[str, str]:
    """The qualifier by which scanners find the source package, to which security notices refer."""
    if item.source_version != item.package.version:
        return {"upstream": f"{item.source}@{item.source_version}"}
    return {"upstream": item.source} if item.source != item.package.name else {}


def _source(item: InstalledPackage) -> dict[str, list[str]]:
    """The source package as Trivy writes and reads it: its version in three parts, the epoch a number or not there.

    https://github.com/aquasecurity/trivy/blob/v0.74.0/pkg/sbom/io/decode.go
    """
    epoch, version, revision = split_version(item.source_version)
    parts = {"SrcName": item.source, "SrcVersion": version, "SrcRelease": revision, "SrcEpoch": epoch}
    return {f"{TRIVY}{name}": [value] for name, value in parts.items() if value}


def split_version(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version and Debian revision; what is not there is "".

    https://manpages.debian.org/bookworm/dpkg-dev/deb-version.7.en.html
    """
    epoch, colon, rest = version.partition(":")
    if not colon or not re.fullmatch("[0-9]+", epoch):
        epoch, rest = "", version
    upstream, _, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if upstream else (epoch, rest, "")


def _python(item: Distribution) -> Component:
    purl = PackageURL(type="pypi", name=item.name, version=item.version)
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"{purl.to_string()}#{item.path}",
        name=item.name,
        version=item.version,
        purl=purl,
        licenses=_licenses([item.license] if item.license else []),
        properties=[Property(name=f"{PROPERTIES}path", value=item.path)],
    )


def _supplier(maintainer: str) -> OrganizationalEntity | None:
    if not maintainer:
        return None
    match = _MAINTAINER.fullmatch(maintainer)
    if match is None:
        return OrganizationalEntity(name=_text(maintainer))
    name, email = _text(match["name"] or match["email"]), _text(match["email"])
    return OrganizationalEntity(name=name, contacts=[OrganizationalContact(name=name, email=email)])


def _licenses(licenses: Sequence[License]) -> list[DisjunctiveLicense | LicenseExpression]:
    """One expression where all are sure, for a document has either that or a list; else a list of names."""
    declared = LicenseAcknowledgement.DECLARED
    sure = [item.expression for item in licenses if item.expression]
    if sure and len(sure) == len(licenses):
        expression = conjunction(sure)
        if not is_supported_id(expression):
            return [LicenseExpression(expression, acknowledgement=declared)]
    return [
        DisjunctiveLicense(id=item.expression, acknowledgement=declared)
        if item.expression and is_supported_id(item.expression)
        else DisjunctiveLicense(name=item.expression or _text(item.name), acknowledgement=declared)
        for item in licenses
    ]


def _text(text: str) -> str:
    """What the image calls something, as one short line."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:MAX_TEXT] or "unknown"
