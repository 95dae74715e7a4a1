"""Whether the orders of runs fit into a ConfigMap, for a set of manifests and before any cluster sees them."""

from collections.abc import Iterator, Sequence

from penstock.api import objects
from penstock.api.findings import Finding
from penstock.api.manifests import Manifest
from penstock.api.objects import Key
from penstock.api.validation import Complaint
from penstock.control import resolve
from penstock.control.cluster.store import Store
from penstock.control.desired import orders
from penstock.control.settings import Settings

_UNSAID = "default"
"""The namespace of manifests that name none: they lie in one, whichever it is."""


def complaints(checked: Sequence[Manifest]) -> Iterator[Complaint]:
    """One complaint for each object whose RunOrder is too large. Objects with other faults are left out."""
    store = Store()
    for position, manifest in enumerate(checked):
        if manifest.kind in objects.KINDS and manifest.name:
            store.put(_as_stored(manifest, position))
    for manifest in checked:
        kind = next((kind for kind in objects.KINDS if kind == manifest.kind), None)
        if kind is None:
            continue
        graph = resolve.references(Key(kind, manifest.namespace or _UNSAID, manifest.name), store, Settings())
        if graph is None or graph.problem is not None:
            continue
        problem = orders.checked(graph).problem
        if problem is not None:
            finding = Finding(("spec",), f"{problem.reason}: {problem.message}")
            yield Complaint(manifest.at(("spec",)), "error", f"{manifest.kind} {manifest.name}", finding)


def _as_stored(manifest: Manifest, position: int) -> dict[str, object]:
    """An object as the API server would return it, as far as the store looks at that."""
    given = {"uid": str(position), "resourceVersion": "1", "generation": 1, "namespace": manifest.namespace or _UNSAID}
    return {**manifest.object, "metadata": {**manifest.object["metadata"], **given}}
