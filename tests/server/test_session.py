"""The protocol without a socket: which frames lead to what."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.keys import KEYS, public_key
from tests.server.mutations import mutated

from pie.server.auth import KeyDoorkeeper, OpenDoorkeeper
from pie.server.session import (
    CHALLENGE_S,
    MAX_BAD_FRAMES,
    Close,
    DeliverFile,
    Effect,
    Ignored,
    InstallProgram,
    LostFile,
    Send,
    Session,
)
from pie.server.uploads import UploadRoom, Uploads
from pie.server.users import Token, User, token_hash
from pie_client.chunks import CHUNK_BYTES, content_hash, split
from pie_client.keys import PrivateKey
from pie_client.messages import (
    AddProgram,
    AttachProcess,
    AuthByToken,
    AuthIdentify,
    AuthProve,
    CheckProgram,
    ClientMessage,
    LaunchDaemon,
    LaunchProcess,
    ListProcesses,
    McpResponse,
    Ping,
    Query,
    RegisterMcpServer,
    Response,
    SignalProcess,
    TransferFile,
    encode,
)

CHALLENGE = bytes(range(48))
DELAY_S = 1.5
MAX_UPLOAD_BYTES = 1 << 20


class Line:
    """A session with a clock of its own and the frames of one client."""

    def __init__(self, *, closed: bool = False, users: dict[str, User] | None = None) -> None:
        self.now_s = 0.0
        self.room = UploadRoom(4 * MAX_UPLOAD_BYTES)
        doorkeeper = KeyDoorkeeper(lambda: users or {}, "internal token") if closed else OpenDoorkeeper()
        self.session = Session(
            doorkeeper,
            Uploads(self.room, max_bytes=MAX_UPLOAD_BYTES),
            clock=lambda: self.now_s,
            draw_bytes=lambda size: CHALLENGE[:size],
            draw_delay_s=lambda: DELAY_S,
        )

    def say(self, message: ClientMessage) -> Sequence[Effect]:
        return self.session.receive(encode(message))

    def raw(self, **fields: object) -> Sequence[Effect]:
        return self.session.receive(msgspec.msgpack.encode(fields))


def answer(number: int, result: str, *, ok: bool = True, after_s: float = 0.0) -> list[Effect]:
    return [Send(Response(corr_id=number, ok=ok, result=result), after_s)]


def inside() -> Line:
    """A line whose client has come in."""
    line = Line()
    line.say(AuthIdentify(corr_id=1, username="me"))
    return line


def program(data: bytes, *, number: int = 5, announced: str | None = None) -> list[AddProgram]:
    return [
        AddProgram(
            corr_id=number,
            program_hash=announced or content_hash(data),
            manifest="the manifest",
            force_overwrite=True,
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )
        for chunk in split(data)
    ]


def test_without_authentication_a_name_is_enough() -> None:
    line = Line()
    assert line.say(AuthIdentify(corr_id=1, username="me")) == answer(
        1, "Authenticated (Engine disabled authentication)"
    )
    assert line.session.user == "me"
    assert line.say(Ping(corr_id=2)) == answer(2, "Pong")


def test_without_authentication_any_token_is_enough() -> None:
    line = Line()
    assert line.say(AuthByToken(corr_id=1, token="")) == answer(1, "Authenticated")
    assert line.session.user == "internal"


@pytest.mark.parametrize("name", ["", "x" * 129, "two\nlines", "nul\0"])
def test_a_name_that_is_none_is_not_authorized(name: str) -> None:
    line = Line()
    (effect,) = line.say(AuthIdentify(corr_id=1, username=name))
    assert isinstance(effect, Send)
    assert not effect.message.ok
    assert line.session.user is None


@pytest.mark.parametrize("key", KEYS)
def test_a_signature_of_the_challenge_comes_in(key: str) -> None:
    line = Line(closed=True, users={"me": User(keys={"other": public_key("p384"), "mine": public_key(key)})})
    assert line.say(AuthIdentify(corr_id=1, username="me")) == answer(1, base64.b64encode(CHALLENGE).decode())
    assert line.session.user is None
    signature = base64.b64encode(PrivateKey.parse(KEYS[key]).sign(CHALLENGE)).decode()
    assert line.say(AuthProve(corr_id=2, signature=signature)) == answer(2, "Authenticated")
    assert line.session.user == "me"


@pytest.mark.parametrize("key", KEYS)
def test_a_signature_of_something_else_does_not_come_in_and_waits(key: str) -> None:
    line = Line(closed=True, users={"me": User(keys={"mine": public_key(key)})})
    line.say(AuthIdentify(corr_id=1, username="me"))
    signature = base64.b64encode(PrivateKey.parse(KEYS[key]).sign(CHALLENGE[1:])).decode()
    assert line.say(AuthProve(corr_id=2, signature=signature)) == answer(
        2, "Signature verification failed", ok=False, after_s=DELAY_S
    )
    assert line.session.user is None


def test_a_challenge_is_good_for_one_attempt() -> None:
    line = Line(closed=True, users={"me": User(keys={"mine": public_key("ed25519")})})
    line.say(AuthIdentify(corr_id=1, username="me"))
    line.say(AuthProve(corr_id=2, signature="AAAA"))
    right = base64.b64encode(PrivateKey.parse(KEYS["ed25519"]).sign(CHALLENGE)).decode()
    assert line.say(AuthProve(corr_id=3, signature=right)) == answer(3, "No pending authentication", ok=False)


def test_a_challenge_expires() -> None:
    line = Line(closed=True, users={"me": User(keys={"mine": public_key("ed25519")})})
    line.say(AuthIdentify(corr_id=1, username="me"))
    line.now_s += CHALLENGE_S + 1
    right = base64.b64encode(PrivateKey.parse(KEYS["ed25519"]).sign(CHALLENGE)).decode()
    assert line.say(AuthProve(corr_id=2, signature=right)) == answer(2, "No pending authentication", ok=False)


def test_another_users_key_does_not_come_in() -> None:
    line = Line(
        closed=True,
        users={"me": User(keys={"k": public_key("ed25519")}), "you": User(keys={"k": public_key("p256")})},
    )
    line.say(AuthIdentify(corr_id=1, username="me"))
    signature = base64.b64encode(PrivateKey.parse(KEYS["p256"]).sign(CHALLENGE)).decode()
    (effect,) = line.say(AuthProve(corr_id=2, signature=signature))
    assert isinstance(effect, Send)
    assert not effect.message.ok


@pytest.mark.parametrize("signature", ["not base64!", "ä", "A"])
def test_a_signature_that_is_not_base64_is_told_so(signature: str) -> None:
    line = Line(closed=True, users={"me": User(keys={"mine": public_key("ed25519")})})
    line.say(AuthIdentify(corr_id=1, username="me"))
    (effect,) = line.say(AuthProve(corr_id=2, signature=signature))
    assert isinstance(effect, Send)
    assert effect.message.result.startswith("Invalid signature encoding: ")


@pytest.mark.parametrize("name", ["nobody", "without-keys"])
def test_who_has_no_key_is_not_authorized(name: str) -> None:
    line = Line(closed=True, users={"without-keys": User(tokens={"t": Token(token_hash("x"))})})
    assert line.say(AuthIdentify(corr_id=1, username=name)) == answer(1, f"User '{name}' is not authorized", ok=False)


@pytest.mark.parametrize(("token", "user"), [("internal token", "internal"), ("mine", "me")])
def test_a_token_comes_in_as_its_user(token: str, user: str) -> None:
    line = Line(
        closed=True, users={"me": User(tokens={"a": Token(token_hash("other")), "b": Token(token_hash("mine"))})}
    )
    assert line.say(AuthByToken(corr_id=1, token=token)) == answer(1, "Authenticated")
    assert line.session.user == user


@pytest.mark.parametrize("token", ["", "wrong", "ä", "internal token ", token_hash("mine")])
def test_a_wrong_token_waits_for_its_refusal(token: str) -> None:
    line = Line(closed=True, users={"me": User(tokens={"b": Token(token_hash("mine"))})})
    assert line.say(AuthByToken(corr_id=1, token=token)) == answer(1, "Invalid token", ok=False, after_s=DELAY_S)
    assert line.session.user is None


def test_who_is_in_stays_who_they_are() -> None:
    line = inside()
    assert line.say(AuthIdentify(corr_id=2, username="you")) == answer(2, "Already authenticated")
    assert line.say(AuthByToken(corr_id=3, token="x")) == answer(3, "Already authenticated")
    assert line.say(AuthProve(corr_id=4, signature="")) == answer(4, "Already authenticated", ok=False)
    assert line.session.user == "me"


def test_before_authentication_everything_else_is_ignored() -> None:
    line = Line(closed=True)
    assert line.say(Ping(corr_id=1)) == [Ignored("Ping before authentication")]
    assert line.say(program(b"x")[0]) == [Ignored("AddProgram before authentication")]
    assert line.room.num_taken == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "nonsense"},
        {"corr_id": 1},
        {"type": "ping"},
        {"type": "ping", "corr_id": "1"},
        {"type": "ping", "corr_id": -1},
        {"type": "ping", "corr_id": 1 << 32},
        {"type": "ping", "corr_id": 1.5},
        {"type": "signal_process", "process_id": b"x", "message": ""},
        {"type": "launch_process", "corr_id": 1, "inferlet": "x", "input": {}, "capture_outputs": True},
    ],
)
def test_what_is_no_message_is_ignored(fields: dict[str, object]) -> None:
    (effect,) = inside().raw(**fields)
    assert isinstance(effect, Ignored)


def test_what_is_told_of_a_bad_frame_is_one_short_line() -> None:
    (effect,) = inside().raw(type="two\nlines" + "x" * 1000)
    assert isinstance(effect, Ignored)
    assert len(effect.reason) <= 200
    assert "\n" not in effect.reason


def test_after_ten_such_frames_the_connection_is_closed() -> None:
    line = inside()
    for _ in range(MAX_BAD_FRAMES - 1):
        assert line.say(Ping(corr_id=1))
        assert [type(effect) for effect in line.session.receive(b"\xc1")] == [Ignored]
    _, close = line.session.receive(b"\xc1")
    assert isinstance(close, Close)
    assert (close.code, close.error.code) == (1007, "bad-message")


def test_keys_that_are_not_known_and_nil_are_no_fault() -> None:
    line = inside()
    assert line.raw(type="ping", corr_id=7, later={"a": [1]}) == answer(7, "Pong")
    expected = RegisterMcpServer(corr_id=8, name="x", transport="stdio", command="y", args=[])
    assert line.raw(
        type="register_mcp_server", corr_id=8, name="x", transport="stdio", command="y", args=[], url=None
    ) == [expected]


@pytest.mark.parametrize(
    "message",
    [
        CheckProgram(corr_id=1, name="x", version="1.0.0"),
        Query(corr_id=1, subject="model_status", record=""),
        LaunchProcess(corr_id=1, inferlet="x", input="{}", capture_outputs=True),
        AttachProcess(corr_id=1, process_id="x"),
        SignalProcess(process_id="x", message="y"),
        ListProcesses(corr_id=1),
        McpResponse(corr_id=1, ok=True, result=""),
    ],
)
def test_commands_are_to_be_carried_out_as_they_are(message: ClientMessage) -> None:
    assert inside().say(message) == [message]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, MAX_UPLOAD_BYTES])
def test_a_program_is_installed_with_its_last_chunk(size: int) -> None:
    line, data = inside(), bytes(size)
    *first, last = program(data)
    assert [line.say(message) for message in first] == [[] for _ in first]
    assert line.say(last) == [InstallProgram(5, data, "the manifest", True)]
    assert line.room.num_taken == 0


def refusal(line: Line, message: ClientMessage) -> str:
    (effect,) = line.say(message)
    assert isinstance(effect, Send)
    assert not effect.message.ok
    return effect.message.result


def test_a_program_begins_with_its_first_chunk() -> None:
    line = inside()
    assert refusal(line, program(bytes(CHUNK_BYTES + 1))[1]) == "First chunk index must be 0"
    assert line.room.num_taken == 0


def test_chunks_come_in_order_and_an_error_forgets_the_upload() -> None:
    line = inside()
    zero, _, two, three = program(bytes(3 * CHUNK_BYTES + 1))
    assert line.say(zero) == []
    assert refusal(line, two) == "Out-of-order chunk: expected 1, got 2"
    assert refusal(line, three) == "First chunk index must be 0"
    assert line.room.num_taken == 0


@pytest.mark.parametrize("total", [0, 1, 3])
def test_all_chunks_say_the_same_number_of_chunks(total: int) -> None:
    line = inside()
    zero, one = program(bytes(CHUNK_BYTES + 1))
    assert line.say(zero) == []
    assert refusal(line, msgspec.structs.replace(one, total_chunks=total)) == (
        f"Chunk count mismatch: expected 2, got {total}"
    )


def test_no_chunks_at_all_are_refused() -> None:
    (only,) = program(b"")
    assert refusal(inside(), msgspec.structs.replace(only, total_chunks=0)).startswith("Chunk count mismatch")


def test_a_program_that_is_too_large_is_refused_when_it_becomes_so() -> None:
    line = inside()
    *fitting, last = program(bytes(MAX_UPLOAD_BYTES + 1))
    assert [line.say(message) for message in fitting] == [[] for _ in fitting]
    assert refusal(line, last) == "upload exceeds max_upload_mb cap of 1 MiB"
    assert line.room.num_taken == 0


def test_a_program_must_have_the_hash_that_was_announced() -> None:
    (message,) = program(b"these", announced=content_hash(b"those"))
    assert content_hash(b"these") in refusal(inside(), message)


def test_two_programs_may_come_by_turns() -> None:
    line, one, two = inside(), bytes(CHUNK_BYTES + 1), b"x" * (CHUNK_BYTES + 1)
    turns = [message for pair in zip(program(one), program(two), strict=True) for message in pair]
    effects = [effect for message in turns for effect in line.say(message)]
    assert effects == [InstallProgram(5, one, "the manifest", True), InstallProgram(5, two, "the manifest", True)]


def file(data: bytes, process_id: str = "p", *, announced: str | None = None) -> list[TransferFile]:
    return [
        TransferFile(
            process_id=process_id,
            file_hash=announced or content_hash(data),
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )
        for chunk in split(data)
    ]


def test_a_file_is_delivered_with_its_last_chunk() -> None:
    line, data = inside(), bytes(CHUNK_BYTES + 1)
    first, last = file(data)
    assert line.say(first) == []
    assert line.say(last) == [DeliverFile("p", data)]


def test_the_same_file_may_go_to_two_processes_at_once() -> None:
    line, data = inside(), bytes(CHUNK_BYTES + 1)
    turns = [message for pair in zip(file(data, "p"), file(data, "q"), strict=True) for message in pair]
    assert [effect for message in turns for effect in line.say(message)] == [
        DeliverFile("p", data),
        DeliverFile("q", data),
    ]


def test_a_file_that_is_not_what_was_announced_is_told_to_who_looks_after_the_process() -> None:
    line = inside()
    (message,) = file(b"these", announced=content_hash(b"those"))
    (effect,) = line.say(message)
    assert isinstance(effect, LostFile)
    assert effect.process_id == "p"


def test_a_session_has_few_unfinished_uploads() -> None:
    line = inside()
    for number in range(16):
        assert line.say(program(bytes([number]) * (CHUNK_BYTES + 1))[0]) == []
    assert "16 uploads" in refusal(line, program(b"y" * (CHUNK_BYTES + 1))[0])
    line.session.close()
    assert line.room.num_taken == 0


def test_all_sessions_share_the_room_for_unfinished_uploads() -> None:
    line, other = inside(), inside()
    other.session = Session(OpenDoorkeeper(), Uploads(line.room, max_bytes=MAX_UPLOAD_BYTES), clock=lambda: other.now_s)
    other.say(AuthIdentify(corr_id=1, username="you"))
    for number in range(15):
        assert line.say(program(bytes([number]) * (CHUNK_BYTES + 1))[0]) == []
    assert other.say(program(bytes([16]) * (CHUNK_BYTES + 1))[0]) == []
    assert "use up" in refusal(other, program(bytes([17]) * (CHUNK_BYTES + 1))[0])
    line.session.close()
    assert other.say(program(bytes([17]) * (CHUNK_BYTES + 1))[0]) == []


def test_an_upload_that_does_not_go_on_is_forgotten() -> None:
    line, data = inside(), bytes(CHUNK_BYTES + 1)
    first, last = program(data)
    line.say(first)
    line.now_s += 61
    assert refusal(line, last) == "First chunk index must be 0"
    assert line.room.num_taken == 0


@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd_for_a_session(data: bytes) -> None:
    for effect in inside().session.receive(data):
        assert isinstance(effect, Ignored | Send | InstallProgram | DeliverFile | msgspec.Struct)


def test_ten_thousand_frames_with_bytes_changed_do_no_harm() -> None:
    """Each is a real message with a few bytes overwritten, taken out or put in; seeded, so that it can be repeated."""
    draw = random.Random(7)
    messages: list[ClientMessage] = [
        AuthIdentify(corr_id=1, username="me"),
        AuthByToken(corr_id=2, token="token"),
        Ping(corr_id=3),
        LaunchProcess(corr_id=4, inferlet="x@1.0.0", input='{"a": [1, 2.5, null]}', capture_outputs=True),
        LaunchDaemon(corr_id=5, port=80, inferlet="x", input="{}"),
        RegisterMcpServer(corr_id=6, name="x", transport="stdio", command="y", args=["a", "b"]),
        *program(b"0123456789"),
        *file(b"0123456789"),
    ]
    num_taken = 0
    line = inside()
    for turn in range(10_000):
        if turn % 5 == 0:  # the tenth frame that is no message would close it
            line.session.close()
            line = inside()
        effects = line.session.receive(mutated(messages, draw))
        num_taken += not any(isinstance(effect, Ignored | Close) for effect in effects)
    assert 200 < num_taken < 9800  # both kinds were there
