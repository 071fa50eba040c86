"""What the settings of a repository have to be for a release and its roll-out. They are read, and never changed.

What the token may not read is unknown, and no fault: GitHub then answers 403, 404, or 401 where there is no token. A
404 may also mean that something is off; that is believed where what takes the same permission could be read.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import TypeVar

from pydantic import AliasChoices, Field

from ci.fetch.source import AbsentError
from ci.github.answers import ApiAnswer
from ci.github.client import GitHub
from ci.host.errors import AccessError
from ci.host.prerequisites import Finding, Status

CHECKS = ("Images are good", "Integration tests", "Lint, types, unit tests")
ROLL_OUT = "roll-out"
ENVIRONMENTS = ("release", ROLL_OUT)
APP, APP_KEY, CONSUMER = "ROLLOUT_APP_CLIENT_ID", "ROLLOUT_APP_PRIVATE_KEY", "FOUNTAINKIT_NAME"
TAG = "v2026.11.23"  # one of those that the patterns of rules and environments should be of
PER_PAGE = 30  # the most that variables come in
UNKNOWN = "could not be checked with this token"

AnswerT = TypeVar("AnswerT")


class ActionsPolicy(ApiAnswer):
    enabled: bool
    allowed_actions: str | None = None


class WorkflowPolicy(ApiAnswer):
    can_approve_pull_request_reviews: bool


class Setting(ApiAnswer):
    """A variable, a secret, an environment, or whom an environment is open to: all branches and tags, or only some."""

    name: str
    type: str | None = None
    deployment_branch_policy: object = None


class SettingsPage(ApiAnswer):
    settings: tuple[Setting, ...] = Field(
        validation_alias=AliasChoices("variables", "secrets", "environments", "branch_policies")
    )


class RequiredCheck(ApiAnswer):
    context: str


class RuleParameters(ApiAnswer):
    required_status_checks: tuple[RequiredCheck, ...] = ()


class Rule(ApiAnswer):
    type: str
    parameters: RuleParameters = RuleParameters()


class RefNames(ApiAnswer):
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def match(self, ref: str) -> bool:
        """Whether they are of a reference: https://docs.github.com/rest/repos/rules#create-a-repository-ruleset."""
        one, other = (any(p == "~ALL" or fnmatchcase(ref, p) for p in names) for names in (self.include, self.exclude))
        return one and not other


class Conditions(ApiAnswer):
    ref_name: RefNames = RefNames()


class Ruleset(ApiAnswer):
    """In a list it has neither conditions nor rules."""

    id: int
    target: str | None = None
    enforcement: str
    conditions: Conditions | None = None
    rules: tuple[Rule, ...] = ()


class ClassicChecks(ApiAnswer):
    contexts: tuple[str, ...] = ()


class ClassicProtection(ApiAnswer):
    required_status_checks: ClassicChecks | None = None


class Branch(ApiAnswer):
    protection: ClassicProtection | None = None


class Site(ApiAnswer):
    build_type: str | None = None


def findings(github: GitHub) -> Iterator[Finding]:
    """Each setting, in the order of docs/first-release.md; what would make a release or its roll-out fail is missing.

    A fix is a command to paste in a checkout. Raises AccessError where there is no such repository for the token.
    """
    facts = github.repository()
    private = "private" if facts.private else "public"
    yield Finding(name="repository", found=f"{facts.full_name}, {private}{', archived' if facts.archived else ''}")
    policy = _known(lambda: github.read("reading a setting", "/actions/permissions", ActionsPolicy))
    yield _actions(github, policy)
    variables, secrets = _names(github, "variables"), _names(github, "secrets")
    app = None if variables is None else APP in variables
    yield _pulls(github, app=app)
    yield _app(github, secrets, app=app)
    if variables and CONSUMER in variables and not app:
        yield Finding(name="FountainKit", found=f"{CONSUMER} is set, and no app", status=Status.WARNING)
    environments = _known(lambda: _listed(github, "/environments"))
    for name in ENVIRONMENTS:
        yield _environment(github, name, environments, facts.default_branch)
    yield _checks(github, facts.default_branch)
    yield _tags(github)
    yield _immutable(github, administers=policy is not None)
    yield _pages(github, on=facts.has_pages)


def _known(read: Callable[[], AnswerT]) -> AnswerT | None:
    """What was read, None where the token may not."""
    try:
        return read()
    except (AbsentError, AccessError):
        return None


def _listed(github: GitHub, path: str) -> tuple[Setting, ...]:
    pages = github.pages("reading the settings", path, SettingsPage, {"per_page": PER_PAGE})
    return tuple(setting for page in pages for setting in page.settings)


def _names(github: GitHub, kind: str) -> frozenset[str] | None:
    """The variables or secrets that the job of the roll-out gets, wherever they are; None where one cannot be sure."""
    names: set[str] = set()
    for path in (f"/actions/{kind}", f"/actions/organization-{kind}", f"/environments/{ROLL_OUT}/{kind}"):
        try:
            names |= {one.name for one in _listed(github, path)}
        except AccessError:
            return None
        except AbsentError:  # of an environment that is not there, or where there is no organization
            if path == f"/actions/{kind}":
                return None
    return frozenset(names)


def _command(github: GitHub, verb: str, path: str, *arguments: str) -> str:
    return " ".join((f"gh api --method {verb} repos/{github.context.repository}/{path}", *arguments))


def _finding(name: str, found: str, status: Status, fix: str = "") -> Finding:
    return Finding(name=name, found=found, status=status, fix="" if status is Status.OK else fix)


