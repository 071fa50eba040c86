"""Release assets over HTTP: uploaded to a file, hashed as they come.

https://docs.github.com/rest/releases/assets. Nothing is held in memory, nothing goes through emulate.
"""

import hashlib
from contextlib import suppress

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.downloads import redirect_to_bytes
from ci.rehearsal.emulator import Emulator
from ci.rehearsal.exchanges import UPLOADS
from ci.rehearsal.faults import LEAVES_STARTER, MIDWAY
from ci.rehearsal.incoming import REPOSITORY, full_name, simple_user, wishes
from ci.rehearsal.paging import page_of
from ci.rehearsal.releases import (
    MAX_ASSET_BYTES,
    Asset,
    AssetState,
    Release,
    Releases,
    stored_name,
    timestamp,
    upload_refusal,
)
from ci.rehearsal.replies import ApiError, invalid, no_content, not_found, problem, reply


class AssetRoutes:
    def __init__(self, releases: Releases, emulator: Emulator) -> None:
        self._releases = releases
        self._emulator = emulator

    def add_to(self, router: web.UrlDispatcher) -> None:
        releases = f"{REPOSITORY}/releases"
        router.add_get(f"{releases}/{{id}}/assets", self.list_all)
        router.add_post(f"{releases}/{{id}}/assets", self.wrong_host)
        router.add_post(f"{UPLOADS}{releases}/{{id}}/assets", self.upload)
        router.add_get(f"{releases}/assets/{{asset}}", self.get)
        router.add_patch(f"{releases}/assets/{{asset}}", self.edit)
        router.add_delete(f"{releases}/assets/{{asset}}", self.delete)

    async def list_all(self, request: web.Request) -> web.Response:
        release = self._release(request)
        page, headers = page_of(request, list(release.assets.values()))
        return reply([self._releases.asset_json(release, asset) for asset in page], headers=headers)

    async def wrong_host(self, request: web.Request) -> web.Response:
        """Uploads are for `upload_url`; the API's own host takes none."""
        self._release(request)
        raise not_found()

    async def upload(self, request: web.Request) -> web.Response:
        """Take a file. One that does not arrive whole leaves its name taken by an empty asset in state `starter`.

        "When an upstream failure occurs, you will receive a 502 Bad Gateway status. This may leave an empty asset
        with a state of starter." What a broken connection leaves is not documented; this is the worse case, and it
        is met: https://github.com/getsentry/craft/issues/313
        """
        release, asset = await self._begin(request)
        size, digest = await self._receive(request, asset)
        if request.get(LEAVES_STARTER) or size != request.content_length:
            asset.path.unlink(missing_ok=True)
            raise ApiError(502, "Server Error")
        asset.size, asset.digest, asset.state = size, f"sha256:{digest}", AssetState.UPLOADED
        asset.updated_at = release.updated_at = timestamp()
        return reply(self._releases.asset_json(release, asset), status=201)

    async def _begin(self, request: web.Request) -> tuple[Release, Asset]:
        release = self._release(request)
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
        return release, self._releases.add_asset(
            release,
            name=name,
            label=request.query.get("label", ""),
            content_type=request.headers.get("Content-Type", "application/octet-stream"),
            uploader=await simple_user(self._emulator, request[CALLER]),
        )

    @staticmethod
    async def _receive(request: web.Request, asset: Asset) -> tuple[int, str]:
        """Write the body to the asset's file; its size and SHA-256 as far as it came."""
        digest, size = hashlib.sha256(), 0
        checkpoint, half = request.get(MIDWAY), (request.content_length or 0) // 2
        with asset.path.open("wb", buffering=0) as file, suppress(OSError):
            async for chunk in request.content.iter_any():
                digest.update(chunk)
                file.write(chunk)
                size += len(chunk)
                if checkpoint and size >= half:
                    await checkpoint.pass_by()
                    checkpoint = None
        return size, digest.hexdigest()

    async def get(self, request: web.Request) -> web.Response:
        """The asset, or with `Accept: application/octet-stream` its bytes.

        "The API will either redirect the client to the location, or stream it directly if possible": it redirects.
        """
        release, asset = self._asset(request)
        if request.headers.get("Accept") != "application/octet-stream":
            return reply(self._releases.asset_json(release, asset))
        return redirect_to_bytes(self._releases, asset)

    async def edit(self, request: web.Request) -> web.Response:
        release, asset = self._asset(request)
        wanted = await wishes(request)
        name = stored_name(wanted.get("name", asset.name))
        if name != asset.name and release.asset_named(name):
            raise invalid(problem("ReleaseAsset", "name", "already_exists"))
        asset.name, asset.label, asset.updated_at = name, wanted.get("label", asset.label), timestamp()
        return reply(self._releases.asset_json(release, asset))

    async def delete(self, request: web.Request) -> web.Response:
        release, asset = self._asset(request)
        if release.immutable:
            # "Assets cannot be modified or deleted", docs.github.com/code-security/concepts/
            # supply-chain-security/immutable-releases; GitHub's words are not known here.
            raise ApiError(422, "Cannot delete assets from an immutable release.")
        del release.assets[asset.id]
        asset.path.unlink(missing_ok=True)
        return no_content()

    def _release(self, request: web.Request) -> Release:
        return self._releases.find(full_name(request), request.match_info["id"], drafts=request[CALLER].can_push)

    def _asset(self, request: web.Request) -> tuple[Release, Asset]:
        number = request.match_info["asset"]
        return self._releases.find_asset(full_name(request), number, drafts=request[CALLER].can_push)
