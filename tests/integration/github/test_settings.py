"""`ci.doctor --github` at a repository whose settings are wrong, right, or not to be seen."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ci import doctor
from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.settings import CHECKS, findings
from ci.host.errors import AccessError, RefusedError
from ci.host.prerequisites import Finding, Status
from ci.host.repository import ROOT
from ci.rehearsal.exchanges import Exchange
from ci.rehearsal.repositories import RepositorySettings
from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import Kind, Token
from tests.support.openapi.openapi import findings as faults_of
from tests.support.quiet import quiet_reporter

pytestmark = pytest.mark.integration

PATIENCE = Patience(attempts=1, seconds_between_requests=0, seconds_between_writes=0)
RULESETS = [json.loads(path.read_bytes()) for path in sorted((ROOT / ".github/rulesets").glob("*.json"))]
OPEN = [
    {"id": 1, "node_id": "n", "name": "v*", "type": "tag"},
    {"id": 2, "node_id": "m", "name": "main", "type": "branch"},
]
READS = {"metadata": "read", "contents": "read", "actions": "read"}


def context(server: GitHubServer, repository: str, token: Token | None) -> Context:
    secret = token.secret if token else None
    return Context(server_url=server.url, api_url=server.url, token=secret, repository=repository, commit=None)


def look(server: GitHubServer, repository: str, token: Token | None) -> dict[str, Finding]:
    before = len(server.exchanges)
    github = GitHub(context(server, repository, token), quiet_reporter(), PATIENCE)
    found = {one.name: one for one in findings(github)}
    asked = server.exchanges[before:]
    assert {exchange.method for exchange in asked} == {"GET"}
    assert [fault for exchange in asked for fault in faults_of(exchange)] == []
    return found


def by_status(found: Mapping[str, Finding]) -> dict[str, set[str]]:
    return {status: {name for name, one in found.items() if one.status is status} for status in Status}


def set_all(server: GitHubServer, repository: str) -> RepositorySettings:
    settings = server.settings(repository)
    settings.environments = {"release": OPEN, "roll-out": OPEN}
    settings.rulesets = [
        ruleset | {"id": number, "source": repository, "source_type": "Repository"}
        for number, ruleset in enumerate(RULESETS, start=1)
    ]
    settings.pages = "workflow"
    server.allow_pulls_of_actions(repository)
    server.set_immutable_releases(repository, enabled=True)
    return settings


def test_of_a_new_repository_it_tells_what_to_do_and_each_command_is_one_that_github_takes(
    server: GitHubServer, repository: str
) -> None:
    found = look(server, repository, server.tokens.admin)
    kinds = by_status(found)
    assert kinds[Status.MISSING] == {"pull requests by Actions"}
    assert kinds[Status.UNKNOWN] == set()
    assert kinds[Status.WARNING] == {
        "environment release", "environment roll-out", "checks that main requires", "release tags",
        "immutable releases", "Pages, for the catalogue",
    }  # fmt: skip
    commands = [command for one in found.values() if one.fix for command in one.fix.split(" && ")]
    assert len(commands) == 11
    assert [fault for command in commands for fault in faults_of(request(command))] == []


def request(command: str) -> Exchange:
    """What `gh api` sends: https://cli.github.com/manual/gh_api."""
    words = iter(shlex.split(command))
    assert [next(words), next(words), next(words)] == ["gh", "api", "--method"]
    verb, path = next(words), next(words)
    body: dict[str, Any] = {}
    for flag in words:
        if flag == "--input":
            body = json.loads((ROOT / next(words)).read_bytes())
            continue
        name, _, value = next(words).partition("=")
        outer, _, inner = name.partition("[")
        place = body.setdefault(outer, {}) if inner else body
        typed = {"true": True, "false": False}.get(value, value) if flag == "-F" else value
        place[inner.removesuffix("]") or outer] = typed
    empty = verb == "PUT" and path.endswith("immutable-releases")
    refusal = {"message": "m", "documentation_url": "u", "status": "403"}
    return Exchange(
        method=verb, path=f"/{path}", query={}, request_headers={}, authorized=True,
        request_body=None if empty else body, status=403, response_body=refusal,
    )  # fmt: skip


def test_where_all_is_set_nothing_is_left_to_do(server: GitHubServer, repository: str) -> None:
    set_all(server, repository)
    kinds = by_status(look(server, repository, server.tokens.admin))
    assert len(kinds.pop(Status.OK)) == 10
    assert not any(kinds.values())


def test_the_older_branch_protection_counts_too(server: GitHubServer, repository: str) -> None:
    server.settings(repository).required_checks = [*CHECKS]
    assert look(server, repository, server.tokens.admin)["checks that main requires"].status is Status.OK


