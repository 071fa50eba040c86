"""Where a release's files must come from, by what was asked for and what GitHub says of the tag."""

from dataclasses import replace

import pytest

from ci.consume.verify import Judge, PromisedImage, Tagged, Verdict, VerifiedPart, find_origin, require_agreement
from ci.fetch.github_access import GitHubAccess
from ci.host.errors import FetchError, RemoteError, UnprovenError, VerificationError
from tests.support.release_records import make_record

SERVER, TAG, COMMIT, ID = "https://github.com", "v2026.11.23", "c" * 40, 7
RECORD = make_record(tag=TAG, repository="fountain/image", commit=COMMIT)
PROMISED = PromisedImage(
    url=f"{SERVER}/Fountain/Image/releases/download/{TAG}/i.qcow2", file="i.qcow2", sha256="a" * 64, size=1, tag=TAG
)
ACCESS = GitHubAccess(server_url=SERVER, api_url="https://api.github.com", token=None)


def judge(commit: str | None = COMMIT, names: dict[str, int | None] | None = None) -> Judge:
    """GitHub knows the repositories `names` by their numbers; None: it knows none of that name."""

    def called(name: str) -> bool | None:
        number = ({"fountain/image": ID} | (names or {}))[name]
        return None if number is None else number == ID

    def ask(repository: str, tag: str) -> Tagged:
        assert (repository.lower(), tag) == ("fountain/image", TAG)
        return Tagged(
            commit=commit,
            repository_id=ID,
            default_branch="trunk",
            is_called=called,
        )

    return Judge(access=ACCESS, ask=ask)


def test_it_is_the_tags_commit_at_the_tag_or_on_the_default_branch() -> None:
    origin = find_origin(PROMISED, RECORD, judge())
    assert (origin.repository, origin.commit, origin.repository_id) == ("fountain/image", COMMIT, ID)
    assert origin.refs == (f"refs/tags/{TAG}", "refs/heads/trunk")


def test_an_older_name_of_the_same_repository_is_the_one_that_was_signed_for() -> None:
    record = RECORD.model_copy(update={"repository": "founders/image"})
    assert find_origin(PROMISED, record, judge(names={"founders/image": ID})).repository == "founders/image"
    with pytest.raises(VerificationError, match="another repository"):
        find_origin(PROMISED, record, judge(names={"founders/image": 8}))
    with pytest.raises(UnprovenError, match="that name leads nowhere today"):
        find_origin(PROMISED, record, judge(names={"founders/image": None}))
    with pytest.raises(VerificationError, match="is on commit"):
        find_origin(PROMISED, record, judge("d" * 40, names={"founders/image": None}))


@pytest.mark.parametrize(("commit", "said"), [(None, "has no tag"), ("d" * 40, "is on commit d")])
def test_a_record_of_another_commit_than_the_tags_is_wrong(commit: str | None, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        find_origin(PROMISED, RECORD, judge(commit))


def test_a_github_that_cannot_be_asked_proves_nothing_and_contradicts_nothing() -> None:
    def ask(repository: str, tag: str) -> Tagged:
        raise RemoteError(f"the limit is reached at {repository} {tag}")

    with pytest.raises(UnprovenError, match="the limit is reached"):
        find_origin(PROMISED, RECORD, Judge(access=ACCESS, ask=ask))


@pytest.mark.parametrize(
    "url",
    [
        "https://mirror.example/i.qcow2",
        f"https://github.com.evil.example/fountain/image/releases/download/{TAG}/i.qcow2",
        f"https://github.com/fountain/image/raw/{TAG}/i.qcow2",
        "file:///tmp/i.qcow2",
    ],
)
def test_what_is_of_no_release_at_this_github_is_not_asked_about(url: str) -> None:
    with pytest.raises(UnprovenError, match="is not of a release at this GitHub"):
        find_origin(replace(PROMISED, url=url), RECORD, judge())


def part(verdict: Verdict) -> VerifiedPart:
    return VerifiedPart(part="image", verdict=verdict, detail="why")


def test_of_several_findings_the_worst_decides_and_unproven_is_the_least() -> None:
    found = [part(Verdict.AGREES), part(Verdict.SKIPPED)]
    require_agreement(PROMISED, found)
    for verdict, error in (
        (Verdict.UNPROVEN, UnprovenError),
        (Verdict.UNREACHABLE, FetchError),
        (Verdict.DIFFERS, VerificationError),
    ):
        found.append(part(verdict))
        with pytest.raises(error, match="image: why"):
            require_agreement(PROMISED, found)
    with pytest.raises(VerificationError):
        require_agreement(PROMISED, found, allow_unproven=True)
    require_agreement(PROMISED, [part(Verdict.UNPROVEN)], allow_unproven=True)


def test_what_could_not_be_had_is_not_said_to_be_wrong() -> None:
    with pytest.raises(FetchError) as caught:
        require_agreement(PROMISED, [part(Verdict.UNREACHABLE)])
    assert "cannot be compared in full" in caught.value.message
    assert "promise" not in caught.value.message + caught.value.hint
