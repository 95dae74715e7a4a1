"""The node: an API client that runs the Pods of one image as local processes, one process a Pod.

It works alike against the embedded API and a real kube-apiserver that has no kubelets, and says what a kubelet says:
binding, waiting reasons, Running, terminated with exit code and message, graceful deletion. Volumes are filled once,
at the start. securityContext, resources and service accounts are accepted and have no effect.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from localkube import naming, objects, podfolder, podprocess, podstatus
from localkube.apiclient import MERGE, Access, ApiError, Client
from localkube.objects import Json

NODE = "penstock-local"
_RETRY = 1.0  # seconds until a missing Secret, or an API that is away, is tried again
_GONE = (404, 409, 422)  # the Pod, or the Pod of this UID, is no more: nothing left to tell


@dataclass
class _Seat:
    """One Pod at this node: its newest state, and whether it has to leave."""

    pod: Json
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.pod['metadata']['namespace']}/pods/{self.pod['metadata']['name']}"


class Runner:
    """Plays the node `penstock-local`; `await run()` until cancelled, then every process it started has ended.

    `volumes` maps (namespace, claim) to a folder; other claims live in <root>/volumes/<namespace>/<claim>.
    """

    def __init__(
        self, access: Access, root: Path, image: str, volumes: Mapping[tuple[str, str], Path] | None = None
    ) -> None:
        self._access, self._root, self._image = access, root, image
        self._volumes = dict(volumes or {})
        self._seats: dict[str, _Seat] = {}

    async def run(self) -> None:
        """Only one at a time may work in a root."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in self._folders("*"):
            podprocess.kill_leftover(folder)
        async with Client(self._access) as self._api, asyncio.TaskGroup() as self._tasks:
            async for kind, item in self._api.changes("/api/v1/pods"):
                self._listed(item["items"]) if kind == "LISTED" else self._notice(kind, item)

    def started(self, namespace: str, name: str) -> Path | None:
        """The folder of a Pod whose process has started here, else None."""
        return next((f for f in self._folders(f"{namespace}_{name}_*") if podprocess.has_started(f)), None)

    def _folders(self, pattern: str) -> Iterator[Path]:
        return (self._root / "pods").glob(f"{pattern}/")

    def _folder(self, pod: Json) -> Path:
        meta = pod["metadata"]
        return self._root / "pods" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"

    def _claim(self, namespace: str, claim: str) -> Path:
        if not naming.is_name(claim):
            raise podfolder.NotReady(f'persistentvolumeclaim "{claim}" not found')
        place = self._volumes.get((namespace, claim)) or self._root / "volumes" / namespace / claim
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _listed(self, pods: list[Json]) -> None:
        """A list is the whole truth: whoever is not in it has gone."""
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid in self._seats.keys() - present:
            self._notice("DELETED", self._seats[uid].pod)
        for pod in pods:
            self._notice("MODIFIED", pod)
        for folder in list(self._folders("*")):
            if folder.name.rpartition("_")[2] not in present | self._seats.keys():
                shutil.rmtree(folder, ignore_errors=True)

    def _notice(self, kind: str, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        seat = self._seats.get(uid)
        if seat is None:
            if kind == "DELETED" or pod["spec"].get("nodeName", NODE) != NODE:
                return
            seat = self._seats[uid] = _Seat(pod)
            self._tasks.create_task(self._serve(seat))
        seat.pod, seat.gone = pod, seat.gone or kind == "DELETED"
        if seat.gone or "deletionTimestamp" in pod["metadata"]:
            seat.leaving.set()

    async def _serve(self, seat: _Seat) -> None:
        """One Pod's whole stay."""
        folder = self._folder(seat.pod)
        if podstatus.is_open(seat.pod):
            await self._report(seat, await self._played(seat, folder))
        await seat.leaving.wait()
        if not seat.gone:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": seat.pod["metadata"]["uid"]}}
            await self._tell(lambda: self._api.call("DELETE", seat.path, options))
        shutil.rmtree(folder, ignore_errors=True)
        del self._seats[seat.pod["metadata"]["uid"]]

    async def _played(self, seat: _Seat, folder: Path) -> Json:
        """Bind, prepare, run; the status to end with."""
        if not podprocess.has_started(folder):
            command = await self._prepared(seat, folder) if await self._placed(seat) else None
            if command is None:
                return podstatus.never_started(seat.pod, "deleted before it started")
            try:
                await self._run(seat, command, folder)
            except OSError as error:
                return podstatus.never_started(seat.pod, str(error))
        # Started before: by a runner that is no more, which is told and not repeated.
        podfolder.discard_volumes(folder)
        return podstatus.terminated(seat.pod, folder, podprocess.ending(folder))

    async def _run(self, seat: _Seat, command: podfolder.Command, folder: Path) -> None:
        """From the start of the process to its end; OSError when it cannot be started."""
        async with podprocess.running(command, folder) as process:
            reported = asyncio.create_task(self._report(seat, podstatus.running(seat.pod)))
            await self._tell_event(seat, "Started", "Container started")
            await podprocess.wait(process, seat.leaving, lambda: _grace(seat), folder)
        await reported

    async def _placed(self, seat: _Seat) -> bool:
        """Bound here once its claims exist, which is what a scheduler waits for. False: it has to leave first."""
        said: str | None = None
        while not (seat.pod["spec"].get("nodeName") or seat.leaving.is_set()):
            missing = await self._missing_claim(seat.pod)
            if missing is None:
                await self._bind(seat)
                return True
            if missing != said:
                message = f'0/1 nodes are available: persistentvolumeclaim "{missing}" not found.'
                await self._report(seat, podstatus.unschedulable(seat.pod, message))
                await self._tell_event(seat, "FailedScheduling", message, kind="Warning")
                said = missing
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(seat.leaving.wait(), _RETRY)
        return not seat.leaving.is_set()

    async def _missing_claim(self, pod: Json) -> str | None:
        for volume in pod["spec"].get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                try:
                    await self._fetch("persistentvolumeclaims", pod["metadata"]["namespace"], claim["claimName"])
                except (ApiError, aiohttp.ClientError, OSError):
                    return str(claim["claimName"])
        return None

    async def _bind(self, seat: _Seat) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        meta = {"name": seat.pod["metadata"]["name"], "uid": seat.pod["metadata"]["uid"]}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}
        await self._tell(lambda: self._api.call("POST", f"{seat.path}/binding", body))  # 409: a scheduler was first
        where = f"{seat.pod['metadata']['namespace']}/{meta['name']}"
        await self._tell_event(seat, "Scheduled", f"Successfully assigned {where} to {NODE}")

    async def _prepared(self, seat: _Seat, folder: Path) -> podfolder.Command | None:
        """The Pod's folder filled; waits, saying why, while something is missing. None: it has to leave first."""
        said: tuple[str, str] | None = None
        while not seat.leaving.is_set():
            trouble = podfolder.refusal(seat.pod, self._image)
            if trouble is None:
                try:
                    return await podfolder.prepare(seat.pod, folder, self._claim, self._fetch)
                except (podfolder.NotReady, podfolder.Unsupported, ApiError, aiohttp.ClientError, OSError) as error:
                    trouble = ("CreateContainerConfigError", str(error))
            if trouble != said:
                await self._report(seat, podstatus.waiting(seat.pod, *trouble))
                await self._tell_event(seat, "Failed", f"Error: {trouble[1]}", kind="Warning")
                said = trouble
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(seat.leaving.wait(), _RETRY)
        return None

    async def _fetch(self, plural: str, namespace: str, name: str) -> Json:
        if not naming.is_name(name):  # in a path of the API, and of a folder, `..` would lead elsewhere
            raise ApiError(404, f'{plural} "{name}" not found')
        return await self._api.call("GET", f"/api/v1/namespaces/{namespace}/{plural}/{name}")

    async def _report(self, seat: _Seat, status: Json) -> None:
        body = {"metadata": {"uid": seat.pod["metadata"]["uid"]}, "status": status}
        await self._tell(lambda: self._api.call("PATCH", f"{seat.path}/status", body, MERGE))

    async def _tell_event(self, seat: _Seat, reason: str, message: str, kind: str = "Normal") -> None:
        """For `kubectl describe`; a lost one is no harm."""
        meta, moment = seat.pod["metadata"], objects.now()
        subject = {"apiVersion": "v1", "kind": "Pod"} | {key: meta[key] for key in ("namespace", "name", "uid")}
        body = {"metadata": {"generateName": f"{meta['name']}."}, "involvedObject": subject, "count": 1, "type": kind}
        body |= {"reason": reason, "message": message, "firstTimestamp": moment, "lastTimestamp": moment}
        body["source"] = {"component": "kubelet", "host": NODE}
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError, OSError):
            await self._api.call("POST", f"/api/v1/namespaces/{meta['namespace']}/events", body)

    async def _tell(self, call: Callable[[], Awaitable[Json]]) -> None:
        """Until the API has heard it, or it no longer matters."""
        while True:
            try:
                await call()
            except ApiError as error:
                if error.code in _GONE:
                    return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            else:
                return
            await asyncio.sleep(_RETRY)


def _grace(seat: _Seat) -> float:
    """Seconds between SIGTERM and SIGKILL; none when the Pod has already left the API."""
    return 0.0 if seat.gone else float(seat.pod["metadata"].get("deletionGracePeriodSeconds", 30))
