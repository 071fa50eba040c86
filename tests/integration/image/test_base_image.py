"""The base image's cache and its signatures, with a real server and real gpg."""

import hashlib
import io
import os
import signal
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host import process
from ci.host.errors import HostError, InputError, VerificationError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.image.base.base_image import BaseSource, VerifiedBase, fetch_base
from ci.records.build import Verification
from tests.support.fault_server import Fault, FaultServer
from tests.support.signing import Signer, gpg, make_signer

pytestmark = pytest.mark.integration

BODY = os.urandom(2_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Fetcher:
    """Fetches into one cache and keeps what was said."""

    cache: Path
    said: io.StringIO

    @property
    def entry(self) -> Path:
        return self.cache / "base" / "sha256" / DIGEST

    def __call__(self, source: BaseSource, *, allow_unverified: bool = False) -> VerifiedBase:
        return fetch_base(
            source,
            cache=self.cache,
            allow_unverified=allow_unverified,
            reporter=Reporter(Console(file=self.said, width=400), in_actions=False),
            client=Client(patience=Patience(sleep=lambda _: None)),
        )


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "cache", io.StringIO())


class TestCache:
    def test_a_pinned_image_is_fetched_once_and_kept_read_only(self, server: FaultServer, fetch: Fetcher) -> None:
        source = BaseSource(url=server.publish("/base.img", BODY), sha256=DIGEST.upper(), digest_source="in jammy.toml")
        first, second = fetch(source), fetch(source)
        assert first == second
        assert first.path.read_bytes() == BODY
        assert first.verification is Verification.PINNED_DIGEST
        assert first.verified_by == "SHA-256 in jammy.toml"
        assert (first.sha256, first.size) == (DIGEST, len(BODY))
        assert stat.S_IMODE(first.path.stat().st_mode) == 0o444
        assert len(server.requests) == 1

    def test_a_damaged_entry_is_replaced_and_the_user_is_told(self, server: FaultServer, fetch: Fetcher) -> None:
        source = BaseSource(url=server.publish("/base.img", BODY), sha256=DIGEST)
        fetch(source)
        fetch.entry.chmod(0o644)
        with fetch.entry.open("r+b") as file:
            file.write(b"x" if BODY[:1] != b"x" else b"y")
        assert fetch(source).path.read_bytes() == BODY
        assert "is damaged" in fetch.said.getvalue()
        assert len(server.requests) == 2

    def test_a_wrong_digest_leaves_no_image(self, server: FaultServer, fetch: Fetcher) -> None:
        with pytest.raises(VerificationError):
            fetch(BaseSource(url=server.publish("/base.img", BODY), sha256="0" * 64))
        left = [path for path in fetch.cache.rglob("*") if path.is_file() and path.stat().st_size]
        assert left == []

    def test_two_runs_at_once_download_once(self, server: FaultServer, fetch: Fetcher) -> None:
        source = BaseSource(url=server.publish("/base.img", BODY), sha256=DIGEST)
        with ThreadPoolExecutor(4) as pool:
            bases = list(pool.map(lambda _: fetch(source), range(4)))
        assert {base.path.read_bytes() for base in bases} == {BODY}
        assert len(server.requests) == 1

    def test_a_killed_run_is_continued_by_the_next(self, server: FaultServer, fetch: Fetcher) -> None:
        source = BaseSource(url=server.publish("/base.img", BODY), sha256=DIGEST)
        release = threading.Event()
        server.arm("/base.img", Fault(cut_after=1_000_000, hold=release))
        script = (
            "from pathlib import Path\n"
            "from tests.support.quiet import quiet_reporter\n"
            "from ci.image.base.base_image import BaseSource, fetch_base\n"
            f"fetch_base(BaseSource(url={source.url!r}, sha256={DIGEST!r}), cache=Path({os.fspath(fetch.cache)!r}),"
            " allow_unverified=False, reporter=quiet_reporter())\n"
        )
        try:
            with process.spawn([sys.executable, "-c", script], cwd=ROOT) as child:
                deadline = time.monotonic() + 60
                while not any(path.stat().st_size >= 700_000 for path in fetch.cache.rglob("*.part")):
                    assert child.poll() is None, child.stderr.read() if child.stderr else ""
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                child.send_signal(signal.SIGKILL)
                child.wait(10)
        finally:
            release.set()
        assert fetch(source).path.read_bytes() == BODY
        resumed = server.ranges("/base.img")[-1]
        assert resumed is not None
        assert int(resumed.removeprefix("bytes=").removesuffix("-")) >= 700_000

    def test_a_complete_download_that_a_killed_run_left_is_not_trusted(
        self, server: FaultServer, fetch: Fetcher
    ) -> None:
        source = BaseSource(url=server.publish("/base.img", BODY), sha256=DIGEST)
        fetch(source)
        fetch.entry.unlink()
        [lock] = (fetch.cache / "base" / "partial").glob("*.lock")
        lock.with_suffix("").write_bytes(b"planted")
        assert fetch(source).path.read_bytes() == BODY

    def test_a_file_url_is_copied_into_the_cache(self, tmp_path: Path, fetch: Fetcher) -> None:
        image = tmp_path / "my image.img"
        image.write_bytes(BODY)
        base = fetch(BaseSource(url=image.as_uri(), sha256=DIGEST))
        image.write_bytes(b"changed later")
        assert base.path.read_bytes() == BODY
        assert base.url == image.as_uri()

    def test_without_digest_and_keyring_it_is_refused(self, server: FaultServer, fetch: Fetcher) -> None:
        with pytest.raises(VerificationError, match="nothing vouches") as failure:
            fetch(BaseSource(url=server.publish("/base.img", BODY)))
        assert "--allow-unverified-base" in failure.value.hint
        assert server.requests == []

    def test_unverified_on_request_warns_and_names_the_digest(self, server: FaultServer, fetch: Fetcher) -> None:
        base = fetch(BaseSource(url=server.publish("/base.img", BODY)), allow_unverified=True)
        assert base.verification is Verification.NONE
        assert base.path.read_bytes() == BODY
        assert f"BASE_IMAGE_SHA256={DIGEST}" in fetch.said.getvalue()


