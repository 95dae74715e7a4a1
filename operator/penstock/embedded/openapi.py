"""OpenAPI v3, made when asked: schemas of custom resources for `kubectl explain`, and what kubectl needs to validate.

Built-in kinds get no schemas here: kubectl then uses its compiled-in merge keys, and `explain` of them is empty.
"""

import hashlib

from penstock.embedded.objects import Json
from penstock.embedded.registry import Registry, Resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
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
            described = {
                "description": "Standard object's metadata.",
                "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
            }
            properties = resource.schema["properties"] | {"metadata": described}
            schemas[name] = resource.schema | {"properties": properties, "x-kubernetes-group-version-kind": [kind]}
            schemas[_META] = resource.schema["properties"]["metadata"]
    info = {"title": "penstock embedded Kubernetes", "version": "v1"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
