"""Downloads of assets: the addresses that a browser uses, and the store that they redirect to."""

from pathlib import Path

from aiohttp import web

from ci.rehearsal.emulator import Emulator
from ci.rehearsal.releases import Asset, AssetState, Release, Releases
from ci.rehearsal.replies import not_found

STORE = "/release-assets"
CHUNK_BYTES = 1 << 20


class DownloadRoutes:
    def __init__(self, releases: Releases, emulator: Emulator) -> None:
        self._releases = releases
        self._emulator = emulator

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/{owner}/{repo}/releases/download/{tag:.+}/{name}", self.by_tag)
        router.add_get("/{owner}/{repo}/releases/latest/download/{name}", self.latest)
        router.add_get(f"{STORE}/{{asset}}/{{name}}", self.serve)

    async def by_tag(self, request: web.Request) -> web.Response:
        """What `browser_download_url` leads to: assets of published releases, for everybody."""
        shelf = self._releases.shelf(await self._public_name(request))
        _, asset = _named(request, shelf.with_tag(request.match_info["tag"]))
        return redirect_to_bytes(self._releases, asset)

    async def latest(self, request: web.Request) -> web.Response:
        shelf = self._releases.shelf(await self._public_name(request))
        release, asset = _named(request, shelf.latest_release())
        location = self._releases.asset_json(release, asset)["browser_download_url"]
        return web.Response(status=302, headers={"Location": location})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The bytes, as the store behind GitHub serves them: with an ETag, and in ranges."""
        # aiohttp's FileResponse has ranges too, but no If-Range with an ETag.
        asset = self._releases.asset(request.match_info["asset"])
        etag = f'"{asset.digest}"'
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"attachment; filename={request.match_info['name']}",
            "Content-Type": "application/octet-stream",
            "ETag": etag,
        }
        wanted = _range(request, etag, asset.size)
        if wanted is not None and wanted.start >= wanted.stop:
            headers["Content-Range"] = f"bytes */{asset.size}"
            return web.Response(status=416, headers=headers)
        if wanted is not None:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{asset.size}"
        sent = wanted or range(asset.size)
        response = web.StreamResponse(status=206 if wanted else 200, headers=headers)
        response.content_length = len(sent)
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(response, asset.path, sent)
        await response.write_eof()
        return response

    async def _public_name(self, request: web.Request) -> str:
        repository = await self._emulator.get("/repos/{owner}/{repo}".format_map(request.match_info))
        if repository is None or repository["private"]:
            raise not_found()
        name: str = repository["full_name"]
        return name


def redirect_to_bytes(releases: Releases, asset: Asset) -> web.Response:
    """302 to where the bytes are; raises the 404 for an asset that has none."""
    if asset.state is not AssetState.UPLOADED:
        raise not_found()
    asset.downloads += 1
    return web.Response(status=302, headers={"Location": f"{releases.url}{STORE}/{asset.id}/{asset.name}"})


def _named(request: web.Request, release: Release | None) -> tuple[Release, Asset]:
    asset = release.asset_named(request.match_info["name"]) if release else None
    if release is None or asset is None:
        raise not_found()
    return release, asset


def _range(request: web.Request, etag: str, size: int) -> range | None:
    """The bytes that are asked for, None for all: without a range, with one of another file, or with one ill-formed."""
    if "Range" not in request.headers or request.headers.get("If-Range", etag) != etag:
        return None
    try:
        return range(*request.http_range.indices(size))
    except ValueError:
        return None


async def _send(response: web.StreamResponse, path: Path, wanted: range) -> None:
    position = wanted.start
    with path.open("rb", buffering=0) as file:
        file.seek(position)
        while position < wanted.stop and (chunk := file.read(min(CHUNK_BYTES, wanted.stop - position))):
            await response.write(chunk)
            position += len(chunk)
