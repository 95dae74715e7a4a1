"""A whole Kubernetes on this machine: control plane, scheduler, kubelet and containerd, with our images as containers.

All of it runs in a sandbox, which takes everything with it when it ends; only after a kill -9 of the tests an empty
cgroup and the temporary folder stay. The operator runs in the cluster, as `deploy/` has it; claims are local
PersistentVolumes.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import yaml

from support import clusters, controlplane, gobuild, images, sandbox
from support.clusters import ROOT, Cluster, Session
from support.controlplane import Place
from support.sandbox import Sandbox

NAME = "node"
PODS = "10.88.0.0/16"
API_SERVICE = "10.0.0.1"
"""The first address of `controlplane.SERVICES`, where Pods look for the API server. Without kube-proxy we hold it."""
API_PORT = 443
SYSTEM = "penstock-system"
OPERATOR = "deployment/penstock-operator"
READY_SECONDS = 180

TOOLS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
"""What must be on PATH, each with Debian's package of it."""

PLUGINS = ("/usr/lib/cni", "/opt/cni/bin")
"""Where Debian puts the network plugins, and where everybody else does."""


class NodeCluster(Cluster):
    """A cluster whose operator is a Deployment, and whose claims are volumes that someone must provide."""

    def start_operator(self, *options: str) -> None:
        """Scale the Deployment up, and wait until its Pod runs."""
        if options:
            raise NotImplementedError("the operator here has the options of its Deployment")
        system = Session(self, SYSTEM)
        system.kubectl("scale", OPERATOR, "--replicas=1")
        try:
            system.kubectl("rollout", "status", OPERATOR, f"--timeout={READY_SECONDS}s")
        except AssertionError as error:
            pods, log = ("describe", "pods"), ("logs", OPERATOR, "--tail=20")
            told = "\n".join(system.kubectl(*command, check=False) for command in (pods, log))
            raise AssertionError(f"{error}\n{told}") from None

    def stop_operator(self, number: int = signal.SIGTERM) -> None:
        """Scale the Deployment down and wait until its Pod is gone; SIGKILL: without asking it."""
        system = Session(self, SYSTEM)
        system.kubectl("scale", OPERATOR, "--replicas=0")
        force = ("--force", "--grace-period=0") if number == signal.SIGKILL else ()
        system.kubectl("delete", "pods", "--all", "--wait", "--timeout=180s", *force)

    def session(self) -> Session:
        """A session in a fresh namespace that admits only Pods of the `restricted` Pod Security Standard."""
        return clusters.restricted(super().session())

    def provide(self, namespace: str, name: str, uid: str) -> None:
        """A volume for a claim: a folder of this node. Unlike hostPath, the kubelet gives it to the Pod's fsGroup."""
        self.volume(namespace, name).mkdir(parents=True, exist_ok=True)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
        claim = {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": uid}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{namespace}-{name}"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"apiVersion": "v1", **claim},
                "local": {"path": str(self.volume(namespace, name))},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
        Session(self, namespace).kubectl("apply", "-f", "-", stdin=json.dumps(volume))


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A node with the operator in it, from the manifests in `deploy/`. Raises `gobuild.Missing`.

    They are applied before the CRDs, so the operator has to wait for them in its Pod.
    """
    with _running(folder) as (kubeconfig, place):
        own = NodeCluster(kubeconfig, folder, place=place)
        administrator = Session(own, "default")
        free = "the node takes Pods: its `not-ready` taint has gone"
        administrator.until(
            lambda: any("taints" not in node["spec"] for node in administrator.items("nodes")), free, READY_SECONDS
        )
        system = Session(own, SYSTEM)
        own.operator_kubeconfig = clusters.with_token(system)
        system.until(lambda: _waits(system), "the operator's Pod has started and waits", READY_SECONDS)
        administrator.kubectl("apply", "-f", str(ROOT / "crds"))
        with _provider(own):
            own.start_operator()
            yield own


def _waits(system: Session) -> bool:
    """Whether the kubelet holds the operator's container for started and alive, and not for ready."""
    containers = [container for pod in system.items("pods") for container in pod["status"].get("containerStatuses", ())]
    states = [(container["started"], container["ready"], container["restartCount"]) for container in containers]
    return states == [(True, False, 0)] and "waiting for the CRDs" in system.kubectl("logs", OPERATOR)


