"""What our users type, with every kubectl there is, against both clusters: the same words and the same exit code."""

import difflib
import json
import os
import re
import shutil
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.conftest import ROOT, Both
from embedded import harness
from support import controlplane

_SOURCE = ROOT / "examples/01-quickstart/2-source.yaml"
_DATASET = ROOT / "examples/01-quickstart/4-dataset.yaml"
_DESTINATION = ROOT / "examples/01-quickstart/3-destinations.yaml"
_PIPELINE = ROOT / "examples/01-quickstart/5-pipeline.yaml"
_CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly"},
    "spec": {
        "schedule": "0 0 1 1 *",
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {
            "spec": {
                "suspend": True,
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": harness.IMAGE}]}
                },
            }
        },
    },
}
_READY = {
    "status": {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Reachable",
                "message": "as it should be",
                "lastTransitionTime": "2020-01-01T00:00:00Z",
            }
        ],
    }
}


@dataclass(frozen=True)
class Step:
    """One command; `stdin` what it reads."""

    command: str
    stdin: str = ""
    editor: str = ""


def _changed(**spec: object) -> str:
    source = json.loads(json.dumps({"apiVersion": "penstock.dev/v1alpha1", "kind": "Source"}))
    connector = {"files": {"url": "file:///volumes/x/", "volume": {"claimName": "x"}, "format": {"csv": {}}}}
    return json.dumps(source | {"metadata": {"name": "flights"}, "spec": {"connector": connector} | spec})


STEPS = [
    # ── apply, in every manner ────────────────────────────────────────────────
    Step(f"apply -f {_SOURCE}"),
    Step(f"apply -f {_SOURCE}"),
    Step("apply -f -", _changed(suspend=True)),
    Step("diff -f -", _changed(suspend=False)),
    Step("apply --dry-run=server -f -", _changed(suspend=False)),
    Step(f"apply --server-side -f {_DATASET} -f {_DESTINATION}"),
    Step(f"apply --server-side --field-manager=other -f {_DATASET}"),
    Step("apply --server-side --field-manager=third -f -", _changed(suspend=False)),
    Step("apply --server-side --field-manager=third --force-conflicts -f -", _changed(suspend=False)),
    Step(f"apply -f {_PIPELINE} -o name"),
    Step("apply -f -", _changed(suspended=True)),  # an unknown field
    Step("apply -f -", _changed(suspend="yes")),  # a wrong type
    Step("apply -f -", json.dumps({"apiVersion": "penstock.dev/v1alpha1", "kind": "Sauce", "metadata": {"name": "x"}})),
    Step("apply -f -", json.dumps(_CRON_JOB)),
    Step("apply -f -", json.dumps(_CRON_JOB)),
    # ── get ───────────────────────────────────────────────────────────────────
    Step("get sources,destinations,datasets,pipelines"),
    Step("get penstock -o wide"),
    Step("get penstock -o name"),
    Step("get source flights -o yaml"),
    Step("get dataset flights -o json"),
    Step("get pipeline flights -o jsonpath={.spec.sourceRef.name}"),
    Step("get destinations -o custom-columns=NAME:.metadata.name,SUSPEND:.spec.suspend --no-headers"),
    Step("get datasets --field-selector spec.destinationRef.name=lake"),
    Step("get datasets --field-selector spec.table=flights"),
    Step("get destinations --chunk-size=1"),
    Step("get destinations -l penstock.dev/none"),
    Step("get source nobody"),
    Step("get sauces"),
    Step("get cronjobs,jobs -o wide"),
    Step("get destinations --sort-by=.metadata.name"),
    # ── change ────────────────────────────────────────────────────────────────
    Step("label source flights team=ops"),
    Step("label source flights team=data"),
    Step("label source flights team=data --overwrite"),
    Step("get sources -l team=data -L team"),
    Step("annotate source flights penstock.dev/requestedAt=now"),
    Step("annotate source flights penstock.dev/requestedAt-"),
    Step("""patch pipeline flights --type=merge -p {"spec":{"runNonce":"second"}}"""),
    Step("""patch pipeline flights --type=merge -p {"spec":{"runNonce":"second"}}"""),
    Step("""patch pipeline flights --type=json -p [{"op":"replace","path":"/spec/runNonce","value":"third"}]"""),
    Step("""patch pipeline flights --type=json -p [{"op":"test","path":"/spec/runNonce","value":"no"}]"""),
    Step("""patch pipeline flights -p {"spec":{"runNonce":"fourth"}}"""),  # strategic: not for custom resources
    Step("""patch cronjob nightly -p {"spec":{"suspend":true}}"""),
    Step("""patch dataset flights --type=merge -p {"spec":{"table":"other"}}"""),  # immutable, by a CEL rule
    Step(f"patch source flights --subresource=status --type=merge -p {json.dumps(_READY, separators=(',', ':'))}".replace("as it should be", "fine")),
    Step("get source flights"),
    Step("replace -f -", _changed(suspend=True)),
    Step("edit source flights", editor="sed -i s/suspend:.true/suspend:\\ false/"),
    Step("edit source flights", editor="true"),
    Step("edit source flights", editor="sed -i s/suspend:.false/suspend:\\ 7/"),
    # ── describe, explain, wait ───────────────────────────────────────────────
    Step("describe source flights"),
    Step("describe cronjob nightly"),
    Step("explain source"),
    Step("explain dataset.spec.schema.fields"),
    Step("explain pipelines --recursive"),
    Step("explain source.spec.nothing"),
    Step("wait source/flights --for=condition=Ready --timeout=5s"),
    Step("wait source/flights --for=jsonpath={.status.observedGeneration}=1 --timeout=5s"),
    Step("wait source/flights --for=condition=Absent --timeout=0s"),
    Step("wait source/nobody --for=condition=Ready --timeout=1s"),
    # ── Jobs by hand ──────────────────────────────────────────────────────────
    Step("create job now --from=cronjob/nightly"),
    Step("create job now --from=cronjob/nightly"),
    Step("wait job/now --for=condition=Suspended --timeout=10s"),
    Step("get job now -o jsonpath={.spec.suspend}{.status.conditions[0].type}"),
    Step("get jobs"),
    Step("describe job now"),
    Step("logs job/now"),
    Step("events --for job/now --no-headers"),
    # ── what else one creates ─────────────────────────────────────────────────
    Step("create configmap c --from-literal=a=b"),
    Step("create configmap c --from-literal=a=b"),
    Step("create secret generic s --from-literal=a=b"),
    Step("get secret s -o jsonpath={.data.a}"),
    Step("create -f -", json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "UPPER"}})),
    Step("create -f -", json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}, "immutable": True, "data": {"a": "1"}}), ""),
    Step("""patch cm c --type=merge -p {"immutable":true}"""),
    Step("""patch cm c --type=merge -p {"data":{"a":"c"}}"""),
    Step("get configmap c -o yaml"),
    Step("api-resources --api-group=penstock.dev --no-headers"),
    # ── delete ────────────────────────────────────────────────────────────────
    Step("delete job now --cascade=foreground --timeout=20s"),
    Step("delete cronjob nightly --cascade=orphan --timeout=20s"),
    Step("delete source flights --dry-run=server"),
    Step("delete source flights --timeout=20s"),
    Step("delete source flights"),
    Step("delete source flights --ignore-not-found"),
    Step("delete destinations --all --timeout=20s"),
    Step(f"delete -f {_PIPELINE} --timeout=20s"),
    Step("delete pipelines -l team=none"),
    Step("delete namespace NAMESPACE --timeout=60s"),
    Step("get namespace NAMESPACE"),
]  # fmt: skip


