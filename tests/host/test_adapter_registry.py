"""Named adapters: whose they are, how long their weights are held, and what survives what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.adapters import random_peft

from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.errors import AdapterError
from pie.forward import SearchStart
from pie.host.adapter_registry import AdapterRegistry, NamedAdapter
from pie.host.adapter_store import MAX_ADAPTERS, AdapterStore
from pie.scheduler.weights import AdapterWeights
from pie.testing import write_random_model

START = SearchStart(rank=2, alpha=4.0, population=2, mu_fraction=0.5, sigma=0.1, seed=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    model = write_random_model(tmp_path_factory.mktemp("model"))
    return Engine(model, num_pages=4, backend="torch", threads=1)


@pytest.fixture
def device(engine: Engine) -> Iterator[DeviceThread]:
    """The engine's thread; afterwards no weights are left."""
    device = DeviceThread(engine)
    yield device
    device.close()
    assert len(engine.adapters) == 0


def registry_of(device: DeviceThread, store: AdapterStore) -> AdapterRegistry:
    return AdapterRegistry(device, store, AdapterWeights(device.free_adapter))


@pytest.fixture
def registry(device: DeviceThread, tmp_path: Path) -> AdapterRegistry:
    return registry_of(device, AdapterStore(tmp_path / "named", model="m"))


def version(adapter: NamedAdapter) -> str:
    if adapter.weights is None:
        raise AssertionError(f"{adapter.name} has no weights")
    return adapter.weights.version


async def begun(registry: AdapterRegistry, name: str, *, seed: int = 1) -> NamedAdapter:
    adapter = await registry.create("user", name)
    await registry.begin(adapter, SearchStart(2, 4.0, 2, 0.5, 0.1, seed))
    return adapter


@pytest.mark.parametrize("name", ["", "x" * 129, "two\nlines"])
async def test_a_name_that_nobody_could_list_is_refused(registry: AdapterRegistry, name: str) -> None:
    with pytest.raises(AdapterError) as refused:
        await registry.create("user", name)
    assert refused.value.code == "bad-adapter-name"
    taken = await registry.create("user", "x" * 128)
    with pytest.raises(AdapterError) as refused:
        await registry.fork(taken, name)
    assert refused.value.code == "bad-adapter-name"
    registry.close(taken)


async def test_names_belong_to_their_user(registry: AdapterRegistry) -> None:
    mine = await begun(registry, "a")
    assert await registry.open("other", "a") is None
    theirs = await registry.create("other", "a")
    assert theirs.weights is None
    with pytest.raises(AdapterError, match="adapter-exists"):
        await registry.create("user", "a")
    registry.close(mine)
    registry.close(theirs)


async def test_what_was_told_as_done_is_there_in_a_later_server(device: DeviceThread, tmp_path: Path) -> None:
    first = registry_of(device, AdapterStore(tmp_path, model="m"))
    adapter = await begun(first, "a")
    await first.update(adapter, scores=[1.0, 2.0], seeds=[5, 6], max_sigma=1.0)
    empty = await first.create("user", "empty")
    second = registry_of(device, AdapterStore(tmp_path, model="m"))  # the first one is not even closed
    again = await second.open("user", "a")
    still_empty = await second.open("user", "empty")
    if again is None or still_empty is None:
        raise AssertionError("an adapter is gone")
    assert version(again) == version(adapter)
    assert still_empty.weights is None
    await first.update(adapter, scores=[1.0, 2.0], seeds=[7, 8], max_sigma=1.0)
    await second.update(again, scores=[1.0, 2.0], seeds=[7, 8], max_sigma=1.0)
    assert version(again) == version(adapter)  # the state of the search was kept too
    for registry, named in ((first, adapter), (first, empty), (second, again), (second, still_empty)):
        registry.close(named)


async def test_a_copy_shares_weights_until_one_of_the_two_changes(registry: AdapterRegistry) -> None:
    one = await begun(registry, "one")
    two = await registry.fork(one, "two")
    assert one.weights == two.weights
    assert registry.weights.num_held == 1
    await registry.update(one, scores=[1.0, 2.0], seeds=[5, 6], max_sigma=1.0)
    assert version(one) != version(two)
    registry.destroy(one)
    assert registry.use(two, seed=3) is not None
    registry.close(one)
    registry.close(two)
    assert registry.weights.num_held == 0