class TestSignedChecksums:
    LIST = f"{'1' * 64} *other.img\n{DIGEST} *base.img\n".encode()

    def publish(self, server: FaultServer, checksums: bytes, signature: bytes) -> str:
        server.publish("/r/SHA256SUMS", checksums, content_type="text/plain")
        server.publish("/r/SHA256SUMS.gpg", signature)
        return server.publish("/r/base.img", BODY)

    def source(self, url: str, signer: Signer) -> BaseSource:
        return BaseSource(url=url, keyring=signer.keyring, fingerprints=("A" * 40, signer.fingerprint))

    def test_a_list_signed_by_the_publisher_vouches(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, publisher.sign(self.LIST))
        base = fetch(self.source(url, publisher))
        assert base.verification is Verification.SIGNED_CHECKSUMS
        assert base.verified_by == publisher.fingerprint
        assert base.path.read_bytes() == BODY
        assert sorted(path.name for path in (fetch.cache / "base").iterdir()) == ["partial", "sha256"]

    def test_it_works_for_files_too(self, tmp_path: Path, fetch: Fetcher, publisher: Signer) -> None:
        (tmp_path / "base.img").write_bytes(BODY)
        (tmp_path / "SHA256SUMS").write_bytes(self.LIST)
        (tmp_path / "SHA256SUMS.gpg").write_bytes(publisher.sign(self.LIST))
        base = fetch(self.source((tmp_path / "base.img").as_uri(), publisher))
        assert base.verification is Verification.SIGNED_CHECKSUMS

    @pytest.mark.parametrize("allow", [True, False])
    def test_a_list_altered_after_signing_is_refused_always(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer, *, allow: bool
    ) -> None:
        url = self.publish(server, self.LIST.replace(b"1", b"2", 1), publisher.sign(self.LIST))
        with pytest.raises(VerificationError, match="does not fit the file"):
            fetch(self.source(url, publisher), allow_unverified=allow)
        assert server.ranges("/r/base.img") == []

    def test_a_list_of_yesterday_in_a_cache_on_the_way_is_passed_by(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, publisher.sign(self.LIST))
        server.arm("/r/SHA256SUMS", Fault(body=lambda data: b"# yesterday's\n" + data))
        assert fetch(self.source(url, publisher)).verification is Verification.SIGNED_CHECKSUMS
        asked = [one.headers.get("Cache-Control") for one in server.requests if "SHA256SUMS" in one.path]
        assert asked == [None, None, "no-cache", "no-cache"]

    def test_a_key_outside_the_keyring_is_refused(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer, stranger: Signer
    ) -> None:
        url = self.publish(server, self.LIST, stranger.sign(self.LIST))
        with pytest.raises(VerificationError, match="not in the keyring"):
            fetch(self.source(url, publisher))

    def test_a_key_in_the_keyring_with_another_fingerprint_is_refused(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer, stranger: Signer
    ) -> None:
        url = self.publish(server, self.LIST, stranger.sign(self.LIST))
        source = BaseSource(url=url, keyring=stranger.keyring, fingerprints=(publisher.fingerprint,))
        with pytest.raises(VerificationError, match=f"it is by {stranger.fingerprint}"):
            fetch(source)

    def test_an_expired_key_is_refused(self, server: FaultServer, fetch: Fetcher, keys: Path) -> None:
        past = ("--faked-system-time", "20200101T000000")
        expired = make_signer(keys / "expired", "expired", *past)
        document, signature = expired.home / "list", expired.home / "list.sig"
        document.write_bytes(self.LIST)
        gpg(expired.home, *past, "--output", os.fspath(signature), "--detach-sign", os.fspath(document))
        url = self.publish(server, self.LIST, signature.read_bytes())
        with pytest.raises(VerificationError, match="its key has expired"):
            fetch(self.source(url, expired))

    def test_rubbish_in_place_of_a_signature_is_refused(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, b"rubbish")
        with pytest.raises(VerificationError, match="cannot be read as a signature"):
            fetch(self.source(url, publisher))

    def test_a_list_without_the_file_is_refused(self, server: FaultServer, fetch: Fetcher, publisher: Signer) -> None:
        listing = f"{DIGEST} *base.img.old\n{DIGEST} *xbase.img\n".encode()
        url = self.publish(server, listing, publisher.sign(listing))
        with pytest.raises(VerificationError, match=r"has no line for base\.img"):
            fetch(self.source(url, publisher))

    def test_an_image_other_than_listed_is_refused(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, publisher.sign(self.LIST))
        server.publish("/r/base.img", BODY[:-1] + b"?")
        with pytest.raises(VerificationError, match=DIGEST):
            fetch(self.source(url, publisher))

    def test_a_missing_signature_is_refused_unless_allowed(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, b"")
        del server.files["/r/SHA256SUMS.gpg"]
        with pytest.raises(VerificationError, match=r"no SHA256SUMS with SHA256SUMS\.gpg"):
            fetch(self.source(url, publisher))
        base = fetch(self.source(url, publisher), allow_unverified=True)
        assert base.verification is Verification.NONE

    def test_a_missing_keyring_says_where_to_get_it(self, server: FaultServer, fetch: Fetcher, tmp_path: Path) -> None:
        source = BaseSource(
            url=server.publish("/r/base.img", BODY), keyring=tmp_path / "no.gpg", fingerprints=("A" * 40,)
        )
        with pytest.raises(HostError) as failure:
            fetch(source)
        assert "ubuntu-cloudimage-keyring" in failure.value.hint

    def test_an_armoured_keyring_says_how_to_convert_it(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer, tmp_path: Path
    ) -> None:
        keyring = tmp_path / "keyring.asc"
        keyring.write_text(gpg(publisher.home, "--armor", "--export"))
        source = BaseSource(url=server.publish("/r/base.img", BODY), keyring=keyring, fingerprints=("A" * 40,))
        with pytest.raises(HostError, match="ASCII armour"):
            fetch(source)

    def test_a_keyring_without_fingerprints_is_refused(
        self, server: FaultServer, fetch: Fetcher, publisher: Signer
    ) -> None:
        url = self.publish(server, self.LIST, publisher.sign(self.LIST))
        with pytest.raises(InputError, match="without a fingerprint"):
            fetch(BaseSource(url=url, keyring=publisher.keyring))
