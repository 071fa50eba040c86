from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci import build_image
from ci.build_image import BuildRequest, base_source
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import InputError, VerificationError
from ci.host.progress import Reporter
from ci.host.repository import BUILD, ROOT, Revision
from ci.image.authorized_keys import AuthorizedKey
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import Definition, load_definition
from ci.image.plan import Plan
from ci.records.build import Verification
from tests.support.quiet import quiet_reporter

VARIABLES = ("IMAGE_VERSION", "BASE_IMAGE_URL", "BASE_IMAGE_SHA256", "AUTHORIZED_KEYS")
OTHER_URL = "https://mirror.example.org/base.img"
DIGEST = "d" * 64
TCG = Acceleration(accelerator=Accelerator.TCG, reason="chosen")
CLEAN = Revision(commit="c" * 40, dirty=False)


@pytest.fixture
def jammy() -> Definition:
    return load_definition("jammy", BUILD / "images")


def asked(*argv: str) -> BuildRequest:
    return build_image.request(build_image.arguments().parse_args(argv))


def test_each_variable_sets_what_its_flag_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(zip(VARIABLES, ("v2026.01.02", OTHER_URL, DIGEST, "/keys"), strict=True))
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    by_variable = asked()
    for name in VARIABLES:
        monkeypatch.delenv(name)
    by_flag = asked(
        "--version", "v2026.01.02", "--base-url", OTHER_URL, "--base-sha256", DIGEST, "--authorized-keys", "/keys"
    )  # fmt: skip
    assert by_variable == by_flag
    assert by_flag.authorized_keys == Path("/keys")


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_VERSION", "v2026.01.02")
    assert str(asked("--version", "v2026.01.03").version) == "v2026.01.03"


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_is_as_good_as_none(name: str, monkeypatch: pytest.MonkeyPatch, jammy: Definition) -> None:
    before = asked()
    monkeypatch.setenv(name, "")
    after = asked()
    assert base_source(after, jammy) == base_source(before, jammy)
    assert after.authorized_keys == before.authorized_keys == BUILD / "authorized_keys"
    assert after.version.number == 0


def test_by_default_the_release_image_is_built_from_its_pinned_base(jammy: Definition) -> None:
    source = base_source(asked(), jammy)
    assert asked().image == "jammy"
    assert source.url == str(jammy.base.url)
    assert source.sha256 == jammy.base.sha256 is not None
    assert source.digest_source == "build/images/jammy.toml"
    assert source.keyring == ROOT / str(jammy.base.keyring)
    assert source.fingerprints == jammy.base.fingerprints != ()


def test_a_pinned_digest_says_nothing_about_another_url(jammy: Definition) -> None:
    source = base_source(asked("--base-url", OTHER_URL), jammy)
    assert (source.url, source.sha256) == (OTHER_URL, None)
    assert source.keyring is not None


@pytest.mark.parametrize("url", [[], ["--base-url", OTHER_URL]])
def test_a_digest_given_by_hand_is_the_one_that_counts(url: list[str], jammy: Definition) -> None:
    source = base_source(asked("--base-sha256", DIGEST, *url), jammy)
    assert source.sha256 == DIGEST
    assert source.digest_source == "BASE_IMAGE_SHA256"


def test_a_bootstrapped_image_may_be_given_a_base_by_url_and_needs_one_otherwise() -> None:
    bookworm = load_definition("bookworm", BUILD / "images")
    source = base_source(asked("--image", "bookworm", "--base-url", OTHER_URL), bookworm)
    assert (source.url, source.sha256, source.keyring) == (OTHER_URL, None, None)
    with pytest.raises(InputError, match="'bookworm' has no base URL"):
        base_source(asked("--image", "bookworm"), bookworm)


def test_without_a_version_it_is_today_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            assert tz is UTC
            return cls(2026, 3, 1, 0, 30, tzinfo=UTC)

    monkeypatch.setattr(build_image, "datetime", Clock)
    assert str(asked().version) == "v2026.03.01"


@pytest.mark.parametrize(
    "version", ["2026.11.23", "v2026.11", "v2026.02.30", "v2026.11.23.0", "latest", " v2026.11.23"]
)
def test_a_malformed_version_is_refused(version: str) -> None:
    with pytest.raises(InputError, match="is not a version") as caught:
        asked("--version", version)
    assert "v2026.11.23" in caught.value.hint


