"""What `/openapi.json` promises is what the API does, its examples included."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from mes.callers.model import Scope
from tests.api_server import Api, new_key, place

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    """What the running API says of itself."""
    answer = api.client(None).get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    said: dict[str, Any] = answer.json()
    return said


def calls(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation with its path and method."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert method in METHODS
            yield path, method, operation


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that stands alone."""
    return schema | {"components": document["components"]}


def check(document: dict[str, Any], operation: dict[str, Any], answer: httpx.Response) -> None:
    """The answer must be one that the operation promises."""
    promised = operation["responses"][str(answer.status_code)]
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = promised["content"][media_type]["schema"]
    if media_type.endswith("json"):
        validate(document, schema, answer.json())
    known = {name.lower() for name in promised.get("headers", {})} | {"content-type", "content-length", "date"}
    assert set(answer.headers) <= known, (operation["operationId"], set(answer.headers) - known)


def validate(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    """The value must be what the schema says, its formats included."""
    jsonschema.Draft202012Validator(
        resolved(document, schema), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(value)


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_call_is_described(document: dict[str, Any]) -> None:
    for path, method, operation in calls(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        assert ("security" in operation) == path.startswith("/v1/"), where
        for status, answer in operation["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                assert content["examples"], (where, status, media_type)
                assert (media_type == "application/problem+json") == (int(status) >= 400 and path.startswith("/v1/")), (
                    where,
                    status,
                )
        if "requestBody" in operation:
            assert any("examples" in content for content in operation["requestBody"]["content"].values()), where
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], where
            assert {"example", "examples"} & parameter.keys() or parameter["name"] in {"after", "cursor", "source"}, (
                where
            )


def test_examples_are_what_they_exemplify(document: dict[str, Any]) -> None:
    for _, _, operation in calls(document):
        contents = [
            content for answer in operation["responses"].values() for content in answer.get("content", {}).items()
        ]
        contents += operation.get("requestBody", {}).get("content", {}).items()
        for _, content in contents:
            for example in content.get("examples", {}).values():
                validate(document, content["schema"], example["value"])


def test_the_examples_of_requests_work_as_they_stand(document: dict[str, Any], api: Api) -> None:
    """In the order of the document, by somebody who has just been given a key."""
    client = api.client(api.key("newcomer", Scope.PARTNER))
    successes = 0
    for path, method, operation in calls(document):
        if "requestBody" not in operation:
            continue
        for media_type, content in operation["requestBody"]["content"].items():
            for name, example in content.get("examples", {}).items():
                url = path
                if "{order_id}" in path:
                    url = path.replace("{order_id}", str(place(client, f"moved by {name}")["order_id"]))
                answer = send(client, method, url, media_type, example["value"])
                assert answer.is_success, (path, name, answer.text)
                if answer.headers["content-type"].startswith("application/json"):
                    check(document, operation, answer)
                successes += 1
    assert successes >= 8


def test_the_examples_of_addresses_are_answered_as_documented(document: dict[str, Any], api: Api) -> None:
    client = api.client(api.key("newcomer", Scope.PARTNER))
    for path, method, operation in calls(document):
        if method != "get":
            continue
        url, query = path, {}
        for parameter in operation.get("parameters", ()):
            examples = parameter.get("examples", {"example": {"value": parameter.get("example")}})
            value = next(iter(examples.values()))["value"]
            if parameter["in"] == "path":
                url = url.replace("{" + parameter["name"] + "}", value)
            elif value is not None:
                query[parameter["name"]] = value
        check(document, operation, client.get(url, params=query))


def test_every_code_is_documented_where_it_is_answered(document: dict[str, Any], api: Api) -> None:
    """A few that are easily forgotten; schemathesis looks for the rest."""
    client = api.client(api.key("newcomer", Scope.PARTNER))
    orders = document["paths"]["/v1/orders"]
    for answer in (
        client.post("/v1/orders"),
        client.post("/v1/orders", headers={"content-type": "application/json"}),
        client.post("/v1/orders", headers=new_key() | {"content-type": "application/json"}),
        client.post("/v1/orders", json={}, headers=new_key()),
        client.post("/v1/orders", content=b" " * (3 << 20), headers=new_key() | {"content-type": "application/json"}),
        api.client(None).post("/v1/orders"),
    ):
        check(document, orders["post"], answer)
        promised = orders["post"]["responses"][str(answer.status_code)]["content"]["application/problem+json"]
        assert answer.json()["code"] in promised["examples"]


def test_people_can_read_it(api: Api) -> None:
    answer = api.client(None).get("/docs")
    assert (answer.status_code, "/openapi.json" in answer.text) == (200, True)


def send(client: httpx.Client, method: str, url: str, media_type: str, value: object) -> httpx.Response:
    """One example as a request."""
    headers = new_key() | {"content-type": media_type}
    if isinstance(value, str):
        return client.request(method, url, content=value.encode(), headers=headers)
    return client.request(method, url, json=value, headers=headers)
