import hashlib
from pathlib import Path

import pytest

from ci.host.errors import InputError, VerificationError
from ci.image.base.base_image import BaseSource, VerifiedBase, fetch_base, sibling
from ci.records.build import Verification
from tests.support.quiet import quiet_reporter


def fetch(source: BaseSource, cache: Path, *, allow_unverified: bool = False) -> VerifiedBase:
    return fetch_base(source, cache=cache, allow_unverified=allow_unverified, reporter=quiet_reporter())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    path.write_bytes(b"disk")
    return path


def test_a_pinned_digest_vouches(image: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"disk").hexdigest()
    base = fetch(BaseSource(url=image.as_uri(), sha256=digest, digest_source="BASE_IMAGE_SHA256"), tmp_path / "cache")
    assert base == VerifiedBase(
        path=tmp_path / "cache" / "base" / "sha256" / digest,
        url=image.as_uri(),
        sha256=digest,
        size=4,
        verification=Verification.PINNED_DIGEST,
        verified_by="SHA-256 BASE_IMAGE_SHA256",
    )


@pytest.mark.parametrize("allow", [True, False])
def test_a_malformed_digest_is_refused_before_anything_is_made(image: Path, tmp_path: Path, *, allow: bool) -> None:
    with pytest.raises(InputError, match="not a SHA-256 digest"):
        fetch(BaseSource(url=image.as_uri(), sha256="abc"), tmp_path / "cache", allow_unverified=allow)
    assert not (tmp_path / "cache").exists()


def test_a_wrong_digest_is_no_reason_to_fall_back_on_unverified(image: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError):
        fetch(BaseSource(url=image.as_uri(), sha256="0" * 64), tmp_path / "cache", allow_unverified=True)


def test_nobody_vouching_is_refused_unless_allowed(image: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="nothing vouches"):
        fetch(BaseSource(url=image.as_uri()), tmp_path / "cache")
    base = fetch(BaseSource(url=image.as_uri()), tmp_path / "cache", allow_unverified=True)
    assert (base.verification, base.verified_by) == (Verification.NONE, "nobody")


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("https://example.org/r/base.img", "https://example.org/r/SHA256SUMS"),
        ("https://bob:s@example.org/base.img?sig=1#x", "https://bob:s@example.org/SHA256SUMS?sig=1"),
        ("file:///srv/base.img", "file:///srv/SHA256SUMS"),
    ],
)
def test_the_list_is_looked_for_beside_the_image(url: str, beside: str) -> None:
    assert sibling(url, "SHA256SUMS") == beside
