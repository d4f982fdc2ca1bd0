"""The errors of contexts, pages and passes, one function per code, so that wording and remedy stand in one place."""

from __future__ import annotations

from pie.errors import ContextError, ProcessError, RequestError, UsageError

__all__ = [
    "bad_bid",
    "bad_index",
    "bad_mask",
    "bad_request",
    "bad_token_budget",
    "bad_token",
    "constraint_failed",
    "context_busy",
    "context_gone",
    "discarded_page",
    "empty_pass",
    "not_committable",
    "not_discardable",
    "no_room",
    "out_of_pages",
    "positions_mismatch",
    "prompt_too_long",
    "readout_failed",
    "shutting_down",
    "snapshot_exists",
    "snapshot_not_found",
    "snapshot_not_saved",
    "snapshot_unusable",
    "step_failed",
    "token_budget_spent",
    "unknown_context",
]


def unknown_context(context: int) -> ContextError:
    """No context has this id, or it was destroyed."""
    return ContextError(
        "context-destroyed",
        f"there is no context {context}, or it was destroyed",
        remedy="Create, fork or open a context and use it before it is destroyed.",
    )


def context_gone(context: int) -> ContextError:
    """The context was destroyed while something waited for it."""
    return ContextError(
        "context-destroyed",
        f"context {context} was destroyed before this was done",
        remedy="Wait for a context's passes before destroying it.",
    )


def context_busy(context: int, what: str) -> ContextError:
    """The context is being extended by a decode."""
    return ContextError(
        "context-busy",
        f"context {context} cannot {what} while a decode extends it",
        remedy="Cancel the decode or wait for its end.",
    )


def no_room(*, wanted: int, working_pages: int, working_tokens: int, page_size: int) -> ContextError:
    """The reserved pages do not hold the tokens of a pass."""
    room = working_pages * page_size - working_tokens
    return ContextError(
        "no-room",
        f"{wanted} tokens do not fit: {working_pages} working pages of {page_size} tokens hold {working_tokens}, "
        f"which leaves room for {room}",
        remedy=f"Reserve {-(-(wanted - room) // page_size)} more working pages before the pass.",
    )


def not_committable(cause: str) -> ContextError:
    """The first working pages cannot become committed ones."""
    return ContextError(
        "not-committable", cause, remedy="Commit only full pages whose positions increase from token to token."
    )


def not_discardable(*, first: int, wanted: int, committed: int) -> ContextError:
    """Only committed pages can be discarded."""
    return ContextError(
        "not-discardable",
        f"{wanted} pages from page {first} on are not all committed: {committed} are",
        remedy="Discard pages that are full and committed.",
    )


def discarded_page(context: int, page: int, index: int | None = None) -> ContextError:
    """A row of a pass may see a page whose memory was given back."""
    who = "a generation" if index is None else f"input token {index}"
    return ContextError(
        "discarded-page",
        f"{who} may see page {page} of context {context}, which was discarded",
        remedy="Mask all keys of discarded pages in every row of every pass.",
    )


def out_of_pages(*, wanted: int, free: int, total: int) -> ContextError:
    """The KV cache has no room, now or ever."""
    return ContextError(
        "out-of-pages",
        f"{wanted} KV pages are needed, {free} of {total} can be had",
        remedy="Destroy contexts that are no longer needed, use shorter ones, or give the server more KV pages.",
    )


def bad_bid(bid: float) -> ContextError:
    """A bid that is no amount of credits."""
    return ContextError("bad-bid", f"a bid of {bid} is not a number >= 0", remedy="Bid 0 or more.")


def bad_token_budget(total: int) -> UsageError:
    """A token budget that allows nothing."""
    return UsageError(
        "bad-token-budget", f"a token budget of {total}", remedy="Give at least one token, or no budget at all."
    )


