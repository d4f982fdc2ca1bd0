"""Messages between processes of one user: queues (each message to one taker) and broadcasts (to every subscriber).

State of the whole runtime; a process reaches only the topics of its user.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque

__all__ = ["Subscription", "Topics"]

Key = tuple[str, str]  # (user, topic)
MAX_BACKLOG = 64


class Subscription:
    """One subscriber of a broadcast topic; holds up to 64 unread messages, then the oldest are dropped."""

    def __init__(self, topics: Topics, key: Key) -> None:
        """Made by `Topics.subscribe`."""
        self._topics = topics
        self._key = key
        self._unread: deque[str] = deque(maxlen=MAX_BACKLOG)
        self._arrival: asyncio.Future[None] | None = None

    def put(self, message: str) -> None:
        """Add a message and wake who waits for one."""
        self._unread.append(message)
        self._wake()

    def arrival(self) -> asyncio.Future[None]:
        """Done as soon as a message is unread or the subscription has ended."""
        if self._arrival is None or self._arrival.done():
            self._arrival = asyncio.get_running_loop().create_future()
        if self._unread or not self._topics.has(self._key, self):
            self._wake()
        return self._arrival

    def take(self) -> str | None:
        """The oldest unread message, or None."""
        return self._unread.popleft() if self._unread else None

    def unsubscribe(self) -> None:
        """Stop receiving; idempotent."""
        self._topics.drop(self._key, self)
        self._wake()

    close = unsubscribe

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Topics:
    """All queues and broadcast topics of a runtime."""

    def __init__(self) -> None:
        """Start with no topic."""
        self._queues: dict[Key, deque[str]] = {}
        self._takers: dict[Key, deque[asyncio.Future[str | None]]] = {}
        self._subscriptions: defaultdict[Key, set[Subscription]] = defaultdict(set)

    @property
    def num_open(self) -> int:
        """Topics that hold messages or have somebody who waits for some."""
        return len(self._queues) + len(self._takers) + len(self._subscriptions)

    def push(self, user: str, topic: str, message: str) -> None:
        """Append to a queue: exactly one `pull`, now or later, gets the message."""
        takers = self._takers.get((user, topic))
        while takers:
            taker = takers.popleft()
            if not takers:
                del self._takers[user, topic]
            if not taker.done():  # a taker that ended must not swallow the message
                taker.set_result(message)
                return
        self._queues.setdefault((user, topic), deque()).append(message)

    def pull(self, user: str, topic: str) -> asyncio.Future[str | None]:
        """The oldest message of a queue, as soon as there is one."""
        key = (user, topic)
        taker: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        queue = self._queues.get(key)
        if queue:
            taker.set_result(queue.popleft())
            if not queue:
                del self._queues[key]
        else:
            self._takers.setdefault(key, deque()).append(taker)
        return taker

    def broadcast(self, user: str, topic: str, message: str) -> None:
        """Give a message to everyone subscribed at this moment."""
        for subscription in tuple(self._subscriptions.get((user, topic), ())):
            subscription.put(message)

    def subscribe(self, user: str, topic: str) -> Subscription:
        """Receive what is broadcast from now on."""
        subscription = Subscription(self, (user, topic))
        self._subscriptions[user, topic].add(subscription)
        return subscription

    def has(self, key: Key, subscription: Subscription) -> bool:
        """Whether the subscription is still there."""
        return subscription in self._subscriptions.get(key, ())

    def drop(self, key: Key, subscription: Subscription) -> None:
        """End a subscription; idempotent."""
        subscriptions = self._subscriptions.get(key)
        if subscriptions is not None:
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[key]
