"""The OpenAPI document as a page that needs no other server and no script."""

from html import escape
from typing import Any

import orjson

from serving.html import link, tag
from serving.openapi_schemas import Json, example_of


def documentation(document: Json, base: str) -> str:
    """Return the page's body: projects first, then the service's own routes, each with an example."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for verb, operation in methods.items():
            group = (operation.get("tags") or ["service"])[0]
            groups.setdefault(group, []).append(operation_entry(base, path, verb, operation))
    own = groups.pop("service", [])
    cards = [*groups.items(), ("service", own)]
    links = link("/", "Overview") + link("/openapi.json", "openapi.json")
    head = f"<header><h1>Holdfast service</h1><nav>{links}</nav></header>"
    return head + "".join(f'<section class="card">{tag("h2", name)}{"".join(items)}</section>' for name, items in cards)


def operation_entry(base: str, path: str, verb: str, operation: Json) -> str:
    """Return one route, folded."""
    summary = f"{tag('span', verb.upper(), f'verb {verb}')} <code>{escape(path)}</code> "
    summary += tag("span", operation.get("summary", ""), "soft small")
    parts = [f"<p>{escape(operation['description'])}</p>"] if operation.get("description") else []
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts += [tag("h3", "Example"), tag("pre", curl(base, path, example_of(body)))]
        parts += [tag("h3", "Request"), tag("pre", pretty(body))]
    elif verb == "get" and "{" not in path:
        parts += [tag("pre", f"curl -s {base}{path}")]
    answers = [
        f"<tr><td class=kind>{escape(code)}</td><td>{escape(answer['description'])}</td></tr>"
        for code, answer in operation["responses"].items()
    ]
    parts += [tag("h3", "Answers"), f"<table>{''.join(answers)}</table>"]
    return f"<details><summary>{summary}</summary>{''.join(parts)}</details>"


def curl(base: str, path: str, example: Any) -> str:
    """Return the request as a command to paste."""
    body = orjson.dumps(example).decode().replace("'", "'\\''")
    return f"curl -s {base}{path} -H 'content-type: application/json' -d '{body}'"


def pretty(value: Json) -> str:
    """Return indented JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