async def test_all_handles_of_a_name_see_its_changes(registry: AdapterRegistry) -> None:
    one = await registry.create("user", "a")
    two = await registry.open("user", "a")
    if two is None:
        raise AssertionError("the name is gone")
    await registry.begin(one, START)
    assert two.weights == one.weights
    registry.close(one)
    assert registry.use(two, None) is not None
    registry.close(two)


async def test_weights_outlive_their_name_for_as_long_as_a_pass_needs_them(
    registry: AdapterRegistry, engine: Engine
) -> None:
    adapter = await begun(registry, "a")
    use = registry.use(adapter, None)
    if use is None:
        raise AssertionError("no weights")
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    registry.weights.keep_during(use.number, answer)
    registry.destroy(adapter)
    with pytest.raises(AdapterError, match="adapter-not-found"):
        registry.use(adapter, None)
    assert len(engine.adapters) == registry.weights.num_held == 1
    answer.cancel()
    await asyncio.sleep(0)
    assert registry.weights.num_held == 0


async def test_a_change_is_finished_and_let_go_of_when_who_asked_is_gone(registry: AdapterRegistry) -> None:
    adapter = await begun(registry, "a")
    before = version(adapter)
    update = asyncio.ensure_future(registry.update(adapter, scores=[1.0, 2.0], seeds=[5, 6], max_sigma=1.0))
    creation = asyncio.ensure_future(registry.create("user", "b"))
    await asyncio.sleep(0)
    update.cancel()
    creation.cancel()
    registry.close(adapter)
    await asyncio.gather(update, creation, return_exceptions=True)
    await registry.finish()
    assert registry.weights.num_held == 0
    again = await registry.open("user", "a")
    if again is None:
        raise AssertionError("the adapter is gone")
    assert version(again) != before
    registry.close(again)
    assert await registry.open("user", "b") is not None


async def test_an_adapter_destroyed_during_a_change_stays_destroyed(registry: AdapterRegistry) -> None:
    adapter = await begun(registry, "a")
    update = asyncio.ensure_future(registry.update(adapter, scores=[1.0, 2.0], seeds=[5, 6], max_sigma=1.0))
    await asyncio.sleep(0)
    registry.destroy(adapter)
    with pytest.raises(AdapterError, match="adapter-not-found"):
        await update
    assert await registry.open("user", "a") is None
    again = await registry.create("user", "a")
    assert again.weights is None
    registry.close(again)


async def test_of_many_who_take_a_name_at_once_one_gets_it(registry: AdapterRegistry) -> None:
    source = await begun(registry, "source")
    attempts = [registry.create("user", "wanted") for _ in range(4)] + [
        registry.fork(source, "wanted") for _ in range(4)
    ]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    winners = [one for one in results if isinstance(one, NamedAdapter)]
    assert len(winners) == 1
    assert {one.code for one in results if isinstance(one, AdapterError)} == {"adapter-exists"}
    for one in (source, *winners):
        registry.close(one)


async def test_a_load_that_fails_leaves_the_adapter_as_it_was(registry: AdapterRegistry, engine: Engine) -> None:
    adapter = await begun(registry, "a")
    before = version(adapter)
    files = random_peft(engine.config, 1, use_dora=True).files
    with pytest.raises(AdapterError, match="use_dora"):
        await registry.load(adapter, files)
    assert version(adapter) == before
    await registry.load(adapter, random_peft(engine.config, 1).files)
    assert version(adapter) != before
    registry.close(adapter)


async def test_a_damaged_file_is_told_when_its_name_is_opened(device: DeviceThread, tmp_path: Path) -> None:
    registry = registry_of(device, AdapterStore(tmp_path, model="m"))
    registry.close(await begun(registry, "a"))
    (path,) = tmp_path.rglob("*.adapter")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AdapterError, match="adapter-unusable"):
        await registry.open("user", "a")


async def test_a_user_has_so_many_adapters_and_no_more(registry: AdapterRegistry) -> None:
    for number in range(MAX_ADAPTERS):
        registry.close(await registry.create("user", str(number)))
    with pytest.raises(AdapterError, match="too-many-adapters"):
        await registry.create("user", "one more")
    registry.close(await registry.create("other", "one more"))
    first = await registry.open("user", "0")
    if first is None:
        raise AssertionError("the adapter is gone")
    registry.destroy(first)
    registry.close(await registry.create("user", "one more"))


async def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(device: DeviceThread, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    registry = registry_of(device, AdapterStore(tmp_path / "file", model="m"))
    with pytest.raises(AdapterError, match="adapter-not-saved"):
        await registry.create("user", "a")