def token_budget_spent(total: int) -> ProcessError:
    """A program has put all the tokens into its contexts that it was given."""
    return ProcessError(
        "token-budget-spent",
        f"the token budget of {total} is used up",
        remedy="Launch the program with a larger budget, or let it read and generate less.",
    )


def empty_pass() -> RequestError:
    """A pass without tokens."""
    return RequestError("empty-pass", "a forward pass has no input tokens", remedy="Give it at least one token.")


def bad_token(token_id: int, vocab_size: int) -> RequestError:
    """A token id outside the vocabulary."""
    return RequestError(
        "bad-token",
        f"token {token_id} is not in the vocabulary of {vocab_size}",
        remedy="Use token ids of the model's own tokenizer.",
    )


def bad_index(index: int, num_tokens: int) -> RequestError:
    """A readout of a row that the pass does not have."""
    return RequestError(
        "bad-index",
        f"a readout asks for row {index} of a pass of {num_tokens} tokens",
        remedy="Index the input tokens of the pass from 0.",
    )


def bad_mask(cause: str) -> RequestError:
    """A mask of the wrong size."""
    return RequestError("bad-mask", cause, remedy="Give one attention row per token and one bit per vocabulary entry.")


def bad_request(cause: str, *, remedy: str) -> RequestError:
    """Any other setting out of its range."""
    return RequestError("bad-request", cause, remedy=remedy)


def positions_mismatch(cause: str) -> RequestError:
    """Positions that do not match the tokens or are negative."""
    return RequestError("bad-positions", cause, remedy="Give one position from 0 on for each token.")


def prompt_too_long(position: int, max_positions: int) -> RequestError:
    """A token beyond the model's context length."""
    return RequestError(
        "prompt-too-long",
        f"a token would stand at position {position}, the model has {max_positions} positions",
        remedy="Shorten the prompt or drop the oldest part of the conversation.",
    )


def readout_failed(cause: str) -> RequestError:
    """The device could not answer one readout."""
    return RequestError("readout-failed", cause, remedy="Check the sampler, mask and probe of this readout.")


def step_failed(error: BaseException) -> RequestError:
    """The device failed in the step that this request was part of."""
    return RequestError(
        "step-failed",
        f"the device failed in this step: {type(error).__name__}: {error}",
        remedy="Try again; if it fails again, look at the server's log.",
    )


def shutting_down() -> RequestError:
    """The server ends."""
    return RequestError("shutting-down", "the server is shutting down", remedy="Try again when it is back.")


def snapshot_not_found(user: str, name: str) -> ContextError:
    """Nothing is saved under the name."""
    return ContextError(
        "snapshot-not-found",
        f"user {user!r} has no saved context {name!r}",
        remedy="Save a context under this name first; names are case-sensitive and per user.",
    )


def snapshot_exists(user: str, name: str) -> ContextError:
    """Something is saved under the name and must not be replaced."""
    return ContextError(
        "snapshot-exists",
        f"user {user!r} already has a saved context {name!r}",
        remedy="Choose another name, delete the old one, or save with overwrite.",
    )


def snapshot_not_saved(name: str, error: Exception) -> ContextError:
    """A context's file, or its row in the index, cannot be written."""
    return ContextError(
        "snapshot-not-saved",
        f"the context could not be saved as {name!r}: {error}",
        remedy="Make room on the disk or let the server write to its data folder; what was saved before is unchanged.",
    )


def snapshot_unusable(name: str, model: str, cause: str) -> ContextError:
    """A saved context cannot be opened with the model that is served."""
    return ContextError(
        "snapshot-unusable",
        f"the saved context {name!r} cannot be opened with model {model!r}: {cause}",
        remedy="Open it with the model and page size it was saved with, or delete it and save again.",
    )


def constraint_failed(error: BaseException) -> RequestError:
    """The constraint of a decode raised."""
    return RequestError(
        "constraint-failed",
        f"the constraint of a decode failed: {type(error).__name__}: {error}",
        remedy="Check the grammar or the mask that the constraint makes.",
    )