class Reached(Exception):  # noqa: N818 - no error: the place where a test stops the build
    pass


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.pub"
    body = "AAAAC3NzaC1lZDI1NTE5AAAAIGJvZ3VzYm9ndXNib2d1c2JvZ3VzYm9ndXNib2d1c2Jv"
    path.write_text(f"ssh-ed25519 {body} test\n")
    return path


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, keys: Path, tmp_path: Path) -> list[str]:
    """The flags of a release that nothing speaks against; it ends with Reached where the real work would begin."""

    def stop(**_: object) -> None:
        raise Reached

    monkeypatch.setattr(build_image, "current_revision", lambda: CLEAN)
    monkeypatch.setattr(build_image, "quick_check", stop)
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    return ["--release", "--authorized-keys", str(keys), "--output", str(tmp_path / "dist")]


def begin(*argv: str) -> None:
    build_image.build_image(asked(*argv), quiet_reporter())


def test_a_release_of_a_clean_commit_may_begin(start: list[str]) -> None:
    with pytest.raises(Reached):
        begin(*start)


def test_an_image_that_is_not_for_releases_is_refused(start: list[str]) -> None:
    with pytest.raises(InputError, match="'bookworm' is not one that releases carry"):
        begin(*start, "--image", "bookworm")


def test_a_release_never_takes_an_unverified_base(start: list[str]) -> None:
    with pytest.raises(InputError, match="exclude each other"):
        begin(*start, "--allow-unverified-base")


@pytest.mark.parametrize("commit", ["c" * 40, "unknown"])
def test_a_release_of_a_changed_checkout_is_refused(
    start: list[str], commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_image, "current_revision", lambda: Revision(commit=commit, dirty=True))
    with pytest.raises(InputError, match="differs from its commit"):
        begin(*start)
    with pytest.raises(Reached):
        begin(*start[1:])  # only releases mind


def test_a_release_refuses_a_base_that_came_unverified_all_the_same(
    jammy: Definition, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = VerifiedBase(
        path=tmp_path, url=OTHER_URL, sha256=DIGEST, size=1, verification=Verification.NONE, verified_by="nobody"
    )
    monkeypatch.setattr(build_image, "fetch_base", lambda *_, **__: base)
    with pytest.raises(VerificationError, match="release"):
        build_image.find_base(asked("--release"), jammy, TCG, quiet_reporter())
    assert build_image.find_base(asked(), jammy, TCG, quiet_reporter()) is base


def test_what_a_person_got_wrong_is_told_before_the_machine_is_looked_at(start: list[str], tmp_path: Path) -> None:
    for wrong in (["--image", "jamy"], ["--version", "1"], ["--authorized-keys", str(tmp_path / "none")]):
        with pytest.raises(InputError):
            begin(*start, *wrong)
    assert not (tmp_path / "dist").exists()


def test_the_plan_carries_what_was_asked_for_and_what_was_found(
    start: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = VerifiedBase(
        path=tmp_path / "base", url=OTHER_URL, sha256=DIGEST, size=1, verification=Verification.PINNED_DIGEST,
        verified_by="SHA-256 BASE_IMAGE_SHA256",
    )  # fmt: skip
    plans: list[Plan] = []

    def keep(plan: Plan, *, acceleration: Acceleration, reporter: Reporter) -> None:
        del acceleration, reporter
        plans.append(plan)
        raise Reached

    monkeypatch.setattr(build_image, "quick_check", lambda **_: None)
    monkeypatch.setattr(build_image, "probe", lambda _: TCG)
    monkeypatch.setattr(build_image, "probe_aloud", lambda *_: TCG)
    monkeypatch.setattr(build_image, "fetch_base", lambda *_, **__: base)
    monkeypatch.setattr(build_image, "check_disk_image", lambda _: None)
    monkeypatch.setattr(build_image, "build", keep)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Reached):
        begin(*start, "--version", "v2026.11.23.2", "--output", "relative")
    (plan,) = plans
    assert plan.stem == "fountainkit-toolsmith-ubuntu-2204-v2026.11.23.2"
    assert plan.output == tmp_path / "relative"
    assert (plan.revision, plan.base, plan.definition_name) == (CLEAN, base, "jammy")
    assert {"build/images/jammy.toml", "build/guest/etc/hosts", "build/provision/provision.sh"} <= plan.inputs.keys()
    assert not {"build/images/bookworm.toml", "build/images/common/debian.toml"} & plan.inputs.keys()
    assert plan.built_at.tzinfo is UTC
    assert plan.built_at.microsecond == 0
    assert [type(key) for key in plan.keys] == [AuthorizedKey]
