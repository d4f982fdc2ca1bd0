"""Texts and files from clients for processes: from whoever listens, or from their owner, who is answered."""

from __future__ import annotations

from pie.errors import PieError, ProcessError
from pie.server.peer import Peer
from pie.server.processes import Denied, Entry, ProcessTable
from pie.server.session import DeliverFile, LostFile
from pie_client.messages import Response, SignalProcess

__all__ = ["Delivery", "deliver"]

MAX_QUEUED = 10_000
MAX_QUEUED_BYTES = 64 << 20
Delivery = SignalProcess | DeliverFile | LostFile


def deliver(message: Delivery, processes: ProcessTable, *, user: str, peer: Peer) -> Response | None:
    """Give a process a text or a file.

    In the protocol of Pie 0.4 these messages have no answer, and are from the client that listens: what cannot be given
    is told on the stderr of the process. With a number they are answered, and the owner need not listen.
    """
    if message.corr_id is None:
        _deliver_of_listener(message, processes.heard_by(peer, message.process_id))
        return None
    try:
        _deliver_of_owner(message, processes.find(message.process_id, user=user))
    except (Denied, PieError) as error:
        return Response(corr_id=message.corr_id, ok=False, result=str(error))
    return Response(corr_id=message.corr_id, ok=True, result="Delivered")


def _deliver_of_listener(message: Delivery, entry: Entry | None) -> None:
    if entry is None or entry.transcript.is_over:
        return
    if isinstance(message, LostFile):
        entry.transcript.note(f"a file was not delivered: {message.error.code}: {message.error.cause}")
    elif _is_full(entry):
        what = "text" if isinstance(message, SignalProcess) else "file"
        entry.transcript.note(f"a {what} was not delivered: too much waits already for the process to take")
    else:
        _give(message, entry)


def _deliver_of_owner(message: Delivery, entry: Entry) -> None:
    if entry.transcript.is_over:
        raise ProcessError("process-ended", "the process has ended", remedy="Launch it again.")
    if isinstance(message, LostFile):
        raise Denied(f"{message.error.code}: {message.error.cause}")
    if _is_full(entry):
        raise ProcessError(
            "inbox-full", "too much waits already for the process to take", remedy="Try again when it has taken some."
        )
    _give(message, entry)


def _is_full(entry: Entry) -> bool:
    mailbox = entry.process.state.mailbox
    return mailbox.num_waiting >= MAX_QUEUED or mailbox.num_waiting_bytes >= MAX_QUEUED_BYTES


def _give(message: SignalProcess | DeliverFile, entry: Entry) -> None:
    mailbox = entry.process.state.mailbox
    if isinstance(message, SignalProcess):
        mailbox.deliver(message.message)
    else:
        mailbox.deliver_file(message.data)
