"""OpenAPI v3, made when asked: schemas of custom resources for `kubectl explain`, and what kubectl needs to validate.

Built-in kinds get no schemas here: kubectl then uses its compiled-in merge keys, and `explain` of them is empty.
"""

import hashlib

from localkube.objects import Json
from localkube.registry import Registry, Resource

_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1."

_DOCS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_DESCRIBED = {
    "apiVersion": "APIVersion defines the versioned schema of this representation of an object. Servers should convert "
    "recognized schemas to the latest internal value, and may reject unrecognized values. More info: "
    f"{_DOCS}#resources",
    "kind": "Kind is a string value representing the REST resource this object represents. Servers may infer this from "
    f"the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: {_DOCS}#types-kinds",
}
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # served empty: kubectl then asks for v3


def index(registry: Registry) -> Json:
    """The documents there are, with a hash that changes when they do."""
    versions: dict[str, str] = {}
    for resource in registry:
        versions[resource.path] = versions.get(resource.path, "") + repr((resource, resource.schema))
    return {
        "paths": {
            path[1:]: {"serverRelativeURL": f"/openapi/v3{path}?hash={hashlib.sha256(text.encode()).hexdigest()}"}
            for path, text in versions.items()
        }
    }


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{_PREFIX}{name}"}


def _metadata(shape: Json) -> Json:
    """ObjectMeta and its parts, under their names, for `explain`."""
    properties = dict(shape["properties"])
    owner, managed = properties["ownerReferences"]["items"], properties["managedFields"]["items"]
    for key, name in (("ownerReferences", "OwnerReference"), ("managedFields", "ManagedFieldsEntry")):
        properties[key] = properties[key] | {"items": {"default": {}, "allOf": [_reference(name)]}}
    fields = {"fieldsV1": {"allOf": [_reference("FieldsV1")]}}
    parts = {
        "ObjectMeta": shape | {"properties": properties},
        "OwnerReference": owner | {"required": ["apiVersion", "kind", "name", "uid"]},
        "ManagedFieldsEntry": managed | {"properties": managed["properties"] | fields},
        "FieldsV1": {"type": "object"},
    }
    return {f"{_PREFIX}{name}": part for name, part in parts.items()}


def document(resources: list[Resource]) -> Json:
    """The document of one API version."""
    paths, schemas = {}, {}
    for resource in resources:
        where = "/namespaces/{namespace}" if resource.namespaced else ""
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        patch = {
            "parameters": [
                {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                for name in ("dryRun", "fieldManager", "fieldValidation", "force")
            ],
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": kind,
        }
        paths[f"{resource.path}{where}/{resource.plural}/{{name}}"] = {"patch": patch}
        if resource.custom:
            name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
            properties: Json = {key: {"type": "string", "description": text} for key, text in _DESCRIBED.items()}
            description = f"Standard object's metadata. More info: {_DOCS}#metadata"
            properties["metadata"] = {"description": description, "allOf": [_reference("ObjectMeta")]}
            properties = resource.schema["properties"] | properties
            schemas[name] = resource.schema | {"properties": properties, "x-kubernetes-group-version-kind": [kind]}
            schemas |= _metadata(resource.schema["properties"]["metadata"])
    info = {"title": "penstock embedded Kubernetes", "version": "v1"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
