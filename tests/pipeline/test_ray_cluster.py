"""What a cluster has room for, and whether its head is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from clocks import Clock

from pipeline.ray import session as ray_session_module
from pipeline.ray.address import resolve_address
from pipeline.ray.cluster import HEAD_SECONDS, HeadWatch, Share, can_connect, choose_share, room_for, what_is_missing


@pytest.mark.parametrize(
    ("cpus", "gpus", "resources", "actors"),
    [
        (1, 0, {"CPU": 8.0}, 8),
        (3, 0, {"CPU": 8.0}, 2),
        (16, 0, {"CPU": 8.0}, 0),
        (0.5, 0, {"CPU": 2.0}, 4),
        (0.1, 0, {"CPU": 0.3}, 3),
        (1, 1, {"CPU": 8.0, "GPU": 4.0}, 4),
        (4, 1, {"CPU": 8.0, "GPU": 4.0}, 2),
        (1, 0.25, {"CPU": 8.0, "GPU": 1.0}, 4),
        (1, 1 / 3, {"CPU": 8.0, "GPU": 1.0}, 3),
        (1, 1, {"CPU": 8.0}, 0),
        (1, 0, {}, 0),
    ],
)
def test_a_node_has_room_for_whole_actors(cpus: float, gpus: float, resources: dict[str, float], actors: int) -> None:
    assert Share(cpus, gpus, "cuda" if gpus else "cpu").fits(resources) == actors


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "nodes", lambda: found)
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    return found


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Alive": alive, "Resources": dict(resources)}


def test_room_is_counted_node_by_node_and_lost_nodes_have_none(nodes: list[dict[str, Any]]) -> None:
    nodes += [node("a", CPU=3), node("b", CPU=3), node("c", alive=False, CPU=64), node("head", CPU=0)]
    assert room_for(Share(2, 0, "cpu")) == 2  # not 3


@pytest.mark.parametrize(
    ("cores", "cpus", "actors", "expected"),
    [
        ([8], None, None, 1),
        ([0, 2, 3], None, None, 1),
        ([8], None, 2, 4),
        ([8], None, 16, 1),
        ([8, 8], None, 2, 1),
        ([8], 1.5, 2, 1.5),
        ([], None, None, 1),
    ],
)
def test_without_gpus_an_actor_gets_what_is_given_or_a_core_or_its_part_of_the_only_node(
    nodes: list[dict[str, Any]], cores: list[float], cpus: float | None, actors: int | None, expected: float
) -> None:
    nodes += [node(str(number), CPU=each) for number, each in enumerate(cores)]
    assert choose_share("cpu", cpus, None, actors) == Share(expected, 0, "cpu")


def test_where_memory_is_short_actors_get_more_cores_each(nodes: list[dict[str, Any]]) -> None:
    nodes += [node("a", CPU=16, memory=64e9), node("b", CPU=16, memory=11e9), node("head", CPU=0, memory=4e9)]
    share = choose_share("cpu", None, None, None)
    assert share == Share(3, 0, "cpu")
    assert share.fits(nodes[1]["Resources"]) * 2e9 <= 11e9
    assert choose_share("cpu", 1, None, None) == Share(1, 0, "cpu")
    nodes[:] = [node("small", CPU=4, memory=1e9)]
    assert choose_share("cpu", None, None, None) == Share(4, 0, "cpu")


def test_with_gpus_an_actor_gets_one_and_a_core_if_nothing_is_given() -> None:
    assert choose_share("cuda", None, None, 7) == Share(1, 1, "cuda")
    assert choose_share("cuda", 2, 0.5, None) == Share(2, 0.5, "cuda")


def test_what_is_missing_is_told(nodes: list[dict[str, Any]]) -> None:
    nodes += [node("a", CPU=4), node("b", CPU=2, GPU=1)]
    assert what_is_missing(Share(2, 0, "cpu")) == "free in the cluster are 1 CPU, 0 GPU, perhaps on several nodes"
    assert what_is_missing(Share(1, 2, "cuda")) == "none of 2 nodes has as much, the largest has 2 CPU, 1 GPU"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_head_is_lost_when_nobody_has_answered_for_a_while(listener: socket.socket) -> None:
    clock = Clock()
    head = HeadWatch(f"127.0.0.1:{listener.getsockname()[1]}", clock)
    for _ in range(5):
        clock.now += HEAD_SECONDS
        assert head.answers()
        assert not head.is_lost()
    listener.close()
    clock.now += HEAD_SECONDS - 1
    assert not head.answers()
    assert not head.is_lost()
    clock.now += 2
    assert head.is_lost()


def test_a_driver_that_was_suspended_asks_before_it_believes_the_head_lost(listener: socket.socket) -> None:
    clock = Clock()
    head = HeadWatch(f"127.0.0.1:{listener.getsockname()[1]}", clock)
    clock.now += 10 * HEAD_SECONDS
    assert not head.is_lost()


def test_why_nobody_can_be_reached_is_returned(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert can_connect(f"ray://127.0.0.1:{port}", 1) is None
    listener.close()
    assert isinstance(can_connect(f"127.0.0.1:{port}", 1), ConnectionRefusedError)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, "", "local"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        (None, "http://127.0.0.1:8265", "local"),
        ("local", "10.0.0.1:6379", "local"),
        ("auto", "", "auto"),
        ("auto", "10.0.0.1:6379", "10.0.0.1:6379"),
        ("head", "", "head:6379"),
        ("head:1234", "10.0.0.1:6379", "head:1234"),
        ("ray://head:10001", "", "ray://head:10001"),
    ],
)
def test_which_cluster_is_meant(given: str | None, environment: str, expected: str) -> None:
    assert resolve_address(given, environment) == expected


def test_where_the_latest_cluster_of_this_machine_is_gone_auto_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setattr(ray_session_module, "clusters_here", lambda: {address})
    ray_session_module._refuse_unreachable("auto")
    listener.close()
    with (
        pytest.raises(ConnectionError, match=rf"Ray at the cluster of this machine: .*nobody answers \({address}: "),
        ray_session_module.ray_session("auto"),
    ):
        pass


@pytest.mark.parametrize("given", [None, "40"])
def test_a_head_that_is_lost_while_it_is_connected_to_is_tried_a_few_times_alone(
    given: str | None, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """Ray's own twenty attempts take a quarter of an hour."""
    variable, seen = ray_session_module.ATTEMPTS_VARIABLE, list[str | None]()
    monkeypatch.delenv(variable, raising=False)
    if given:
        monkeypatch.setenv(variable, given)

    def init(**_: object) -> None:
        seen.append(os.environ.get(variable))
        raise RuntimeError("Failed to connect")

    monkeypatch.setattr(ray, "init", init)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ConnectionError, match="Failed to connect"), ray_session_module.ray_session(address):
        pass
    assert seen == [given or "2"]
    assert os.environ.get(variable) == given
