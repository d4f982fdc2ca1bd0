"""`/health` and `/ws/cluster-status`: this machine as clients of SIE see a cluster."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.running import run_to_end
from tests.server.surfaces.client import post
from tests.server.test_loading import Loading, loading  # noqa: F401 - a fixture
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pie.runtime import Runtime
from pie.server.cluster.cluster import Cluster
from pie.server.cluster.replies import ClusterStatus, HealthReply
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")


def states(message: ClusterStatus) -> dict[str, str]:
    return {model.name: model.state for model in message.models}


async def received(websocket: ClientConnection) -> ClusterStatus:
    return msgspec.json.decode(await websocket.recv(), type=ClusterStatus)


async def test_a_reader_is_told_at_once_and_when_a_model_is_loaded(loading: Loading) -> None:  # noqa: F811
    server = loading.server
    async with connect(f"{server.url}/ws/cluster-status") as websocket:
        message = await received(websocket)
        assert states(message) == {"embedded_model": "loaded", "small": "loading"}
        assert (message.cluster.worker_count, message.cluster.models_loaded) == (1, 1)
        (worker,) = message.workers
        assert (worker.name, worker.url, worker.gpu) == (server.service.server_id, server.url, "cpu")
        assert (worker.healthy, worker.ready_gpu_slots, worker.loaded_models) == (False, 0, ["embedded_model"])
        assert 0 == worker.memory_used_bytes < worker.memory_total_bytes
        await loading.release()
        while (message := await received(websocket)).cluster.models_loaded == 1:
            pass
        assert states(message) == {"embedded_model": "loaded", "small": "loaded"}
        assert message.workers[0].healthy
    await everybody_has_left(server)


async def until_closed(websocket: ClientConnection) -> None:
    while True:
        await websocket.recv()


async def everybody_has_left(server: Server) -> None:
    async with asyncio.timeout(10):
        while server.service.num_sessions:
            await asyncio.sleep(0.001)


async def test_a_reader_is_told_again_and_again_until_it_or_the_server_leaves(
    shared_runtime: Runtime, tmp_path: Path
) -> None:
    settings = ServerSettings(port=0, authentication=False, grace_s=0)
    with listen(settings) as listening:
        async with serve(shared_runtime, settings, listening, home=tmp_path) as server:
            first = await connect(f"{server.url}/ws/cluster-status")
            async with connect(f"{server.url}/ws/cluster-status") as second:
                times = [(await received(second)).timestamp for _ in range(3)]
                assert times[0] < times[1] < times[2]
                assert server.service.num_sessions == 2
            async with asyncio.timeout(10):
                while server.service.num_sessions == 2:
                    await asyncio.sleep(0.001)
    with pytest.raises(ConnectionClosed):
        await until_closed(first)
    assert first.close_code == 1012
    assert server.service.num_sessions == 0


async def test_health_tells_what_is_there(server: Server, runtime: Runtime) -> None:
    reply = await post(server, "/health", b"", method="GET")
    health = msgspec.json.decode(reply.content, type=HealthReply)
    assert (health.status, health.type) == ("healthy", "gateway")
    assert health.live_gpu_types == health.configured_gpu_types == ["cpu"]
    assert [model.name for model in health.models] == list(runtime.models)
    assert reply.headers["x-sie-worker"] == health.workers[0].name


async def test_launches_are_counted_over_a_second(server: Server, runtime: Runtime, tmp_path: Path) -> None:
    now_s = 100.0
    cluster = Cluster(server.service, clock=lambda: now_s)
    assert cluster.status().cluster.total_qps == 0
    (tmp_path / "main.py").write_text("async def main(input):\n    return 1\n")
    for _ in range(3):
        await run_to_end(runtime, tmp_path / "main.py", {}, seed=1)
    now_s += 0.5
    assert cluster.status().cluster.total_qps == 0
    now_s += 1
    assert cluster.status().cluster.total_qps == 2


async def test_a_reader_shows_a_token_and_counts_as_a_session(runtime: Runtime, tmp_path: Path) -> None:
    settings = ServerSettings(port=0, max_connections=1, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{server.url}/ws/cluster-status")
            assert refused.value.response.status_code == 401
            body: Any = json.loads(refused.value.response.body)
            assert body["error"]["code"] == "token_needed"
            assert server.token_file is not None
            headers = {"Authorization": f"Bearer {server.token_file.read_text().strip()}"}
            async with connect(f"{server.url}/ws/cluster-status", additional_headers=headers) as one:
                await received(one)
                async with connect(f"{server.url}/ws/cluster-status", additional_headers=headers) as other:
                    with pytest.raises(ConnectionClosed):
                        await other.recv()
                    assert other.close_code == 1013
            await everybody_has_left(server)