@pytest.mark.parametrize("kind", ["reader", "outsider", "nobody", "job"])
def test_what_a_token_may_not_ask_is_unknown_and_never_wrong(server: GitHubServer, repository: str, kind: str) -> None:
    set_all(server, repository)
    token = {
        "reader": server.tokens.reader,
        "outsider": server.tokens.outsider,
        "nobody": None,
        "job": server.job_token(repository, **READS),
    }[kind]
    for expected in (Status.OK, Status.WARNING):
        kinds = by_status(look(server, repository, token))
        assert kinds[Status.MISSING] == set()
        unseen = {"Actions", "pull requests by Actions", "app for pull requests", "immutable releases"}
        assert unseen <= kinds[Status.UNKNOWN]
        assert "release tags" in kinds[expected]
        server.settings(repository).rulesets = []


def test_a_token_that_is_none_is_an_error_and_no_finding(server: GitHubServer, repository: str) -> None:
    with pytest.raises(AccessError):
        look(server, repository, Token(login="x", kind=Kind.CLASSIC))


@pytest.mark.parametrize(
    "place", ["actions/variables", "actions/organization-variables", "environments/roll-out/variables"]
)
def test_with_an_app_its_key_is_needed_wherever_it_was_named(server: GitHubServer, repository: str, place: str) -> None:
    settings = set_all(server, repository)
    server.allow_pulls_of_actions(repository, allow=False)
    many = [f"OTHER_{number}" for number in range(40)]
    settings.names[place] = [*many, "ROLLOUT_APP_CLIENT_ID"]
    found = look(server, repository, server.tokens.admin)
    assert found["app for pull requests"].status is Status.MISSING
    assert "--env roll-out" in found["app for pull requests"].fix
    assert found["pull requests by Actions"].status is Status.OK
    settings.names["actions/secrets"] = ["ROLLOUT_APP_PRIVATE_KEY"]
    assert look(server, repository, server.tokens.admin)["app for pull requests"].status is Status.OK


def test_a_second_repository_without_an_app_is_told_of(server: GitHubServer, repository: str) -> None:
    server.settings(repository).names["actions/variables"] = ["FOUNTAINKIT_NAME"]
    assert look(server, repository, server.tokens.admin)["FountainKit"].status is Status.WARNING


@pytest.mark.parametrize("open_to", [[], OPEN[1:], [OPEN[0] | {"type": "branch"}], [OPEN[0] | {"name": "release-*"}]])
def test_an_environment_that_no_tag_may_use_would_stop_the_release(
    server: GitHubServer, repository: str, open_to: list[dict[str, Any]]
) -> None:
    set_all(server, repository).environments["release"] = open_to
    assert look(server, repository, server.tokens.admin)["environment release"].status is Status.MISSING


@pytest.mark.parametrize(
    "change",
    [
        {"enforcement": "evaluate"},
        {"target": "push"},
        {"rules": [{"type": "update"}]},
        {"conditions": {"ref_name": {"include": ["refs/tags/x*"], "exclude": []}}},
        {"conditions": {"ref_name": {"include": ["~ALL"], "exclude": ["refs/tags/v*"]}}},
    ],
)
def test_a_ruleset_that_does_not_hold_release_tags_is_none(
    server: GitHubServer, repository: str, change: dict[str, Any]
) -> None:
    settings = set_all(server, repository)
    settings.rulesets = [ruleset | change for ruleset in settings.rulesets]
    assert look(server, repository, server.tokens.admin)["release tags"].status is Status.WARNING


@pytest.mark.parametrize("policy", [{"enabled": False}, {"enabled": True, "allowed_actions": "local_only"}])
def test_without_actions_nothing_starts(server: GitHubServer, repository: str, policy: dict[str, Any]) -> None:
    server.settings(repository).policy = policy
    assert look(server, repository, server.tokens.admin)["Actions"].status is Status.MISSING


def test_a_page_that_is_built_from_a_branch_gets_no_catalogue(server: GitHubServer, repository: str) -> None:
    server.settings(repository).pages = "legacy"
    found = look(server, repository, server.tokens.admin)["Pages, for the catalogue"]
    assert (found.status, "--method PUT" in found.fix) == (Status.WARNING, True)


def test_the_command_prints_the_next_step_and_refuses_until_it_was_taken(
    server: GitHubServer,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = context(server, repository, server.tokens.admin)
    monkeypatch.setattr(doctor, "BUILD", tmp_path)
    (tmp_path / "authorized_keys").write_text("# none\n")
    with pytest.raises(RefusedError, match=r"keys that may log in.*pull requests by Actions") as refused:
        doctor.look_at_github(where, quiet_reporter(), PATIENCE)
    assert "ssh-keygen" in (refused.value.hint or "")
    assert capsys.readouterr().out == ""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1hMJvwU6a6fNaCHCsgjPTGFnCyqKqpTnSxLZ9Rgp6E a@b\n"
    (tmp_path / "authorized_keys").write_text(key)
    server.allow_pulls_of_actions(repository)
    doctor.look_at_github(where, quiet_reporter(), PATIENCE)
