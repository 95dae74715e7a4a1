"""A Pod as a folder: its volumes, its environment and its command, materialised for one local process.

<folder>/root/       what the process takes for `/` (PENSTOCK_POD_ROOT); each mountPath is a link below it
<folder>/volumes/    configMap, secret and emptyDir contents; gone when the process has ended
<folder>/log         standard output and error
<folder>/started     process id and its start time in kernel ticks, so that a successor ends the right one
<folder>/ended       exit code and time, written before the API hears of it
"""

import base64
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from localkube.apiclient import ApiError
from localkube.objects import Json

Fetch = Callable[[str, str, str], Awaitable[Json]]
"""(plural, namespace, name) -> ConfigMap or Secret; raises ApiError."""

_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 - what a real API server adds to a Pod; no token here, the worker needs none
_PASSED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")  # all that a child inherits: nothing secret, no home folder


class Unsupported(Exception):
    """The Pod asks for something a local process cannot have: no retry helps."""


class NotReady(Exception):
    """A ConfigMap, Secret or key is missing: it may still come (a kubelet's CreateContainerConfigError)."""


@dataclass(frozen=True)
class Command:
    """What to start: argument list, whole environment, working folder."""

    arguments: list[str]
    environment: dict[str, str]
    folder: Path


def refusal(pod: Json, image: str) -> tuple[str, str] | None:
    """Why this Pod cannot run here, as (waiting reason, message); None when it can."""
    spec = pod["spec"]
    if len(spec["containers"]) != 1 or spec.get("initContainers") or spec.get("ephemeralContainers"):
        return (
            "CreateContainerConfigError",
            "penstock's local node runs Pods of exactly one container, no init containers",
        )
    if spec["containers"][0].get("image") != image:
        return "ErrImageNeverPull", (
            f'penstock\'s local node runs local processes of the worker image "{image}" only, '
            f'not "{spec["containers"][0].get("image")}": it pulls and isolates nothing'
        )
    if spec.get("restartPolicy") != "Never":
        return "CreateContainerConfigError", "penstock's local node supports restartPolicy Never only"
    return None


async def prepare(pod: Json, folder: Path, claims: Callable[[str, str], Path], fetch: Fetch) -> Command:
    """Fill `folder` for the Pod. Raises Unsupported or NotReady; may be called again until it succeeds."""
    container, root = pod["spec"]["containers"][0], folder / "root"
    for leftover in (root, folder / "volumes"):
        shutil.rmtree(leftover, ignore_errors=True)  # a link to a claim is unlinked, not followed
    for made in (root / "tmp", root / "dev", folder / "volumes"):
        made.mkdir(parents=True, mode=0o700)
    places = {v["name"]: await _volume(v, pod, folder, (claims, fetch)) for v in pod["spec"].get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        _mount(mount, places, root)
    message_path(pod, folder).parent.mkdir(parents=True, exist_ok=True)
    environment = await _environment(pod, container, root, fetch)
    return Command(
        _arguments(container, environment),
        environment,
        _within(root, container.get("workingDir", "/")),
    )


def message_path(pod: Json, folder: Path) -> Path:
    """Where the process leaves its termination message."""
    return _within(folder / "root", pod["spec"]["containers"][0].get("terminationMessagePath", "/dev/termination-log"))


def discard_volumes(folder: Path) -> None:
    """Secrets and scratch space do not outlive the process."""
    shutil.rmtree(folder / "volumes", ignore_errors=True)


def _within(root: Path, path: str) -> Path:
    if ".." in Path(path).parts:
        raise Unsupported(f'path "{path}" must not contain ".."')
    return root / path.lstrip("/")


async def _volume(volume: Json, pod: Json, folder: Path, sources: tuple[Callable[[str, str], Path], Fetch]) -> Path:
    claims, fetch = sources
    namespace, place = pod["metadata"]["namespace"], folder / "volumes" / str(volume["name"])
    if "persistentVolumeClaim" in volume:
        return claims(namespace, str(volume["persistentVolumeClaim"]["claimName"]))
    if not volume["name"].startswith(_TOKEN_VOLUME) and not {"configMap", "secret", "emptyDir"} & volume.keys():
        kind = next((key for key in volume if key != "name"), "none")
        raise Unsupported(f'volume "{volume["name"]}": type {kind} is not supported by penstock\'s local node')
    place.mkdir(mode=0o700)
    if source := volume.get("configMap"):
        config_map = await _fetched(fetch, "configmaps", namespace, source["name"], bool(source.get("optional")))
        texts = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
        _write(texts | _decoded(config_map.get("binaryData")), source, place)
    elif source := volume.get("secret"):
        secret = await _fetched(fetch, "secrets", namespace, source["secretName"], bool(source.get("optional")))
        _write(_decoded(secret.get("data")), source, place)
    return place


async def _fetched(fetch: Fetch, plural: str, namespace: str, name: str, optional: bool) -> Json:
    try:
        return await fetch(plural, namespace, name)
    except ApiError as error:
        if error.code != 404:
            raise
        if optional:
            return {}
        raise NotReady(f'{plural[:-1]} "{name}" not found') from None


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in (data or {}).items()}


def _write(contents: Mapping[str, bytes], source: Json, place: Path) -> None:
    paths = {item["key"]: item["path"] for item in source.get("items", [])} or {key: key for key in contents}
    for key, path in paths.items():
        if key in contents:
            target = _within(place, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=0o600)
            target.write_bytes(contents[key])
        elif not source.get("optional"):
            raise NotReady(f"references non-existent config key: {key}")


def _mount(mount: Json, places: Mapping[str, Path], root: Path) -> None:
    target = _within(places[mount["name"]], mount.get("subPath", ""))
    if mount.get("subPath") and not target.exists():
        target.mkdir(parents=True)
    link = _within(root, mount["mountPath"].rstrip("/"))
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()  # root/tmp and root/dev are only there for want of a volume
    link.symlink_to(target)


async def _environment(pod: Json, container: Json, root: Path, fetch: Fetch) -> dict[str, str]:
    if container.get("envFrom"):
        raise Unsupported("envFrom is not supported by penstock's local node: name the variables")
    inherited = {name: os.environ[name] for name in _PASSED if name in os.environ}
    fixed = {"HOME": str(root), "TMPDIR": str(root / "tmp"), "TZ": "UTC", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    made: dict[str, str] = {}
    for entry in container.get("env", []):
        value = entry.get("value", "")
        given = await _value(pod, entry["valueFrom"], fetch) if "valueFrom" in entry else _expanded(value, made)
        if given is not None:
            made[entry["name"]] = given
    return inherited | fixed | made | {"PENSTOCK_POD_ROOT": str(root)}


async def _value(pod: Json, source: Json, fetch: Fetch) -> str | None:
    if reference := source.get("fieldRef"):
        return _field(pod, reference["fieldPath"])
    for kind, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if reference := source.get(kind):
            optional = bool(reference.get("optional"))
            referred = await _fetched(fetch, plural, pod["metadata"]["namespace"], reference["name"], optional)
            text: str | None = (referred.get("data") or {}).get(reference["key"])
            if text is None and not optional:
                raise NotReady(f"couldn't find key {reference['key']} in {plural[:-1]} {reference['name']}")
            return base64.b64decode(text).decode() if text is not None and plural == "secrets" else text
    raise Unsupported(f"env valueFrom {next(iter(source))} is not supported by penstock's local node")


def _field(pod: Json, path: str) -> str:
    if keyed := re.fullmatch(r"metadata\.(annotations|labels)\['(.+)'\]", path):
        return str((pod["metadata"].get(keyed[1]) or {}).get(keyed[2], ""))
    values = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
    }
    if path not in values:
        raise Unsupported(f"env fieldRef {path} is not supported by penstock's local node")
    return str(values[path])


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' own $(NAME): unknown names stay as they are, $$ is one dollar."""
    return re.sub(r"\$(?:(\$)|\(([^)]*)\))", lambda m: "$" if m[1] else variables.get(m[2], m[0]), text)


def _arguments(container: Json, environment: Mapping[str, str]) -> list[str]:
    words = [*container.get("command", []), *container.get("args", [])]
    if not container.get("command"):
        words = ["penstock", *words]  # the image's entrypoint
    if words[0] == "penstock":
        words = [sys.executable, "-m", "penstock", *words[1:]]
    return [_expanded(word, environment) for word in words]
