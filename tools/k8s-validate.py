"""Validates Kubernetes manifests strictly, and prints them as one JSON list.

    $(tools/python-env)/bin/python tools/k8s-validate.py --kubernetes 1.37 [--crd FILE]... MANIFEST...

A field that the schema does not know is an error, as it is to `kubectl apply --validate=strict`. Kinds of the core come from the package
kubernetes-validate; others from the CustomResourceDefinitions given. What no schema can see (a selector that selects nothing, a quantity
that is none) `just k8s-check` shows to a real API server.
"""

import argparse
import functools
import json
import pathlib
import sys

import jsonschema
import yaml
from kubernetes_validate import utils

# The schemas of one version are one file of several megabytes, read again for each object without this.
utils.schema_contents = functools.cache(utils.schema_contents)


def documents(path):
    """The objects of one file; anything that is not an object is an error."""
    found = [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    for document in found:
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
            raise ValueError(f"{path}: a document is not a Kubernetes object")
    return found


def strict(schema):
    """A structural schema in which fields that it does not name are errors, as strict validation has it."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        result.setdefault("additionalProperties", False)
    return result


def custom_schemas(paths):
    """(apiVersion, kind) to schema, of all served versions of all definitions."""
    schemas = {}
    for path in paths:
        for definition in documents(path):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                # These the API server adds to every kind.
                for name in ("apiVersion", "kind", "metadata"):
                    schema["properties"].setdefault(name, {})
                schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def problem(document, version, custom):
    """What is wrong with one object, or None."""
    try:
        schema = custom.get((document["apiVersion"], document["kind"]))
        if schema is not None:
            jsonschema.validate(document, schema)
        elif utils.validate(document, version, strict=True) != version:
            return f"no schemas of Kubernetes {version}"
    except (utils.SchemaNotFoundError, utils.VersionNotSupportedError) as error:
        return error.message
    except jsonschema.ValidationError as error:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        return f"{where or '.'}: {error.message}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubernetes", action="append", required=True, metavar="VERSION", help="may be repeated")
    parser.add_argument("--crd", action="append", default=[], type=pathlib.Path, metavar="FILE")
    parser.add_argument("manifests", nargs="+", type=pathlib.Path, metavar="MANIFEST")
    arguments = parser.parse_args()
    custom = custom_schemas(arguments.crd)
    found, problems = [], []
    for path in arguments.manifests:
        for document in documents(path):
            found.append(document)
            for version in arguments.kubernetes:
                if (message := problem(document, version, custom)) is not None:
                    name = f"{document['kind']} {document['metadata'].get('name')}"
                    problems.append(f"{path}: {name}, Kubernetes {version}: {message}")
    if problems:
        sys.exit("\n".join(problems))
    if not found:
        sys.exit("there is nothing to validate")
    json.dump(found, sys.stdout)


main()
