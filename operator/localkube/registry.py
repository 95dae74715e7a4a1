"""Which resources there are: a closed list of built-in ones, and those that CustomResourceDefinitions bring."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from localkube import errors, fieldtable, jsonpath, rules, schema
from localkube.errors import Problem
from localkube.objects import Json, now
from localkube.store import Event, Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_ANYTHING: Json = {"x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True)
class Resource:
    """One resource in one version."""

    group: str
    version: str
    plural: str
    kind: str
    schema: Json = field(hash=False, compare=False)
    namespaced: bool = True
    singular: str = ""
    list_kind: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False  # has a /status subresource
    generation: bool = True  # counts changes of what is wanted
    custom: bool = False
    upsert: bool = False  # a PUT of what is not there creates it
    unconditional: bool = True  # a PUT need not say which version it replaces
    columns: tuple[Json, ...] = field(default=(), hash=False)  # additionalPrinterColumns
    selectable: tuple[str, ...] = ()  # fields for --field-selector, beside name and namespace

    @property
    def id(self) -> str:
        """As error messages name it: jobs.batch."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As objects carry it: batch/v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def shape(self) -> Json:
        """The types of its schema alone."""
        return schema.shape(self.schema)

    @property
    def path(self) -> str:
        """Its API version's URL path."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


def _built_in(api_version: str, kind: str, plural: str, short: str = "", **more: object) -> Resource:
    group, _, version = api_version.rpartition("/")
    shape = (
        _ANYTHING if kind == "CustomResourceDefinition" else fieldtable.schema(fieldtable.message(api_version, kind))
    )
    names = {"singular": kind.lower(), "list_kind": f"{kind}List", "short": tuple(short.split())}
    return Resource(group, version, plural, kind, shape, **names, **more)  # type: ignore[arg-type]


_EVENT_FIELDS = (
    *("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid"),
    *("involvedObject.apiVersion", "involvedObject.fieldPath", "reason", "type", "reportingComponent"),
)
_POD_FIELDS = ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "status.phase", "status.podIP")


def _built_ins() -> list[Resource]:
    return [
        _built_in("v1", "ConfigMap", "configmaps", "cm", generation=False),
        _built_in("v1", "Secret", "secrets", generation=False, selectable=("type",)),
        _built_in("v1", "Namespace", "namespaces", "ns", namespaced=False, status=True, generation=False),
        _built_in("v1", "Pod", "pods", "po", status=True, categories=("all",), selectable=_POD_FIELDS),
        _built_in("v1", "ServiceAccount", "serviceaccounts", "sa", generation=False),
        _built_in("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", status=True, generation=False),
        _built_in("v1", "Event", "events", "ev", generation=False, upsert=True, selectable=_EVENT_FIELDS),
        _built_in("batch/v1", "Job", "jobs", status=True, categories=("all",), selectable=("status.successful",)),
        _built_in("batch/v1", "CronJob", "cronjobs", "cj", status=True, categories=("all",)),
        _built_in("coordination.k8s.io/v1", "Lease", "leases", generation=False, upsert=True, unconditional=False),
        _built_in(
            *("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", "crd crds"),
            namespaced=False,
            status=True,
        ),
    ]


class Registry:
    """The resources of one cluster, always in step with the CRDs in its store."""

    def __init__(self, store: Store) -> None:
        self._known = {(r.group, r.version, r.plural): r for r in _built_ins()}
        self._built_in = frozenset(self._known)
        for definition in store.select(CRDS):
            self._add(definition)
        store.listeners.append(self._follow)

    def __iter__(self) -> Iterator[Resource]:
        return iter(sorted(self._known.values(), key=lambda r: (r.group, r.version, r.plural)))

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """By what stands in a URL."""
        return self._known.get((group, version, plural))

    def named(self, resource_id: str) -> Resource:
        """By jobs.batch. KeyError when there is none."""
        resource = next((r for r in self._known.values() if r.id == resource_id), None)
        if resource is None:
            raise KeyError(resource_id)
        return resource

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """By what stands in an object or owner reference."""
        return next((r for r in self._known.values() if (r.api_version, r.kind) == (api_version, kind)), None)

    def _follow(self, event: Event) -> None:
        if event.key[0] == CRDS:
            if event.old is not None:
                for key in [key for key, r in self._known.items() if r.id == event.item["metadata"]["name"]]:
                    del self._known[key]
            if event.kind != "DELETED":
                self._add(event.item)

    def _add(self, definition: Json) -> None:
        resource = from_definition(definition)
        self._known[resource.group, resource.version, resource.plural] = resource


def from_definition(definition: Json) -> Resource:
    """The resource that a checked CRD brings."""
    spec, names = definition["spec"], definition["spec"]["names"]
    version = spec["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    meta = fieldtable.schema(fieldtable.message("v1", "ObjectMeta"))
    basics = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": meta}
    columns = version.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    return Resource(
        spec["group"],
        version["name"],
        names["plural"],
        names["kind"],
        root | {"properties": root.get("properties", {}) | basics},
        namespaced=spec["scope"] == "Namespaced",
        singular=names["singular"],
        list_kind=names["listKind"],
        short=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        status="status" in version.get("subresources", {}),
        custom=True,
        unconditional=False,
        columns=tuple(columns),
        selectable=tuple(f["jsonPath"].lstrip(".") for f in version.get("selectableFields", ())),
    )


# ── CustomResourceDefinitions themselves ─────────────────────────────────────
_SPEC_FIELDS = {"group", "names", "scope", "versions", "conversion", "preserveUnknownFields"}
_VERSION_FIELDS = {
    "name",
    "served",
    "storage",
    "schema",
    "subresources",
    "additionalPrinterColumns",
    "selectableFields",
}


def default_definition(definition: Json) -> None:
    """Fill in what an API server does."""
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"})


def prepare_definition(definition: Json, old: Json | None) -> None:
    """What the naming controller finds out a moment later."""
    if old is None:
        definition["status"] = _established(definition["spec"])


def refuse_definition(definition: Json) -> None:
    """Everything that would not have its effect here."""
    spec = definition["spec"]
    for place, supported, given in (
        ("spec", _SPEC_FIELDS, [spec]),
        ("spec.versions[0]", _VERSION_FIELDS, spec.get("versions", [])),
    ):
        if unknown := sorted({key for one in given for key in one} - supported):
            raise errors.not_here(f"CustomResourceDefinition {place}.{unknown[0]}")
    if len(spec.get("versions", [])) != 1 or spec["conversion"].get("strategy", "None") != "None":
        raise errors.not_here("CustomResourceDefinition with conversion, or with other than one version")
    _refuse_schema(spec["versions"][0])


CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def _refuse_schema(version: Json) -> None:
    root = version.get("schema", {}).get("openAPIV3Schema", {})
    if place := schema.unsupported(root, "openAPIV3Schema"):
        raise errors.not_here(f"CustomResourceDefinition schema keyword {place}")
    if trouble := rules.uncompilable(root):
        raise errors.not_here(f"x-kubernetes-validations rule {trouble}")
    for column in version.get("additionalPrinterColumns", ()):
        try:
            jsonpath.steps(column.get("jsonPath", ""))
        except ValueError as error:
            raise errors.not_here(f"CustomResourceDefinition additionalPrinterColumns with {error}") from None


def _established(spec: Json) -> Json:
    since = {"status": "True", "lastTransitionTime": now()}
    return {
        "conditions": [
            {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found"} | since,
            {"type": "Established", "reason": "InitialNamesAccepted"} | since
            | {"message": "the initial names have been accepted"},
        ],
        "acceptedNames": spec["names"],
        "storedVersions": [v.get("name") for v in spec.get("versions", ())],
    }  # fmt: skip


def check_definition(definition: Json, old: Json | None) -> list[Problem]:
    """What is wrong with a CRD (the important half of what an API server checks)."""
    spec = definition["spec"]
    names, problems = spec["names"], []
    for key, at in (("group", spec), ("scope", spec), ("plural", names), ("kind", names)):
        if not at.get(key):
            problems.append(Problem.required(f"spec.{'names.' if at is names else ''}{key}"))
    if not problems and definition["metadata"]["name"] != f"{names['plural']}.{spec['group']}":
        text = 'must be spec.names.plural+"."+spec.group'
        problems.append(Problem.invalid("metadata.name", f'"{definition["metadata"]["name"]}"', text))
    if spec["versions"][0].get("schema", {}).get("openAPIV3Schema", {}).get("type") != "object":
        problems.append(Problem.required("spec.versions[0].schema.openAPIV3Schema", "schemas are required"))
    if old is not None and not problems:
        problems += [
            Problem.invalid(f"spec.{key}", f'"{spec[key]}"', "field is immutable")
            for key in ("group", "scope")
            if spec[key] != old["spec"][key]
        ]
    return problems


def discovery(resources: list[Resource]) -> list[Json]:
    """The APIResource entries of one API version."""
    entries: list[Json] = []
    for r in resources:
        entry: Json = {"name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind}
        entry["verbs"] = VERBS
        entry |= {"shortNames": r.short} if r.short else {}
        entries.append(entry | ({"categories": r.categories} if r.categories else {}))
        rest = {"singularName": "", "namespaced": r.namespaced, "kind": r.kind}
        if r.status:
            entries.append({"name": f"{r.plural}/status", **rest, "verbs": ["get", "patch", "update"]})
        if r.kind == "Pod":
            entries.append({"name": "pods/log", **rest, "verbs": ["get"]})
            entries.append({"name": "pods/binding", **rest, "kind": "Binding", "verbs": ["create"]})
    return entries
