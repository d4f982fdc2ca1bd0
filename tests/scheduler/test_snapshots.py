"""Saved contexts: they open again, in this process and a later one, with the same tokens; names, users and misuse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running

from pie.errors import ContextError
from pie.forward import DecodeRequest, ForwardRequest
from pie.scheduler.context import Context
from pie.scheduler.origins import RowOrigin
from pie.scheduler.snapshot_file import decode_metadata, encode_metadata, read_metadata, snapshot_path


async def test_a_saved_context_opens_in_a_later_process_and_goes_on(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        token = await feed(scheduler, context, prompt(1, 22))
        await scheduler.save(context, user="u", name="n")
        before = scheduler.describe(context)
        whole = await decode(scheduler, context, [token], max_tokens=30)
    later = FakeDevice()
    async with running(later, snapshot_dir=tmp_path) as scheduler:
        assert await scheduler.list_snapshots("u") == ["n"]
        for _ in range(2):
            context = await scheduler.open(user="u", name="n", owner="b")
            assert scheduler.describe(context) == before
            sink = await decode(scheduler, context, [token], max_tokens=30)
            assert sink.token_ids == whole.token_ids
        assert later.loads == 1
        assert scheduler.stats().computed_tokens == 60


async def test_an_opened_prefix_is_known_to_later_prompts(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a", salt="u")
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.save(context, user="u", name="n")
    async with running(snapshot_dir=tmp_path) as scheduler:
        await scheduler.open(user="u", name="n", owner="a", salt="u")
        await feed(scheduler, scheduler.create("a", salt="u"), prompt(1, 22))
        assert scheduler.stats().reused_tokens == 20


async def test_a_saved_context_does_not_change_with_what_it_was_saved_from(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        token = await feed(scheduler, context, prompt(1, 22))
        await scheduler.save(context, user="u", name="n")
        whole = await decode(scheduler, context, [token], max_tokens=10)
        opened = await scheduler.open(user="u", name="n", owner="a")
        await feed(scheduler, opened, prompt(9, 7))
        again = await scheduler.open(user="u", name="n", owner="a")
        assert (await decode(scheduler, again, [token], max_tokens=10)).token_ids == whole.token_ids


async def test_save_replaces_unless_told_not_to(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 5))
        await scheduler.save(context, user="u", name="n")
        await feed(scheduler, context, prompt(2, 5))
        with pytest.raises(ContextError, match="snapshot-exists: user 'u' already has a saved context 'n'"):
            await scheduler.save(context, user="u", name="n", overwrite=False)
        opened = await scheduler.open(user="u", name="n", owner="a")
        assert scheduler.describe(opened).num_tokens == 5
        await scheduler.save(context, user="u", name="n")
        opened = await scheduler.open(user="u", name="n", owner="a")
        assert scheduler.describe(opened).num_tokens == 10


@pytest.mark.parametrize("on_disk", [True, False])
async def test_take_and_delete_leave_nothing(tmp_path: Path, *, on_disk: bool) -> None:
    async with running(snapshot_dir=tmp_path if on_disk else None) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 9))
        for name in ("one", "two"):
            await scheduler.save(context, user="u", name=name)
        taken = await scheduler.take(user="u", name="one", owner="a")
        assert scheduler.describe(taken).num_tokens == 9
        await scheduler.delete(user="u", name="two")
        assert await scheduler.list_snapshots("u") == []
        for call in (scheduler.open(user="u", name="one", owner="a"), scheduler.delete(user="u", name="two")):
            with pytest.raises(ContextError, match="snapshot-not-found"):
                await call
        scheduler.release_owner("a")
        assert scheduler.ledger().held == 0
    assert not list(tmp_path.rglob("*.safetensors"))


async def test_names_are_any_text_and_belong_to_their_user(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "", "a/b", "Ünï\u0000", "x" * 5000, "x", "X", ".", "\U0001f600"]
    async with running(snapshot_dir=tmp_path / "saved") as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 5))
        for name in names:
            await scheduler.save(context, user="../u", name=name)
        assert await scheduler.list_snapshots("../u") == sorted(names)
        assert await scheduler.list_snapshots("v") == []
        with pytest.raises(ContextError, match="snapshot-not-found"):
            await scheduler.open(user="v", name="x", owner="a")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert len(list((tmp_path / "saved").rglob("*.safetensors"))) == len(names)


async def test_a_snapshot_gets_a_fresh_name() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 5))
        names = [await scheduler.snapshot(context, user="u") for _ in range(3)]
        assert len(set(names)) == 3
        assert await scheduler.list_snapshots("u") == sorted(names)


async def test_the_file_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    async with running(FakeDevice(make_info(model="first")), snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 5))
        await scheduler.save(context, user="u", name="n")
    others = {
        "with model 'second': it was made by model 'first'": make_info(model="second", fingerprint="beef"),
        "with model 'first': its pages hold 4 tokens, this server's hold 8": make_info(model="first", page_size=8),
    }
    for cause, info in others.items():
        async with running(FakeDevice(info), snapshot_dir=tmp_path) as scheduler:
            with pytest.raises(
                ContextError, match=f"snapshot-unusable: the saved context 'n' cannot be opened {cause}"
            ):
                await scheduler.open(user="u", name="n", owner="a")
            assert scheduler.ledger().held == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"token_ids": "[1]"},
        {"token_ids": "nonsense"},
        {"token_ids": "[[1, 2, 3, 4, 5]]"},
        {"token_ids": "[1, 2, 3, 4, 97]"},
        {"positions": "[0, 1, 2, 3, -4]"},
        {"positions": "[0, 1, 2, 3, 99999999999]"},
        {"committed_pages": "2", "page_masks": '["", ""]'},
        {"committed_pages": "-1"},
        {"page_masks": "[7]"},
        {"working_masks": "[]"},
        {"format": "pie-context/9"},
    ],
)
def test_a_damaged_header_is_refused(damage: dict[str, str]) -> None:
    info = make_info()
    context = Context(1, owner=None, root=b"r", page_size=4)
    context.append([1, 2, 3, 4, 5], range(5), {})
    context.push_committed(next(context.describe_working()))
    metadata = encode_metadata(context, info, user="u", name="n")
    assert decode_metadata(metadata, info, name="n", root=b"r").num_tokens == 5
    with pytest.raises(ContextError, match="snapshot-unusable"):
        decode_metadata({**metadata, **damage}, info, name="n", root=b"r")


NO_SNAPSHOTS = [b"", b"short", b"\xff" * 64, b"\x09" + bytes(7) + b"[1, 2, 3]", b"\x02" + bytes(7) + b"{}"]


@pytest.mark.parametrize("content", NO_SNAPSHOTS)
async def test_a_file_that_is_no_saved_context_is_refused(tmp_path: Path, content: bytes) -> None:
    path = snapshot_path(tmp_path, "u", "n", fingerprint=make_info().fingerprint)
    path.parent.mkdir()
    path.write_bytes(content)
    async with running(snapshot_dir=tmp_path) as scheduler:
        with pytest.raises(ContextError, match=r"snapshot-unusable: the saved context 'n' .* model 'fake'"):
            await scheduler.open(user="u", name="n", owner="a")
        assert await scheduler.list_snapshots("u") == []


async def test_masks_are_part_of_what_is_saved(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        await scheduler.reserve(context, 2)
        rows = ((0, 1), (0, 2), (2, 1), (0, 4), (0, 5), (3, 3))
        await scheduler.forward(ForwardRequest(context, prompt(1, 6), tuple(range(6)), attention_mask=rows))
        await scheduler.commit(context, 1)
        await scheduler.save(context, user="u", name="n")
        plain = scheduler.create("a")
        await feed(scheduler, plain, prompt(1, 6))
        assert scheduler.stats().reused_tokens == 0
    metadata = read_metadata(snapshot_path(tmp_path, "u", "n", fingerprint=make_info().fingerprint))
    assert metadata is not None
    assert json.loads(metadata["page_masks"])[0]
    assert list(json.loads(metadata["working_masks"])) == ["1"]


async def test_a_context_can_be_saved_and_forked_while_it_decodes(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        whole = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=60)
        context, sink = scheduler.create("a"), Collector()
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 60, frozenset(), 0), sink)
        while len(sink.token_ids) < 10:
            await asyncio.sleep(0)
        await scheduler.save(context, user="u", name="n")
        await sink.done.wait()
        assert sink.token_ids == whole.token_ids
        opened = await scheduler.open(user="u", name="n", owner="b")
        made = scheduler.describe(opened).num_tokens - 9
        rest = await decode(scheduler, opened, [whole.token_ids[made]], max_tokens=60 - made - 1)
        assert whole.token_ids[: made + 1] + rest.token_ids == whole.token_ids


async def test_a_save_that_fails_keeps_what_was_saved_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    async with running(device, snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 5))
        await scheduler.save(context, user="u", name="n")
        held = scheduler.ledger().held
        await feed(scheduler, context, prompt(1, 1))
        device.fail_save = OSError("no space left")
        with pytest.raises(ContextError, match=r"snapshot-not-saved: .*no space left"):
            await scheduler.save(context, user="u", name="n")
        opened = await scheduler.open(user="u", name="n", owner="a")
        assert scheduler.describe(opened).num_tokens == 5
        assert scheduler.ledger().held <= held + 1


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 96), max_size=30),
    committed=st.integers(0, 7),
    masked=st.sets(st.integers(0, 29), max_size=4),
)
def test_metadata_bring_back_the_same_context(tokens: list[int], committed: int, masked: set[int]) -> None:
    info = make_info()
    context = Context(1, owner=None, root=b"r", page_size=4)
    origins = {index: RowOrigin(bytes([index])) for index in masked if index < len(tokens)}
    context.append(tokens, range(len(tokens)), origins)
    for page in list(context.describe_working())[:committed]:
        context.push_committed(page)
    again = decode_metadata(encode_metadata(context, info, user="u", name="n"), info, name="n", root=b"r")
    assert [page.digest for page in again.committed()] == [page.digest for page in context.committed()]
    assert again.working_tokens == context.working_tokens
    assert again.working_positions == context.working_positions
    assert again.working_origins == context.working_origins


@pytest.mark.parametrize(("opener", "reused"), [("red", 16), ("blue", 8)])
async def test_an_opened_context_belongs_to_the_tenant_who_opened_it(opener: str, reused: int) -> None:
    async with running() as scheduler:
        context = scheduler.create("a", salt="red")
        await feed(scheduler, context, prompt(1, 8))
        await scheduler.save(context, user="u", name="n")
        opened = await scheduler.open(user="u", name="n", owner="a", salt=opener)
        await feed(scheduler, opened, prompt(2, 9))
        before = scheduler.stats().reused_tokens
        await feed(scheduler, scheduler.create("b", salt="red"), (*prompt(1, 8), *prompt(2, 9)))
        assert scheduler.stats().reused_tokens == before + reused
