"""What a profile sets in a process before the trainer computes anything there.

Each step waits for the library that it changes: importing one takes seconds, and not
every trainer needs it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def float64_t5() -> None:
    """transformers' T5 keeps float64 throughout (see `fixtures.float64_t5`)."""
    from fixtures.float64_t5 import lift

    after_import("transformers.models.t5.modeling_t5", lift)


def tensorflow_devices(count: int) -> None:
    """TensorFlow sees so many CPUs; JAX learns the same from its environment."""
    after_import("tensorflow", partial(_split_the_cpu, count))


def _split_the_cpu(count: int, tensorflow: Any) -> None:
    config = tensorflow.config
    (cpu,) = config.list_physical_devices("CPU")
    parts = [config.LogicalDeviceConfiguration()] * count
    config.set_logical_device_configuration(cpu, parts)


def after_import(name: str, do: Callable[[Any], None]) -> None:
    """Calls ``do(module)`` as soon as the module of that name has been imported."""
    if name in sys.modules:
        do(sys.modules[name])
        return
    sys.meta_path.insert(0, _AfterImport(name, do))


class _AfterImport(MetaPathFinder):
    def __init__(self, name: str, do: Callable[[Any], None]):
        self.name = name
        self.do = do

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the others find; it may be asked for and never be loaded."""
        if fullname != self.name or self not in sys.meta_path:
            return None
        place = sys.meta_path.index(self)
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        sys.meta_path.insert(place, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                sys.meta_path.remove(self)
                execute(module)
                self.do(module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec
