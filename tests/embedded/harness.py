"""A server to test: the embedded one, or the one PENSTOCK_TEST_KUBECONFIG names (a real one judges these tests)."""

import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from support import localnode

HERE = Path(__file__).parent
KUBECTL = Path(sys.executable).parent / "kubectl"
IMAGE = "penstock-worker:dev"
Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class Embedded:
    """The server as a process of its own, so that it can be killed."""

    folder: Path
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, folder: Path, *more: str) -> "Embedded":
        """Returns when it serves."""
        arguments = ["--folder", str(folder), "--backoff", "0.5", "--crds", str(HERE / "crds"), "--image", IMAGE, *more]
        process = subprocess.Popen([sys.executable, "-m", "localkube", *arguments], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("export KUBECONFIG=")
        return cls(folder, process)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def stop(self) -> None:
        """As Ctrl-C would."""
        self.process.terminate()
        self._reap()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


@dataclass
class Kube:
    """kubectl and raw HTTP against one namespace of one server."""

    kubeconfig: Path
    namespace: str

    def ctl(self, *arguments: str, stdin: str = "", ok: bool = True) -> str:
        """What kubectl prints (standard output, then error); asserts success, or failure with ok=False."""
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) is ok, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def apply(self, item: Json, *more: str, ok: bool = True) -> str:
        """kubectl apply -f -."""
        return self.ctl("apply", "-f", "-", *more, stdin=json.dumps(item), ok=ok)

    def http(
        self, method: str, path: str, body: Any = None, content: str = "application/json", accept: str = ""
    ) -> tuple[int, Json]:
        """(code, object); a path that begins with a plural lies in the namespace."""
        with self._open(method, path, body, content, accept) as answer:
            return answer.status, json.loads(answer.read())

    def watch(self, path: str) -> list[Json]:
        """All events until the server ends the watch."""
        with self._open("GET", path, None, "application/json") as answer:
            return [json.loads(line) for line in answer]

    def _open(self, method: str, path: str, body: Any, content: str, accept: str = "") -> Any:
        access = localnode.access(self.kubeconfig)
        headers = {"Authorization": f"Bearer {access.token}", "Content-Type": content, "User-Agent": "harness/1"}
        headers |= {"Accept": accept} if accept else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(access.server + self.path(path), data, headers, method=method)  # noqa: S310
        context: ssl.SSLContext = access.tls()
        try:
            return urllib.request.urlopen(request, context=context, timeout=20)  # noqa: S310 - https, our own server
        except urllib.error.HTTPError as error:
            return error

    def path(self, path: str) -> str:
        """things/a -> /apis/try.dev/v1/namespaces/<ours>/things/a; what begins with a slash stays."""
        if path.startswith("/"):
            return path
        plural = path.split("/", maxsplit=1)[0].split("?", maxsplit=1)[0]
        prefix = {"things": "/apis/try.dev/v1", "jobs": "/apis/batch/v1", "cronjobs": "/apis/batch/v1"}
        return f"{prefix.get(plural, '/api/v1')}/namespaces/{self.namespace}/{path}"

    def get(self, path: str) -> Json:
        """The object, which must be there."""
        code, item = self.http("GET", path)
        assert code == 200, item
        return item


def until(look: Callable[[], T], seconds: float = 10.0) -> T:
    """The first true thing that `look` sees; fails when the time is up."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def thing(name: str, **spec: Any) -> Json:
    """A Thing of the throw-away CRD."""
    return {"apiVersion": "try.dev/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"s": "abc", **spec}}


def job(name: str, script: str, **spec: Any) -> Json:
    """A Job that runs a shell script in our image."""
    container = {"name": "worker", "image": IMAGE, "command": ["sh", "-c", script]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    spec = {"backoffLimit": 0, **spec, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def claim(name: str) -> Json:
    """A PersistentVolumeClaim."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def held(item: Json) -> dict[str, str]:
    """The conditions that are True, with their reasons."""
    conditions: list[Json] = item.get("status", {}).get("conditions", [])
    return {c["type"]: c.get("reason", "") for c in conditions if c["status"] == "True"}


def processes_named(mark: str) -> Iterator[int]:
    """Ids of processes with `mark` in their command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in entry.read_bytes() and int(entry.parent.name) != 0:
                yield int(entry.parent.name)
        except OSError:
            continue
