"""`GET /openapi.json` and `GET /docs`: what the surfaces take and answer, for programs and for people; `/` leads there.

Both are open without a token, as `/healthz` is: they tell what the server is, and nothing of users or of what they do.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pie.server.surfaces.reading_only import ReadOnly

__all__ = ["description_routes", "page_of"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { background: #f4f4f4; color: #222; padding: .7rem; overflow: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; padding: .25rem .6rem .25rem 0; }
h2 { margin-top: 2.5rem; }
h2 code { font-size: 1.2rem; }
"""
DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "content-security-policy": f"default-src 'self'; style-src 'sha256-{DIGEST}'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def description_routes(document: dict[str, Any]) -> list[Route]:
    """The routes at which a document is read."""
    page = page_of(document)

    async def as_json(_request: Request) -> Response:
        return JSONResponse(document)

    async def as_page(_request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def to_page(_request: Request) -> Response:
        return RedirectResponse("/docs")

    routes = (("/openapi.json", as_json), ("/docs", as_page), ("/", to_page))
    return [Route(path, ReadOnly(answer)) for path, answer in routes]


def page_of(document: dict[str, Any]) -> str:
    """A page that needs nothing but itself."""
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: HTTP</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        'The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"{''.join(operations)}<h1>Types</h1>{''.join(schemas)}</body></html>\n"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    takes = "" if body is None else f"<p>Body: {_kind(body)}</p>"
    rows = "".join(
        f"<tr><td>{status}</td><td>{_contents(response.get('content', {}))}</td>"
        f"<td>{escape(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>{takes}"
        f"<table><tr><th>status</th><th>content</th><th></th></tr>{rows}</table>"
    )


def _contents(content: dict[str, Any]) -> str:
    return "<br>".join(f"{escape(media)}: {_kind(told['schema'])}" for media, told in content.items())


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{note}</td><td>{_kind(kind)}</td></tr>"
        for field, kind in schema.get("properties", {}).items()
        for note in ["" if field in required else " (optional)"]
    )
    about = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{about}</p><table>{rows}</table>'


def _kind(schema: dict[str, Any]) -> str:
    """A schema in one line of HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return escape(" or ".join(json.dumps(value) for value in schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}{_bounds(schema)}" if schema.get("items") else "list"
    return escape(str(schema.get("type", "anything"))) + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    """What a value is held to."""
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "minLength": "characters at least",
        "maxLength": "characters at most",
        "minItems": "entries at least",
        "maxItems": "entries at most",
        "maxProperties": "entries at most",
    }
    told = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return f" ({', '.join(told)})" if told else ""
