"""What the operator costs a real API server: calls, CPU, time, and the longest time that its work loop was blocked.

    python -m bench.controlplane [PIPELINES [SUBSCRIPTIONS DESTINATIONS]]    default: 2000 500 1000

All Pipelines refer to one Source, which is changed; each Subscription delivers into a Destination of its own. The block
is measured by the operator itself and read from its liveness probe, also as CPU time of the loop's thread: on a machine
that has other work, the first also says how long the operator waited for a processor.

The calls are those of the API server's own audit log, so nothing of ours can hide any; whose they are, it tells by the
names that the operator's two clients give themselves.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support import controlplane, manifests
from support.clusters import KUBECTL, ROOT

CLIENTS = ("kopf", "OpenAPI-Generator")
READS = ("get", "list", "watch")
STANDING = ("leases", "selfsubjectrulesreviews")
"""What it writes whatever there is: its Lease, every few seconds, and once the question what it may do."""
QUIET_SECONDS = 15.0
MOST_SECONDS = 170.0
"""How long it is watched at most: without a node, inspections reach their deadline after 180 s and are tried again."""

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""
Calls = Counter[tuple[str, str]]


class Bench:
    """A control plane without a node, and an operator that is started and ended."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._audit = (folder / "audit.log").open(encoding="utf-8")
        self._rest = ""
        self._seen: set[str] = set()
        self._calls: Calls = Counter()
        self._port = 0

    def kubectl(self, *arguments: str, stdin: str | None = None) -> None:
        command = [str(KUBECTL), "--kubeconfig", str(self._kubeconfig), *arguments]
        subprocess.run(command, input=stdin, check=True, capture_output=True, text=True)

    def calls(self) -> Calls:
        """The operators' requests so far by (verb, resource)."""
        *lines, self._rest = (self._rest + self._audit.read()).split("\n")
        for line in lines:
            event = json.loads(line)
            ours = event.get("userAgent", "").startswith(CLIENTS)
            if ours and event["auditID"] not in self._seen:  # a watch is told of when it begins and when it ends
                self._seen.add(event["auditID"])
                about = event.get("objectRef", {})
                names = (about.get("resource", "discovery"), about.get("subresource"))
                self._calls[event["verb"], "/".join(filter(None, names))] += 1
        return self._calls.copy()

    def start(self) -> "subprocess.Popen[bytes]":
        self._port = controlplane.free_port()
        command = [sys.executable, "-m", "penstock", "operate", "--kubeconfig", str(self._kubeconfig)]
        command.append(f"--health-probe-bind-address=127.0.0.1:{self._port}")
        with (self._folder / "operator.log").open("ab") as log:
            environment = os.environ | {"POD_NAME": "bench"}  # the same Pod: it need not wait for its own Lease
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def health(self) -> str:
        """What the operator says of itself: the longest block of its work loop since it started."""
        return self._answer("healthz").partition("; ")[2]

    def until_ready(self) -> None:
        """Wait until the operator has listed everything and acts."""
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if "acts" in self._answer("readyz"):
                    return
            time.sleep(0.1)

    def _answer(self, probe: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{probe}", timeout=5) as answer:
            return str(answer.read().decode().strip())

    def until_quiet(self) -> float | None:
        """Wait until the operator acts and has then written nothing for `QUIET_SECONDS`; the time of its last write.

        That time is monotonic.
        """
        seen = _writes(self.calls())
        self.until_ready()
        began, last = time.monotonic(), None
        while time.monotonic() - (last or began) < QUIET_SECONDS and time.monotonic() - began < MOST_SECONDS:
            time.sleep(0.25)
            if (now := _writes(self.calls())) != seen:
                last, seen = time.monotonic(), now
        return last


def _writes(calls: Calls) -> Calls:
    return Counter({key: n for key, n in calls.items() if key[0] not in READS and key[1] not in STANDING})


def _cpu(process: "subprocess.Popen[bytes]") -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: "subprocess.Popen[bytes]") -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


@contextlib.contextmanager
def _operator(bench: Bench) -> "Iterator[subprocess.Popen[bytes]]":
    process = bench.start()
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _measure(bench: Bench, process: "subprocess.Popen[bytes]", what: str, count: int) -> None:
    """Print what the operator does until it is quiet."""
    before, cpu, began = bench.calls(), _cpu(process), time.monotonic()
    last = bench.until_quiet()
    made = bench.calls() - before
    took = "no write" if last is None else f"{last - began:6.1f} s"
    print(f"{what:<40} {took}   CPU {_cpu(process) - cpu:5.1f} s   peak {_memory(process):4.0f} MB")
    print(f"    {bench.health()}")
    writes = _writes(made)
    for (verb, resource), value in sorted(writes.items()):
        print(f"    {verb:<7} {resource:<22} {value:>6}   {value / count:.3f} an object")
    print(f"    {'writes in all':<30} {writes.total():>6}")
    for verb in READS:
        resources = {resource: n for (done, resource), n in sorted(made.items()) if done == verb}
        text = ", ".join(name if n == 1 else f"{name} {n}" for name, n in resources.items())
        print(f"    {verb:<30} {sum(resources.values()):>6}   {text}")
    standing = sum(n for (verb, resource), n in made.items() if resource in STANDING and verb not in READS)
    print(f"    {'Lease and permissions':<30} {standing:>6}", flush=True)


def _create(bench: Bench, items: list[manifests.Manifest]) -> None:
    bench.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _pipelines(bench: Bench, count: int) -> None:
    pipelines = [manifests.pipeline(f"p{n}", runNonce="", schedule=["0 0 1 1 *"]) for n in range(count)]
    _create(bench, [manifests.source(), manifests.lake(), manifests.dataset(), *pipelines])
    with _operator(bench) as process:
        _measure(bench, process, f"{count} new Pipelines", count)
    with _operator(bench) as process:
        _measure(bench, process, "restart, nothing changed", count)
        bench.kubectl("apply", "-f", "-", stdin=json.dumps(manifests.source(glob="*.tsv")))
        _measure(bench, process, f"their Source changed: {count} referrers", count)


def _subscriptions(bench: Bench, subscriptions: int, destinations: int) -> None:
    _create(bench, [manifests.outbox(f"o{n}", suffix=f"{n}/") for n in range(destinations)])
    places = [{"name": f"o{n}"} for n in range(subscriptions)]
    _create(bench, [manifests.subscription(f"u{n}", destinationRef=place) for n, place in enumerate(places)])
    with _operator(bench) as process:
        count = subscriptions + destinations
        _measure(bench, process, f"{subscriptions} Subscriptions x {destinations} Destinations", count)
    with _operator(bench) as process:
        _measure(bench, process, "restart, nothing changed", count)


def main() -> None:
    """Print the table."""
    given = [int(word) for word in sys.argv[1:]]
    pipelines, subscriptions, destinations = [*given, *(2000, 500, 1000)[len(given) :]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(POLICY)
        audited = (f"--audit-policy-file={folder}/policy.yaml", f"--audit-log-path={folder}/audit.log")
        with controlplane.running(folder, controlplane.Place(apiserver=audited)) as kubeconfig:
            bench = Bench(kubeconfig, folder)
            bench.kubectl("apply", "-f", str(ROOT / "crds"))
            bench.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
            _pipelines(bench, pipelines)
            _subscriptions(bench, subscriptions, destinations)


if __name__ == "__main__":
    main()
