"""Measure publishing: the upload of a large asset against curl's, and what the process holds in memory.

The server is the rehearsal's, on this machine, so that no network blurs the figures. It hashes what it receives, for
both alike. Part of `python -m ci.bench`.
"""

import json
import re
import sys
import uuid
from pathlib import Path

import requests

from ci.bench.record import ReleaseComparison
from ci.host.files import sha256_file
from ci.host.process import Argument, run
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records import artifacts
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, Verification
from ci.records.packages import to_tsv
from ci.records.validation import BootResult, CheckResult, Outcome, ValidationReport
from ci.rehearsal.server import GitHubServer
from ci.release.dist import BOOTS, IDENTITY_CHECK

ASSET_BYTES = 1_900 << 20
UPLOAD_SECONDS = 600
# What the server gets per upload; the first bytes differ, so that no two assets are one.
BLOCK = 1 << 20


def measure_release(folder: Path, repetitions: int, reporter: Reporter) -> ReleaseComparison:
    """Publish a large image `repetitions` times, and send the same file with curl in between."""
    curl: list[float] = []
    ours: list[float] = []
    peaks: list[int] = []
    requests_made = 0
    with GitHubServer.start(folder / "server") as server:
        repository = server.create_repository("bench", {"README.md": "A bench.\n"})
        commit = server.branch_head(repository)
        if commit is None:
            raise RuntimeError("the repository has no commit")
        for number in range(1, repetitions + 1):
            dist = make_dist(folder / f"dist-{number}", f"v2026.01.{number:02}", commit)
            with reporter.step(f"Upload {number} of {repetitions}: curl"):
                curl.append(_curl(server, repository, next(dist.glob(f"*{artifacts.IMAGE}")), folder))
            with reporter.step(f"Upload {number} of {repetitions}: ours"):
                before = len(server.exchanges)
                seconds, peak = _publish(server, repository, dist, folder / f"publish-{number}.log")
                requests_made = len(server.exchanges) - before
            ours.append(seconds)
            peaks.append(peak)
            for file in [*dist.iterdir(), *(folder / "server").rglob("*")]:
                if file.is_file() and file.stat().st_size >= ASSET_BYTES:
                    file.unlink()
    return ReleaseComparison(
        asset_bytes=ASSET_BYTES, curl=curl, ours=ours, peak_memory=max(peaks), requests=requests_made
    )


def _curl(server: GitHubServer, repository: str, image: Path, folder: Path) -> float:
    """Seconds that curl takes for the same bytes to the same server."""
    token = {"Authorization": f"Bearer {server.token}"}
    draft = requests.post(
        f"{server.url}/repos/{repository}/releases",
        json={"tag_name": "curl", "draft": True, "name": "curl"},
        headers=token,
        timeout=30,
    )
    draft.raise_for_status()
    url = f"{draft.json()['upload_url'].partition('{')[0]}?name={image.name}"
    config = folder / "curl.config"  # the token must not be in argv
    config.write_text(f'header = "Authorization: Bearer {server.token}"\n')
    argv: list[Argument] = [
        "curl", "--config", config, "--silent", "--show-error", "--fail", "--request", "POST",
        "--header", "Content-Type: application/octet-stream", "--upload-file", image,
        "--output", "/dev/null", "--write-out", "%{time_total}", url,
    ]  # fmt: skip
    completed = run(argv, timeout=UPLOAD_SECONDS)
    requests.delete(draft.json()["url"], headers=token, timeout=30).raise_for_status()
    return float(completed.stdout)


def _publish(server: GitHubServer, repository: str, dist: Path, log: Path) -> tuple[float, int]:
    """Seconds of our upload, and the most memory that the whole process held."""
    environment = {
        "GITHUB_API_URL": server.url,
        "GITHUB_SERVER_URL": server.url,
        "GITHUB_REPOSITORY": repository,
        "GITHUB_TOKEN": server.token,
    }
    argv: list[Argument] = [sys.executable, "-m", "ci.publish_release", "--allow-dirty", "--dist", dist, "--log", log]
    output = run(argv, cwd=ROOT, env=environment, timeout=UPLOAD_SECONDS)
    took = re.search(r"^\s*([0-9.]+)s upload \S+\.qcow2$", output.stderr, re.MULTILINE)
    peak = re.search(r"peak memory: (\d+) bytes", log.read_text(encoding="utf-8"))
    if took is None or peak is None:
        raise RuntimeError(f"the publication does not tell its figures, see {log}")
    return float(took[1]), int(peak[1])


def make_dist(folder: Path, version: str, commit: str) -> Path:
    """A dist/ that is consistent in itself, around a large file that is no image."""
    folder.mkdir(parents=True)
    stem = f"fountainkit-toolsmith-bench-{version}"
    image = folder / f"{stem}{artifacts.IMAGE}"
    block = bytes(range(256)) * (BLOCK // 256)
    with image.open("wb") as file:
        file.write(version.encode().ljust(BLOCK))
        for _ in range(ASSET_BYTES // BLOCK - 1):
            file.write(block)
    sha256 = sha256_file(image)
    build = BuildRecord.model_validate(
        {
            "name": stem,
            "version": version,
            "definition": "bench",
            "definition_sha256": "0" * 64,
            "inputs": {},
            "distribution": "bench",
            "commit": commit,
            "dirty": False,
            "built_at": "2026-01-01T00:00:00Z",
            "base": BaseImageRecord(
                url="https://example.com/",
                sha256="0" * 64,
                size=1,
                verification=Verification.PINNED_DIGEST,
                verified_by="a bench",
            ),
            "image": ArtifactRecord(file=image.name, sha256=sha256, size=ASSET_BYTES, virtual_size=ASSET_BYTES),
            "packages": 0,
            "transaction": [],
            "kernel": "none",
            "drivers": {},
            "authorized_keys": [],
            "accelerator": "none",
            "tools": {},
            "steps": [],
            "seconds": 0,
            "peak_memory": 0,
        }
    )
    check = CheckResult(
        id=IDENTITY_CHECK, boot="full", title="", expected="", actual="", outcome=Outcome.PASSED, seconds=0
    )
    report = ValidationReport.model_validate(
        {
            "image": image.name,
            "image_sha256": sha256,
            "version": version,
            "passed": True,
            "started_at": "2026-01-01T00:00:00Z",
            "accelerator": "none",
            "accelerator_reason": "a bench",
            "qemu": "none",
            "boots": [
                BootResult(
                    name=name, memory_mib=1, cpus=1, login_prompt_seconds=None, ssh_seconds=None, total_seconds=0
                )
                for name in sorted(BOOTS)
            ],
            "checks": [check],
            "seconds": 0,
        }
    )
    build.write(folder / f"{stem}{artifacts.BUILD}")
    report.write(folder / f"{stem}{artifacts.REPORT}")
    (folder / f"{stem}{artifacts.CHECKSUM}").write_text(f"{sha256}  {image.name}\n")
    (folder / f"{stem}{artifacts.PACKAGES}").write_text(to_tsv(()))
    (folder / f"{stem}{artifacts.SBOM}").write_text(_sbom(stem, sha256))
    for suffix in (artifacts.REPORT_JUNIT, artifacts.REPORT_MARKDOWN, artifacts.SCREENSHOT):
        (folder / f"{stem}{suffix}").write_text("a bench\n")
    return folder


def _sbom(name: str, sha256: str) -> str:
    component = {"type": "operating-system", "name": name, "hashes": [{"alg": "SHA-256", "content": sha256}]}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid4().urn,
        "version": 1,
        "metadata": {"component": component},
        "components": [],
    }
    return json.dumps(bill)
