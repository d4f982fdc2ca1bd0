"""Which physical page holds the KV of which prefix.

The keys and values of a full page follow from the model, from all tokens and positions up to the page's end, and from
what their rows could see and which adapter they used, with which noise. A chained hash stands for all that; the
tenant's salt keeps tenants from finding, or timing, each other's prefixes. This module knows digests and page ids, no
contexts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from pie.forward import AdapterUse, Int32Array, PageId

__all__ = ["PrefixIndex", "page_digest", "page_key", "root_digest", "row_key"]

_DIGEST_BYTES = 32


def root_digest(*, salt: str, fingerprint: str) -> bytes:
    """The digest that the first page of a context is chained to: `[32 bytes]`, one per tenant and model."""
    key = hashlib.blake2b(salt.encode(), digest_size=_DIGEST_BYTES).digest()
    return hashlib.blake2b(fingerprint.encode(), digest_size=_DIGEST_BYTES, key=key).digest()


def page_digest(parent: bytes, token_ids: Int32Array, positions: Int32Array, masks: bytes) -> bytes:
    """The digest of one full page.

    Args:
        parent: digest of the page before, or `root_digest`.
        token_ids: the page's tokens, `[page_size]` i32.
        positions: their positions, `[page_size]` i32.
        masks: what else the rows follow from (see `page_key`).
    """
    content = parent + token_ids.tobytes() + positions.tobytes() + masks
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def row_key(adapter: AdapterUse, mask: bytes = b"") -> bytes:
    """What the KV of a row follows from that used an adapter, under an attention mask of this key: `[16 bytes]`."""
    return hashlib.blake2b(adapter.key + mask, digest_size=16).digest()


def page_key(rows: Mapping[int, bytes]) -> bytes:
    """One key for what the rows of a page follow from besides tokens, by their offset in it; empty if there is nothing.

    Args:
        rows: offset -> key of its attention mask, or `row_key` if it used an adapter; plain causal rows are not in it.
    """
    if not rows:
        return b""
    parts = b"".join(offset.to_bytes(4, "little") + rows[offset] for offset in sorted(rows))
    return hashlib.blake2b(parts, digest_size=32).digest()


class PrefixIndex:
    """Digest to page and back; a page stands under one digest at most."""

    def __init__(self) -> None:
        """Start empty."""
        self._pages: dict[bytes, PageId] = {}
        self._digests: dict[PageId, bytes] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, page: PageId) -> bool:
        return page in self._digests

    def find(self, digest: bytes) -> PageId | None:
        """The page that holds this prefix's last page, or None."""
        return self._pages.get(digest)

    def match(self, digests: Iterable[bytes]) -> list[PageId]:
        """The pages of the longest known beginning of a chain of digests."""
        pages = []
        for digest in digests:
            page = self._pages.get(digest)
            if page is None:
                break
            pages.append(page)
        return pages

    def insert(self, digest: bytes, page: PageId) -> bool:
        """Note that the page holds the prefix; False, and no change, if digest or page is known already."""
        if digest in self._pages or page in self._digests:
            return False
        self._pages[digest] = page
        self._digests[page] = digest
        return True

    def digests(self) -> Iterable[bytes]:
        """All that is known."""
        return self._pages.keys()

    def forget(self, page: PageId) -> bytes:
        """Drop what is known of a page, whose content is about to change; returns the digest it stood under."""
        digest = self._digests.pop(page)
        del self._pages[digest]
        return digest
