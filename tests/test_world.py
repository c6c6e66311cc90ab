"""Each launcher's variables tell the same about a process."""

from __future__ import annotations

import json

import pytest

from reference_trainers.errors import InputError
from reference_trainers.world import World, world_of

CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


def tf_config(kind: str, index: int, cluster: dict[str, list[str]] = CLUSTER) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


SAID = {
    "no launcher": ({}, World()),
    "torchrun": (
        {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"},
        World(5, 8, 1),
    ),
    "tensorflow chief": ({"TF_CONFIG": tf_config("chief", 0)}, World(0, 3)),
    "tensorflow worker": ({"TF_CONFIG": tf_config("worker", 1)}, World(2, 3)),
    "tensorflow alone": ({"TF_CONFIG": tf_config("worker", 0, {})}, World(0, 1)),
    "jax": ({"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}, World(1, 2)),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_a_launcher_says_who_this_process_is(said: tuple[dict, World]) -> None:
    environment, world = said
    assert world_of(environment) == world
    assert world.first == (world.rank == 0)


@pytest.mark.parametrize(
    "environment", [{"WORLD_SIZE": "two"}, {"TF_CONFIG": "{"}, {"TF_CONFIG": "[]"}]
)
def test_what_cannot_be_read_is_one_sentence(environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match="launcher's variables cannot be read"):
        world_of(environment)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set, and RANK is not."),
        ({"JAX_NUM_PROCESSES": "2"}, "and JAX_PROCESS_ID is not."),
        ({"TF_CONFIG": json.dumps({"cluster": CLUSTER})}, "and its task, with a type"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "2 processes, and this is number 2"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "-1"}, "Look at JAX_PROCESS_ID."),
        ({"TF_CONFIG": tf_config("worker", 2)}, "3 processes, and this is number 3"),
    ],
)
def test_what_cannot_be_is_said(environment: dict[str, str], sentence: str) -> None:
    """Or a process would wait for the others for ever."""
    with pytest.raises(InputError) as refused:
        world_of(environment)
    assert sentence in str(refused.value)
