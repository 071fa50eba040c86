"""What GitHub tells us, as far as a release needs it: typed and frozen, taken from its answers once.

https://docs.github.com/en/rest
"""

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field

from ci.host.errors import InputError
from ci.records.version import Version

UPLOADED = "uploaded"


class ApiAnswer(BaseModel):
    """A piece of an answer; what we do not need is dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RepositoryFacts(ApiAnswer):
    """A repository: what a refusal may depend on, because every kind of token is told the same.

    Not here is `permissions`, which tells of the token's user and not of the token: a fine-grained token that may only
    read is told `push: true`, the GITHUB_TOKEN of a job that may write only `false`, and an app's token and nobody get
    no such field. So what a token may do is found at its first write, whose refusal names what is missing:
    ci/github/failures.py. Of the other answers,

    - drafts are listed to who may write only: who may not finds none, and is refused when one is to be made;
    - `immutable-releases` is for administrators: for all others it is not known, and nothing depends on it;
    - an asset's `digest` may be missing whoever asks, and its bytes are then downloaded.

    https://github.com/flathub-infra/flatpak-external-data-checker/pull/223

    `id` stays the same when it is renamed or transferred.
    """

    id: int
    full_name: str
    default_branch: str
    archived: bool = False
    private: bool = False
    has_pages: bool = False


class Asset(ApiAnswer):
    """A file of a release. `digest` is `sha256:<hex>`; older assets have none.

    `browser_download_url` is its public address, `url` that of the API.
    """

    id: int
    name: str
    state: str
    size: int
    url: str
    browser_download_url: str
    digest: str | None = None

    @property
    def sha256(self) -> str | None:
        """The digest in hex, where GitHub knows one."""
        algorithm, _, value = (self.digest or "").partition(":")
        return value if algorithm == "sha256" and value else None


class Release(ApiAnswer):
    """A release, published or a draft. A draft is known by its `id` only: several may carry one tag."""

    id: int
    tag_name: str
    name: str | None = None
    target_commitish: str
    draft: bool
    prerelease: bool = False
    immutable: bool = False
    body: str | None = None
    html_url: str
    upload_url: str
    assets: tuple[Asset, ...] = ()

    @property
    def version(self) -> Version | None:
        """The version the tag stands for; None for a tag of another kind."""
        try:
            return Version.parse(self.tag_name)
        except InputError:
            return None


class PullEnd(ApiAnswer):
    """The branch that a pull request is from, or goes to."""

    ref: str
    sha: str


class Pull(ApiAnswer):
    """A pull request; `merged_at` is None where it is open or was closed without being merged."""

    number: int
    html_url: str
    state: str
    title: str
    body: str | None = None
    merged_at: str | None = None
    head: PullEnd
    base: PullEnd

    @property
    def open(self) -> bool:
        """True while it is neither merged nor closed."""
        return self.state == "open"


class FolderEntry(ApiAnswer):
    """A file or a folder in a folder; `sha` is of all that is in it."""

    name: str
    sha: str


class Created(ApiAnswer):
    """A git object that was written."""

    sha: str


class GitObject(ApiAnswer):
    """What a reference or an annotated tag points to."""

    type: str
    sha: str


class Reference(ApiAnswer):
    """A reference, or an annotated tag."""

    object: GitObject


class Commit(ApiAnswer):
    """A commit as the git database has it; in a comparison two of its fields are one level down."""

    sha: str
    message: str = Field(validation_alias=AliasChoices("message", AliasPath("commit", "message")))
    tree: Created = Field(validation_alias=AliasChoices("tree", AliasPath("commit", "tree")))
    parents: tuple[Created, ...]


class Comparison(ApiAnswer):
    """What one side has and the other has not, oldest first."""

    commits: tuple[Commit, ...]


class TreeEntry(ApiAnswer):
    """A file, a folder, a link or a submodule, by its name in the folder; only a file has a size."""

    path: str
    mode: str
    type: str
    sha: str
    size: int | None = None


class Tree(ApiAnswer):
    """A folder of a commit."""

    tree: tuple[TreeEntry, ...]
    truncated: bool


class Blob(ApiAnswer):
    """The bytes of a file, in Base64."""

    content: str


class GeneratedNotes(ApiAnswer):
    """What GitHub would write of a release."""

    body: str


class Switch(ApiAnswer):
    enabled: bool
