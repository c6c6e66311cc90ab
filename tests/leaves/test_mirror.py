"""Flax and TensorFlow side by side: the same names in the same order, file by file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LEAVES = Path(__file__).parents[2] / "reference_trainers"
FILES = (
    "run_summarization",
    "backend",
    "processes",
    "layers",
    "t5",
    "generate",
    "permitted",
    "floor",
)
# What one framework needs and the other doesn't, and why
EXCEPTIONS = {
    "TrainState": "JAX's arrays are values: an update gives back all that it changed",
    "AdamW": "Keras's optimizer is a class to derive from, optax's a chain",
    "own_rows": "TensorFlow runs the program on each device; JAX cuts arrays itself",
    "Backend.typed": "JAX's arrays are placed anew; TensorFlow assigns to variables",
    "Backend.begun": "JAX's arrays are placed anew; TensorFlow assigns to variables",
    "update_program": "JAX is told where what it returns is to lie",
    "settle": "TensorFlow is settled before its processes meet, and its devices after",
    "all_processes": "a strategy of TensorFlow's is made once",
    "mirrored": "a strategy of TensorFlow's is made once",
    "adding": "JAX has a sum over processes ready, TensorFlow a strategy to write it",
    "replicas_of_process": "TensorFlow runs the program on each device",
    "replica_of_process": "TensorFlow runs the program on each device",
    "builder": "a JAX function gets its parameters as an argument",
    "Backend.call": "JAX keeps a program for each shape by itself",
    "Backend.reach": "TensorFlow gets a TPU by its name; JAX sees those that there are",
    "tpu_system": "TensorFlow gets a TPU by its name; JAX sees those that there are",
    "Backend.compiled": "JAX keeps a program for each shape by itself",
    "product_of_few": "XLA has one product for any number of rows",
    "rounded": "a CPU sums bfloat16 badly in TensorFlow alone",
    "copies": "TensorFlow sums three gradients or more in an order that may change",
    "Layer": "Keras would try a layer out to build it",
    "shifted": "TensorFlow has no operators on the bits of unsigned integers",
}


def names_in(leaf: str, file: str) -> list[str]:
    """Functions, classes and their methods, in the order in which they stand."""
    tree = ast.parse((LEAVES / leaf / f"{file}.py").read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            name = "Backend" if node.name.endswith("Backend") else node.name
            methods = [m.name for m in node.body if isinstance(m, ast.FunctionDef)]
            found += [name, *(f"{name}.{method}" for method in methods)]
    return [name.replace("__call__", "call") for name in found]


def excepted(name: str) -> bool:
    return name in EXCEPTIONS or name.partition(".")[0] in EXCEPTIONS


@pytest.mark.parametrize("file", FILES)
def test_the_leaves_have_the_same_names_in_the_same_order(file: str) -> None:
    flax, keras = (
        [name for name in names_in(leaf, file) if not excepted(name)]
        for leaf in ("flax", "tensorflow")
    )
    assert flax == keras


def test_no_exception_is_stale() -> None:
    pairs = [(names_in("flax", f), names_in("tensorflow", f)) for f in FILES]
    one_sided = {n for flax, keras in pairs for n in {*flax} ^ {*keras}}
    assert EXCEPTIONS.keys() <= one_sided


def test_every_leaf_has_files_of_the_same_names() -> None:
    # PyTorch has a second trainer, takes its model from transformers, and computes in
    # one process for each core of a TPU, where the others compute in one for all; Flax
    # says where each array lies
    ours = {
        *FILES,
        "__init__",
        "run_summarization_no_trainer",
        "arguments",
        "load",
        "dropout",
        "launcher",
        "masks",
        "placement",
        "sharded",
        "xla_spawn",
    }
    for leaf in ("pytorch", "tensorflow", "flax"):
        found = {path.stem for path in (LEAVES / leaf).glob("*.py")}
        assert found <= ours, f"{leaf} has a file that no other leaf has"