MORE = os.environ.get("PENSTOCK_KUBECTLS", "").split()
"""Further ones, of other minors: paths with spaces between."""


def _kubectl(which: str) -> Path:
    """That of the virtual environment, the machine's, the one that came with the servers, or the one at that path."""
    if which == "locked":
        return harness.KUBECTL
    if which == "servers":
        return controlplane.binaries()["kube-apiserver"].with_name("kubectl")
    found = shutil.which("kubectl", path="/usr/local/bin:/usr/bin") if which == "machine" else which
    if found is None:
        pytest.skip("this machine has no kubectl of its own")
    return Path(found)


@pytest.mark.parametrize("which", ["locked", "machine", "servers", *MORE])
def test_every_command_says_the_same(both: Both, which: str, tmp_path: Path) -> None:
    kubectl = _kubectl(which)
    namespace = f"k-{zlib.crc32(which.encode())}"
    steps = (Step("create namespace NAMESPACE"), *STEPS)

    def all_said(kubeconfig: Path) -> list[tuple[int, str]]:
        cache = tmp_path / kubeconfig.parent.name
        return [_said(kubectl, kubeconfig, namespace, step, cache) for step in steps]

    with ThreadPoolExecutor(2) as pool:
        embedded, real = pool.map(all_said, (both.embedded, both.real))
    pairs = zip(steps, embedded, real, strict=True)
    differing = [
        f"$ kubectl {step.command} {step.stdin[:200]}\n{_parted(ours, theirs)}"
        for step, ours, theirs in pairs
        if ours != theirs
    ]
    assert not differing, f"{len(differing)} of {len(STEPS)} commands differ:\n" + "\n".join(differing)


def _parted(ours: tuple[int, str], theirs: tuple[int, str]) -> str:
    one, other = (f"exit {code}\n{text}".splitlines() for code, text in (ours, theirs))
    return "\n".join(difflib.unified_diff(one, other, "embedded", "real", lineterm="", n=0))


def _said(kubectl: Path, kubeconfig: Path, namespace: str, step: Step, cache: Path) -> tuple[int, str]:
    words = [word.replace("NAMESPACE", namespace) for word in step.command.split(" ")]
    command = [str(kubectl), "--kubeconfig", str(kubeconfig), "--cache-dir", str(cache), "-n", namespace, *words]
    environment = {"PATH": os.environ["PATH"], "HOME": str(cache), "EDITOR": step.editor or "false"}
    done = subprocess.run(
        command, input=step.stdin, capture_output=True, text=True, timeout=90, check=False, env=environment
    )
    return done.returncode, _alike(done.stdout + done.stderr)


_UNLIKE = [
    (r"patch: Invalid value: .*: (strict decoding error)", r"patch: \1"),  # the whole object between
    (r"Resource Version: +\d+", "Resource Version: <version>"),
    (r"202\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
    (r'("?resourceVersion"?: )"?\d+"?', r"\1<version>"),
    (r"202\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\w{3}, \d\d \w{3} 202\d \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"(/tmp/\S*?)(\d+)", "<file>"),
    (r"(LIVE|MERGED)-\d+", r"\1"),
    (r"\b(\d+[dhms]){1,2}\b", "<age>"),
    (r"[ \t]+", " "),  # columns are as wide as what is left out
    (r"x-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "x-<>"),
]  # fmt: skip


def _alike(text: str) -> str:
    for pattern, instead in _UNLIKE:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines())