@contextlib.contextmanager
def _provider(own: NodeCluster) -> Iterator[None]:
    """Plays the storage class: every claim that has no volume gets one."""
    fields = "{.metadata.namespace} {.metadata.name} {.metadata.uid} {.spec.volumeName}"
    watch = ["get", "pvc", "--all-namespaces", "--watch", "-o", "jsonpath=" + fields + r'{"\n"}']
    command = [str(clusters.KUBECTL), "--kubeconfig", str(own.kubeconfig), *watch]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def follow() -> None:
        for line in watching.stdout or ():
            if len(words := line.split()) == 3:  # no volume yet
                own.provide(*words)

    provider = threading.Thread(target=follow, name="volumes", daemon=True)
    provider.start()
    try:
        yield
    finally:
        watching.kill()
        provider.join()
        watching.communicate()


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[tuple[Path, Place]]:
    """A control plane and a node that has our images; yields its administrator's kubeconfig, and where it runs.

    Raises `gobuild.Missing`, also where we are not root.
    """
    plugins = _plugins()
    programs = controlplane.binaries("kube-scheduler", "kubelet")
    archives = images.archives()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name in ("containerd", "kubelet"):  # gigabytes; the logs stay with pytest
            stack.callback(shutil.rmtree, folder / name, ignore_errors=True)
        loaders = stack.enter_context(futures.ThreadPoolExecutor())  # before the sandbox: it ends what they wait for
        cgroup = stack.enter_context(sandbox.cgroup())
        own = stack.enter_context(sandbox.opened())
        own.run("ip", "address", "add", f"{API_SERVICE}/32", "dev", "lo")
        _start_containerd(stack, folder, own, plugins)
        loading = [loaders.submit(_load, own, archive) for archive in archives]
        place = Place(own.address, API_PORT, own.enter, controllers=("*",))
        kubeconfig = stack.enter_context(controlplane.running(folder, place))
        scheduler = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        stack.enter_context(
            controlplane.process(folder, "kube-scheduler", *own.enter, str(programs["kube-scheduler"]), *scheduler)
        )
        for load in loading:
            load.result()
        _start_kubelet(stack, folder, own, programs["kubelet"], kubeconfig, cgroup)
        yield kubeconfig, place


def _plugins() -> str:
    """The folder of the network plugins, when everything else is there too."""
    if os.geteuid() != 0:
        raise gobuild.Missing("a node needs root")
    lacking = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    folder = next((place for place in PLUGINS if Path(place, "bridge").exists()), None)
    if folder is None:
        lacking.append("containernetworking-plugins")
    if lacking or folder is None:
        raise gobuild.Missing(f"a node needs more programs (Debian: apt-get install {' '.join(lacking)})")
    return folder


def _start_containerd(stack: contextlib.ExitStack, folder: Path, own: Sandbox, plugins: str) -> None:
    """At its usual socket, which lies in /run and so is ours alone."""
    network = folder / "network"
    network.mkdir()
    ipam = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": ipam}
    (network / "10-pods.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}))
    configuration = folder / "containerd.toml"
    configuration.write_text(f"""
version = 2
root = "{folder / "containerd"}"
state = "/run/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder / "containerd" / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true  # in a virtual machine's sandbox it may not be lowered
  sandbox_image = "{images.PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
""")
    command = ["containerd", f"--config={configuration}"]
    stack.enter_context(controlplane.process(folder, "containerd", *own.enter, *command))
    deadline = time.monotonic() + READY_SECONDS
    while not own.succeeds("ctr", "version"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"containerd does not answer; see {folder}/containerd.log")
        time.sleep(0.1)


def _load(own: Sandbox, archive: Path) -> None:
    own.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))


def _start_kubelet(
    stack: contextlib.ExitStack, folder: Path, own: Sandbox, program: Path, kubeconfig: Path, cgroup: str
) -> None:
    configuration = folder / "kubelet.yaml"
    content = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": "",  # the machine's may lie in the /run that we have covered
        "clusterDNS": [API_SERVICE],  # Pods look up no names here, and this says so at once
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},  # its network has nobody else in it
        "evictionHard": {"memory.available": "100Mi"},  # a full disk of a developer is no matter of ours
        "imageGCHighThresholdPercent": 100,
    }
    configuration.write_text(yaml.safe_dump(content))
    options = [
        f"--config={configuration}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={folder / 'kubelet'}",
        f"--hostname-override={NAME}",
        f"--node-ip={own.address}",
    ]
    stack.enter_context(controlplane.process(folder, "kubelet", *own.enter, str(program), *options))
