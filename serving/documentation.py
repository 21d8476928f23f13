"""The OpenAPI document as a page that needs no other server and no script."""

import re
from html import escape
from typing import Any

import orjson

from serving.html import link, tag
from serving.openapi_schemas import Json, example_of

KEY = '-H "authorization: Bearer $HOLDFAST_SERVICE_KEY" '


def documentation(document: Json, base: str) -> str:
    """Return the page's body: projects first, then the service's own routes, each with an example."""
    key = "" if {} in document["security"] else KEY
    groups: dict[str, list[str]] = {one["name"]: [] for one in document["tags"]}
    for path, methods in document["paths"].items():
        for verb, operation in methods.items():
            groups[operation["tags"][0]].append(operation_entry(base, path, verb, operation, key))
    links = link("/", "Overview") + link("/openapi.json", "openapi.json")
    head = f"<header><h1>{escape(document['info']['title'])}</h1><nav>{links}</nav></header>"
    about = "".join(f"<p>{prose(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    cards = "".join(
        f'<section class="card">{tag("h2", name)}{"".join(items)}</section>' for name, items in groups.items()
    )
    return f'{head}<section class="card">{about}{senders(document)}</section>{cards}'


def senders(document: Json) -> str:
    """Say whether a key is needed, and how it is sent."""
    if {} in document["security"]:
        return "<p>No API key exists yet, so anybody on this machine may ask.</p>"
    ways = [scheme["description"] for scheme in document["components"]["securitySchemes"].values()]
    return f"<p>An API key is needed, in one of these ways: {prose('; '.join(ways))}</p>"


def operation_entry(base: str, path: str, verb: str, operation: Json, key: str) -> str:
    """Return one route, folded."""
    summary = f"{tag('span', verb.upper(), f'verb {verb}')} <code>{escape(path)}</code> "
    summary += f'<span class="soft small">{prose(operation.get("summary", ""))}</span>'
    parts = [f"<p>{prose(operation['description'])}</p>"] if operation.get("description") else []
    key = "" if operation.get("security") == [] else key
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        parts += [tag("h3", "Example"), tag("pre", curl(base, path, example_of(body), key))]
    elif "{" not in path:
        parts += [tag("h3", "Example"), tag("pre", f"curl -s {key}{base}{path}")]
    parts += parameters(operation)
    if body:
        parts += [tag("h3", "Request"), tag("pre", pretty(body))]
    return f"<details><summary>{summary}</summary>{''.join(parts)}{answers(operation)}</details>"


def parameters(operation: Json) -> list[str]:
    """Return what may stand in the path and in the headers."""
    rows = [
        f"<tr><td class=kind>{escape(one['name'])}</td><td>in the {escape(one['in'])}</td>"
        f"<td>{prose(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", [])
    ]
    return [tag("h3", "Parameters"), f"<table>{''.join(rows)}</table>"] if rows else []


def answers(operation: Json) -> str:
    """Return each status with what it means, and what 200 says."""
    rows = [
        f"<tr><td class=kind>{escape(code)}</td><td>{prose(answer['description'])}</td></tr>"
        for code, answer in operation["responses"].items()
    ]
    said = operation["responses"]["200"]["content"].get("application/json", {}).get("schema")
    shown = tag("h3", "Status 200") + tag("pre", pretty(said)) if said else ""
    return f"{tag('h3', 'Answers')}<table>{''.join(rows)}</table>{shown}"


def curl(base: str, path: str, example: Any, key: str) -> str:
    """Return the request as a command to paste."""
    body = orjson.dumps(example).decode().replace("'", "'\\''")
    return f"curl -s {key}{base}{path} -H 'content-type: application/json' -d '{body}'"


def prose(text: str) -> str:
    """Return escaped text in which what stood between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def pretty(value: Json) -> str:
    """Return indented JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
