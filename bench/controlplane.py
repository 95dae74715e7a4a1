"""What the operator costs a real API server: calls, CPU and time for many Pipelines, at first sight, idle, restarted.

    python -m bench.controlplane [N]    N Pipelines, 1,000 by default

The calls are those that the API server itself counted (`apiserver_request_total`), so nothing of ours can hide any.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support import controlplane, manifests
from support.clusters import KUBECTL, ROOT

OURS = {"sources", "destinations", "datasets", "pipelines", "subscriptions", "jobs", "cronjobs", "configmaps", "events"}
WRITES = {"APPLY", "CREATE", "POST", "PATCH", "PUT", "DELETE", "UPDATE"}
Calls = Counter[tuple[str, str]]


class Bench:
    """A control plane without a node, and an operator that is started and ended."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        command = [str(KUBECTL), "--kubeconfig", str(self._kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout

    def calls(self) -> Calls:
        """Requests so far by (verb, resource), watches and lists too."""
        counted: Calls = Counter()
        for line in self.kubectl("get", "--raw", "/metrics").splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["resource"] in OURS:
                    counted[labels["verb"], labels["resource"]] += int(float(line.rpartition(" ")[2]))
        return counted

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "penstock", "operate", "--kubeconfig", str(self._kubeconfig)]
        with (self._folder / "operator.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def until_quiet(self, seconds: float = 15.0) -> float:
        """Wait until the API server has seen no write for `seconds`; the time of the last one, monotonic."""
        last, seen = time.monotonic(), _writes(self.calls())
        while time.monotonic() - last < seconds:
            time.sleep(0.25)
            now = _writes(self.calls())
            if now != seen:
                last, seen = time.monotonic(), now
        return last


def _writes(calls: Calls) -> int:
    return sum(count for (verb, _), count in calls.items() if verb in WRITES)


def _cpu(process: "subprocess.Popen[bytes]") -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(process: "subprocess.Popen[bytes]") -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def _measure(bench: Bench, what: str, count: int) -> None:
    before = bench.calls()
    began = time.monotonic()
    process = bench.start()
    try:
        elapsed = bench.until_quiet() - began
        after = bench.calls()
        written = {key: value - before[key] for key, value in after.items() if key[0] in WRITES and value > before[key]}
        print(f"{what:<28} {elapsed:6.1f} s   CPU {_cpu(process):5.1f} s   peak {_memory(process):4.0f} MB   writes:")
        for (verb, resource), value in sorted(written.items()):
            print(f"    {verb:<7} {resource:<14} {value:>6}   {value / count:.3f} a Pipeline")
        print(f"    {'in all':<22} {sum(written.values()):>6}", flush=True)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name, controlplane.running(Path(name)) as kubeconfig:
        bench = Bench(kubeconfig, Path(name))
        bench.kubectl("apply", "-f", str(ROOT / "crds"))
        bench.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        pipelines = [manifests.pipeline(f"p{n}", runNonce="", schedule=["0 0 1 1 *"]) for n in range(count)]
        objects = [manifests.source(), manifests.lake(), manifests.dataset(), *pipelines]
        bench.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        _measure(bench, f"{count} new Pipelines", count)
        _measure(bench, "restart, nothing changed", count)


if __name__ == "__main__":
    main()
