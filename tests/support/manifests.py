"""Small manifests for tests: one Source of CSV files, a lake, a Dataset, a Pipeline, an outbox and a Subscription."""

from typing import Any

API_VERSION = "penstock.dev/v1alpha1"
Manifest = dict[str, Any]

CSV: Manifest = {"csv": {"nullValues": ["", "NA"]}}
FIELDS: list[Manifest] = [
    {"name": "id", "type": "long", "required": True},
    {"name": "city", "type": "string"},
    {"name": "amount", "type": "double", "minimum": "0"},
]
GOOD = "id,city,amount\n1,Oslo,1.5\n2,Bergen,2.5\n3,Narvik,3.5\n"


def of(kind: str, name: str, spec: Manifest, **annotations: str) -> Manifest:
    """An object of one of the five kinds."""
    metadata = {"name": name, "annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def source(name: str = "cities", **files: Any) -> Manifest:
    """CSV files beneath the claim `in`."""
    place = {"url": "file:///volumes/in/", "glob": "*.csv", "volume": {"claimName": "in"}, "format": CSV}
    return of("Source", name, {"connector": {"files": {**place, **files}}})


def lake(name: str = "lake", claim: str = "lake") -> Manifest:
    """A lake in a claim."""
    return of(
        "Destination",
        name,
        {"connector": {"lake": {"warehouse": f"file:///volumes/{claim}/warehouse", "volume": {"claimName": claim}}}},
    )


def outbox(name: str = "outbox", suffix: str = "") -> Manifest:
    """A folder of CSV files in the claim `out`; `suffix` ends in / where it is not empty."""
    files = {"url": f"file:///volumes/out/{suffix}", "volume": {"claimName": "out"}, "format": {"csv": {}}}
    return of("Destination", name, {"connector": {"files": files}})


def receiving(name: str) -> Manifest:
    """A database that receives tables."""
    server = {"host": "db", "database": "shop"}
    auth = {"basic": {"secretRef": {"name": "login"}}}
    return of("Destination", name, {"connector": {"postgres": server}, "auth": auth})


def dataset(name: str = "cities", **spec: Any) -> Manifest:
    """A table of three columns in the lake."""
    return of(
        "Dataset",
        name,
        {"destinationRef": {"name": "lake"}, "table": name, "schema": {"fields": FIELDS}, **spec},
    )


def pipeline(name: str = "cities", **spec: Any) -> Manifest:
    """Loads the Source `cities` into the Dataset `cities`, at once."""
    entry = {"datasetRef": {"name": "cities"}, "sync": "incremental"}
    return of("Pipeline", name, {"sourceRef": {"name": "cities"}, "datasets": [entry], "runNonce": "1", **spec})


def subscription(name: str = "cities", **spec: Any) -> Manifest:
    """Delivers the Dataset `cities` into the outbox, once."""
    references = {"datasetRef": {"name": "cities"}, "destinationRef": {"name": "outbox"}}
    return of("Subscription", name, {**references, **spec})
