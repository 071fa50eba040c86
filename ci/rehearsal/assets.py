"""Release assets over HTTP: uploaded to a file, hashed as they come, and downloaded from a store behind a redirect.

https://docs.github.com/rest/releases/assets. Nothing is held in memory, nothing goes through emulate.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.calls import full_name, simple_user
from ci.rehearsal.emulator import EMULATOR
from ci.rehearsal.exchanges import UPLOADS
from ci.rehearsal.faults import LEAVES_STARTER, MIDWAY
from ci.rehearsal.release_routes import BASE, release_of
from ci.rehearsal.releases import (
    BYTES,
    MAX_ASSET_BYTES,
    RELEASES,
    AssetState,
    Shelf,
    StoredAsset,
    StoredRelease,
    stored_name,
    timestamp,
    upload_refusal,
)
from ci.rehearsal.replies import ApiError, no_content, not_found, page_of, problem, reply

STORE = "/release-assets"
CHUNK_BYTES = 1 << 20

routes = web.RouteTableDef()


@routes.get(f"{BASE}/{{id}}/assets")
async def list_all(request: web.Request) -> web.Response:
    release = release_of(request)
    page, headers = page_of(request, list(release.assets.values()))
    return reply([request.app[RELEASES].asset_json(release, asset) for asset in page], headers=headers)


@routes.post(f"{BASE}/{{id}}/assets")
async def wrong_host(_: web.Request) -> web.Response:
    """Uploads are for `upload_url`; the API's own host takes none."""
    raise not_found()


@routes.post(f"{UPLOADS}{BASE}/{{id}}/assets")
async def upload(request: web.Request) -> web.Response:
    """Take a file. One that does not arrive whole leaves its name taken by an empty asset in state `starter`.

    "When an upstream failure occurs, you will receive a 502 Bad Gateway status. This may leave an empty asset with a
    state of starter." What a broken connection leaves is not documented; this is the worse case, and it is met:
    https://github.com/getsentry/craft/issues/313
    """
    release, asset = await _begin(request)
    size, digest = await _receive(request, asset)
    if request.get(LEAVES_STARTER) or size != request.content_length:
        asset.path.unlink(missing_ok=True)
        raise ApiError(502, "Server Error")
    asset.size, asset.digest, asset.state = size, f"sha256:{digest}", AssetState.UPLOADED
    asset.updated_at = release.updated_at = timestamp()
    return reply(request.app[RELEASES].asset_json(release, asset), status=201)


async def _begin(request: web.Request) -> tuple[StoredRelease, StoredAsset]:
    release = release_of(request)
    if release.immutable:
        # As recorded in https://github.com/concourse/github-release-resource/issues/151
        raise upload_refusal(422, "Cannot upload assets to an immutable release.")
    name = stored_name(request.query.get("name", ""))
    if not name:
        raise upload_refusal(422, "Validation Failed", problem("ReleaseAsset", "name", "missing_field"))
    if request.content_length is None:
        # https://github.com/denoland/deno/issues/24197
        raise upload_refusal(400, "Bad Content-Length: ")
    if not 1 <= request.content_length <= MAX_ASSET_BYTES:
        # https://github.com/svenstaro/upload-release-action/issues/94, https://github.com/bluerobotics/BlueOS/issues/3683
        bound = "greater than or equal to 1" if not request.content_length else f"less than or equal to {1 << 31}"
        size = problem("ReleaseAsset", "size", "custom", f"size must be {bound}")
        raise upload_refusal(422, "Validation Failed", size)
    return release, request.app[RELEASES].add_asset(
        release,
        name,
        await simple_user(request),
        label=request.query.get("label", ""),
        content_type=request.headers.get("Content-Type", BYTES),
    )


async def _receive(request: web.Request, asset: StoredAsset) -> tuple[int, str]:
    """Write the body to the asset's file; its size and SHA-256 as far as it came."""
    digest, size = hashlib.sha256(), 0
    checkpoint, half = request.get(MIDWAY), (request.content_length or 0) // 2
    with asset.path.open("wb", buffering=0) as file, suppress(OSError):
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            file.write(chunk)
            size += len(chunk)
            if checkpoint and size >= half:
                await checkpoint.befall(request)
                checkpoint = None
    return size, digest.hexdigest()