def _actions(github: GitHub, policy: ActionsPolicy | None) -> Finding:
    name = "Actions"
    if policy is None:
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    good = policy.enabled and policy.allowed_actions != "local_only"
    found = f"on, {policy.allowed_actions or 'all'} actions" if policy.enabled else "off"
    fix = _command(github, "PUT", "actions/permissions", "-F enabled=true -f allowed_actions=all")
    return _finding(name, found, Status.OK if good else Status.MISSING, fix)


def _pulls(github: GitHub, *, app: bool | None) -> Finding:
    name = "pull requests by Actions"
    if app:
        return _finding(name, "not needed: the app opens them", Status.OK)
    path = "actions/permissions/workflow"
    policy = _known(lambda: github.read("reading a setting", f"/{path}", WorkflowPolicy))
    if policy is None:
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    if policy.can_approve_pull_request_reviews:
        return _finding(name, "allowed", Status.OK)
    fix = _command(github, "PUT", path, "-F can_approve_pull_request_reviews=true")
    if app is None:
        return _finding(name, "not allowed: only right where an app opens them", Status.WARNING, fix)
    return _finding(name, "not allowed: the roll-out would fail", Status.MISSING, fix)


def _app(github: GitHub, secrets: frozenset[str] | None, *, app: bool | None) -> Finding:
    name = "app for pull requests"
    if app is None or (app and secrets is None):
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    if not app:
        return _finding(name, f"none: {APP} is not set", Status.OK)
    there = APP_KEY in (secrets or ())
    fix = f"gh secret set {APP_KEY} --repo {github.context.repository} --env {ROLL_OUT} < KEY.pem"
    return _finding(name, f"its key is {'set' if there else 'missing'}", Status.OK if there else Status.MISSING, fix)


def _environment(github: GitHub, name: str, known: tuple[Setting, ...] | None, branch: str) -> Finding:
    title, path = f"environment {name}", f"environments/{name}"
    policy = "deployment_branch_policy"
    chosen = f"-F '{policy}[protected_branches]=false' -F '{policy}[custom_branch_policies]=true'"
    to = f"{path}/deployment-branch-policies"
    fix = " && ".join(
        (
            _command(github, "PUT", path, chosen),
            _command(github, "POST", to, "-f name='v*' -f type=tag"),
            _command(github, "POST", to, f"-f name={branch} -f type=branch"),
        )
    )
    if known is None:
        return _finding(title, UNKNOWN, Status.UNKNOWN)
    found = next((one for one in known if one.name == name), None)
    if found is None:
        return _finding(title, "not there: its first use makes it, open to every branch", Status.WARNING, fix)
    if found.deployment_branch_policy is None:
        return _finding(title, "open to every branch", Status.WARNING, fix)
    policies = _known(lambda: _listed(github, f"/{path}/deployment-branch-policies"))
    if policies is None:
        return _finding(title, UNKNOWN, Status.UNKNOWN)
    if any(one.type == "tag" and fnmatchcase(TAG, one.name) for one in policies):
        return _finding(title, "open to tags v*", Status.OK)
    return _finding(title, "closed to tags v*: a release would be refused", Status.MISSING, fix)


def _checks(github: GitHub, branch: str) -> Finding:
    """Those that a merge requires: by rulesets, or by the older branch protection."""
    name = f"checks that {branch} requires"
    rules = _known(lambda: tuple(github.items("reading the rules", f"/rules/branches/{branch}", Rule)))
    classic = _known(lambda: github.read("reading the branch", f"/branches/{branch}", Branch))
    required = {check.context for rule in rules or () for check in rule.parameters.required_status_checks}
    if classic and classic.protection and classic.protection.required_status_checks:
        required |= {*classic.protection.required_status_checks.contexts}
    if lacking := [check for check in CHECKS if check not in required]:
        if rules is None or classic is None:
            return _finding(name, UNKNOWN, Status.UNKNOWN)
        fix = _command(github, "POST", "rulesets", "--input .github/rulesets/main.json")
        return _finding(name, f"not: {'; '.join(lacking)}", Status.WARNING, fix)
    return _finding(name, "all", Status.OK)


def _tags(github: GitHub) -> Finding:
    name, query = "release tags", {"targets": "tag"}
    try:
        listed = tuple(github.items("listing the rulesets", "/rulesets", Ruleset, query))
        whole = [
            github.read("reading a ruleset", f"/rulesets/{one.id}", Ruleset)
            for one in listed
            if one.target == "tag" and one.enforcement == "active"
        ]
    except (AbsentError, AccessError):
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    of_tags = [one for one in whole if one.conditions and one.conditions.ref_name.match(f"refs/tags/{TAG}")]
    if {"deletion", "update"} <= {rule.type for one in of_tags for rule in one.rules}:
        return _finding(name, "cannot be moved or deleted", Status.OK)
    fix = _command(github, "POST", "rulesets", "--input .github/rulesets/tags.json")
    return _finding(name, "may be moved or deleted", Status.WARNING, fix)


def _immutable(github: GitHub, *, administers: bool) -> Finding:
    name = "immutable releases"
    if github.releases_are_immutable():
        return _finding(name, "on", Status.OK)
    if not administers:
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    return _finding(name, "off", Status.WARNING, _command(github, "PUT", "immutable-releases"))


def _pages(github: GitHub, *, on: bool) -> Finding:
    name, how = "Pages, for the catalogue", "-f build_type=workflow"
    if not on:
        return _finding(name, "off", Status.WARNING, _command(github, "POST", "pages", how))
    site = _known(lambda: github.read("reading the site", "/pages", Site))
    if site is None:
        return _finding(name, UNKNOWN, Status.UNKNOWN)
    if site.build_type == "workflow":
        return _finding(name, "from GitHub Actions", Status.OK)
    return _finding(name, "not from GitHub Actions", Status.WARNING, _command(github, "PUT", "pages", how))
