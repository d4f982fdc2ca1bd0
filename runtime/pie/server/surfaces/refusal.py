"""Refusals of HTTP requests: what is wrong with one, and how errors are told in OpenAI's form."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

from pie.errors import PieError, ProcessError, RequestError
from pie.host.served_models import ModelLoadFailed
from pie.server.limits import RateLimited

__all__ = [
    "OF_POOLS",
    "OF_TASKS",
    "RETRY_AFTER_S",
    "Refusal",
    "check_method",
    "codes_of",
    "headers_of",
    "request_failed",
    "status_of",
    "told",
]

BAD_REQUEST = frozenset(
    {
        "adapter-not-found",
        "bad-argument",
        "bad-ebnf",
        "bad-number",
        "bad-regex",
        "bad-request",
        "bad-sampler",
        "bad-schema",
        "bad-tools",
        "grammar-timeout",
        "grammar-too-large",
        "grammar-too-slow",
        "no-tool-format",
        "prompt-too-long",
        "too-large",
    }
)
"""Codes with which a program ends because of what it was asked."""

OF_BODIES = frozenset({"bad-json", "bad-value", "invalid-schema", "unsupported-field"})
"""Codes with which a surface refuses a body."""

OF_TASKS = frozenset({"task-not-found", "tasks-in-use", "tasks-not-stored", "too-many-tasks"})
"""Codes of tasks alone."""

OF_POOLS = frozenset(
    {"default-pool", "model-not-in-pool", "pool-not-found", "too-many-pools", "unknown-machine-profile"}
)
"""Codes of pools, and of requests that may name one."""

STATUS = {
    "model-not-in-pool": 400,
    "unknown-machine-profile": 400,
    "token-needed": 401,
    "model-not-served": 404,
    "pool-not-found": 404,
    "task-not-found": 404,
    "method-not-allowed": 405,
    "body-too-slow": 408,
    "default-pool": 409,
    "too-many-pools": 409,
    "body-too-large": 413,
    "rate-limit-exceeded": 429,
    "model-load-failed": 502,
    "adapter-loading": 503,
    "busy": 503,
    "model-loading": 503,
    "no-room": 503,
    "out-of-pages": 503,
    "program-not-found": 503,
    "shutting-down": 503,
    "tasks-in-use": 503,
    "tasks-not-stored": 503,
    "too-many-processes": 503,
    "too-many-tasks": 503,
    "terminated": 504,
}
"""The status of other errors, by their code; 500 of any that is in neither table."""

TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "service_unavailable"}
WORDS = {
    "adapter-loading": "LORA_LOADING",
    "model-load-failed": "MODEL_LOAD_FAILED",
    "model-loading": "MODEL_LOADING",
    "model-not-served": "model_not_found",
    "prompt-too-long": "context_exceeded",
    "no-tool-format": "tool_calling_not_configured",
    "adapter-not-found": "unknown_lora",
    "busy": "RESOURCE_EXHAUSTED",
    "no-room": "RESOURCE_EXHAUSTED",
    "out-of-pages": "RESOURCE_EXHAUSTED",
    "too-many-processes": "RESOURCE_EXHAUSTED",
    "too-many-tasks": "RESOURCE_EXHAUSTED",
    "terminated": "cancelled",
}
"""What clients of this form know a code as, where that is another word."""

RETRY_AFTER_S = 5
SOONER_S = {"adapter-loading": 1}
"""After how many seconds it is worth while to ask again, and where that is otherwise."""

LOAD_FAILURES = {
    "model-incomplete": "NOT_FOUND",
    "model-not-found": "NOT_FOUND",
    "no-weights": "NOT_FOUND",
    "not-enough-memory": "OOM",
}
"""Why a model could not be loaded, in the words of clients of SIE, by code; any other is UNKNOWN."""

MAY_PASS = frozenset({"OOM"})
"""Those of these words that may be otherwise when the server is started again, with nothing mended."""


class Refusal(RequestError):
    """A request that cannot be answered as it is.

    Attributes:
        param: the field that is at fault, such as `messages[0].role`; None where there is no one field.
        allowed: the methods that are answered where this one is not.
    """

    param: str | None = None
    allowed: str = ""

    def at(self, param: str) -> Self:
        """The same refusal, which names a field."""
        self.param = param
        return self


def check_method(method: str, *allowed: str) -> None:
    """Raise unless the method is one that is answered here.

    Raises:
        Refusal: `method-not-allowed`.
    """
    if method not in allowed:
        refusal = Refusal(
            "method-not-allowed", f"{method} is not answered here", remedy=f"Send a {' or a '.join(allowed)}."
        )
        refusal.allowed = ", ".join(allowed)
        raise refusal


def request_failed() -> ProcessError:
    """What a client is told of a defect of ours."""
    return ProcessError(
        "server-failed",
        "the server met an error of its own in this request",
        remedy="Report it with the log of the server.",
    )


def status_of(error: PieError) -> int:
    """The HTTP status that tells an error."""
    if error.code in STATUS:
        return STATUS[error.code]
    return 400 if isinstance(error, Refusal) or error.code in BAD_REQUEST else 500


def told(error: PieError) -> dict[str, Any]:
    """The body that tells an error."""
    status = status_of(error)
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = f"{error.cause}. {error.remedy}" if error.remedy else error.cause
    return {
        "error": {
            "message": message,
            "type": "context_length_exceeded" if error.code == "prompt-too-long" else kind,
            "param": error.param if isinstance(error, Refusal) else None,
            "code": _word(error),
            **(_load_failure(error) if isinstance(error, ModelLoadFailed) else {}),
        }
    }


def codes_of(status: int, own_codes: Collection[str] = ()) -> list[str]:
    """The codes that are told with a status, as clients read them; none for the status of all that is in no table.

    Args:
        status: of the response.
        own_codes: those that the surface tells of what only some surfaces do.
    """
    of_status = [code for code, told in STATUS.items() if told == status]
    codes = [code for code in of_status if code not in OF_TASKS | OF_POOLS or code in own_codes]
    if status == 400:
        codes += [*BAD_REQUEST, *OF_BODIES]
    return sorted({_known_as(code) for code in codes})


def headers_of(error: PieError) -> dict[str, str]:
    """The headers that go with an error."""
    code = {"x-sie-error-code": _word(error)}
    match status_of(error):
        case 429 if isinstance(error, RateLimited):
            return {"retry-after": str(error.retry_after_s), **code}
        case 503:
            return {"retry-after": str(SOONER_S.get(error.code, RETRY_AFTER_S)), **code}
        case 401:
            return {"www-authenticate": "Bearer", **code}
        case 405 if isinstance(error, Refusal):
            return {"allow": error.allowed, **code}
        case 408 | 413:
            return {"connection": "close", **code}  # the rest of the body is not read
        case _:
            return code


def _load_failure(error: ModelLoadFailed) -> dict[str, Any]:
    """What clients of SIE look at; a server tries to load each of its models once."""
    kind = LOAD_FAILURES.get(error.reason.code, "UNKNOWN")
    return {"error_class": kind, "permanent": kind not in MAY_PASS, "attempts": 1}


def _word(error: PieError) -> str:
    return _known_as(error.code)


def _known_as(word: str) -> str:
    return WORDS.get(word, word.replace("-", "_"))