@routes.get(f"{BASE}/assets/{{asset}}")
async def get(request: web.Request) -> web.Response:
    """The asset, or with `Accept: application/octet-stream` its bytes.

    "The API will either redirect the client to the location, or stream it directly if possible": it redirects.
    """
    release, asset = _asset(request)
    if request.headers.get("Accept") != BYTES:
        return reply(request.app[RELEASES].asset_json(release, asset))
    return _redirect_to_bytes(request, asset)


@routes.delete(f"{BASE}/assets/{{asset}}")
async def delete(request: web.Request) -> web.Response:
    release, asset = _asset(request)
    if release.immutable:
        # "Assets cannot be modified or deleted", docs.github.com/code-security/concepts/supply-chain-security/
        # immutable-releases; GitHub's words are not known here.
        raise ApiError(422, "Cannot delete assets from an immutable release.")
    del release.assets[asset.id]
    asset.path.unlink(missing_ok=True)
    return no_content()


def _asset(request: web.Request) -> tuple[StoredRelease, StoredAsset]:
    number, drafts = request.match_info["asset"], request[CALLER].can_push
    return request.app[RELEASES].find_asset(full_name(request), number, drafts=drafts)


# The web site: addresses that a browser uses, without the API's host, and the store that they lead to


@routes.get("/{owner}/{repo}/releases/download/{tag:.+}/{name}")
async def download(request: web.Request) -> web.Response:
    """What `browser_download_url` leads to: assets of published releases, for everybody."""
    shelf = await _public_shelf(request)
    _, asset = _named(request, shelf.with_tag(request.match_info["tag"]))
    return _redirect_to_bytes(request, asset)


@routes.get("/{owner}/{repo}/releases/latest/download/{name}")
async def download_of_latest(request: web.Request) -> web.Response:
    release, asset = _named(request, (await _public_shelf(request)).latest_release())
    location = request.app[RELEASES].asset_json(release, asset)["browser_download_url"]
    return web.Response(status=302, headers={"Location": location})


@routes.get(f"{STORE}/{{asset}}/{{name}}")
async def serve(request: web.Request) -> web.StreamResponse:
    """The bytes, as the store behind GitHub serves them: with an ETag, and in ranges."""
    # aiohttp's FileResponse has ranges too, but no If-Range with an ETag.
    asset = request.app[RELEASES].asset(request.match_info["asset"])
    etag = f'"{asset.digest}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename={request.match_info['name']}",
        "Content-Type": BYTES,
        "ETag": etag,
    }
    sent, status = range(asset.size), 200
    if "Range" in request.headers and request.headers.get("If-Range", etag) == etag:
        with suppress(ValueError):  # an ill-formed range is as good as none
            sent, status = range(*request.http_range.indices(asset.size)), 206
            headers["Content-Range"] = f"bytes {sent.start}-{sent.stop - 1}/{asset.size}"
    if not sent:
        return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{asset.size}"})
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(sent)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(response, asset.path, sent)
    await response.write_eof()
    return response


async def _public_shelf(request: web.Request) -> Shelf:
    repository = await request.app[EMULATOR].repository("{owner}/{repo}".format_map(request.match_info))
    if repository is None or repository["private"]:
        raise not_found()
    if request.path.split("/")[1:3] != repository["full_name"].split("/"):
        # https://docs.github.com/repositories/creating-and-managing-repositories/renaming-a-repository
        moved = request.rel_url.raw_path.split("/", 3)[3]
        raise ApiError(301, "", headers={"Location": f"/{repository['full_name']}/{moved}"})
    return request.app[RELEASES].shelf(repository["full_name"])


def _redirect_to_bytes(request: web.Request, asset: StoredAsset) -> web.Response:
    """302 to where the bytes are; raises the 404 for an asset that has none."""
    if asset.state is not AssetState.UPLOADED:
        raise not_found()
    asset.downloads += 1
    location = f"{request.app[RELEASES].url}{STORE}/{asset.id}/{asset.name}"
    return web.Response(status=302, headers={"Location": location})


def _named(request: web.Request, release: StoredRelease | None) -> tuple[StoredRelease, StoredAsset]:
    asset = release.asset_named(request.match_info["name"]) if release else None
    if release is None or asset is None:
        raise not_found()
    return release, asset


async def _send(response: web.StreamResponse, path: Path, wanted: range) -> None:
    position = wanted.start
    with path.open("rb", buffering=0) as file:
        file.seek(position)
        while position < wanted.stop and (chunk := file.read(min(CHUNK_BYTES, wanted.stop - position))):
            await response.write(chunk)
            position += len(chunk)
