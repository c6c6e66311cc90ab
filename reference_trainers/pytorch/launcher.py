"""What `accelerate launch` was asked for, and did not do."""

from __future__ import annotations

import psutil

from reference_trainers.errors import InputError
from reference_trainers.world import World


def require_processes_asked_for(world: World) -> None:
    """Raises `InputError` where it started one process and was to start several.

    So it does with --cpu, and with MULTI_CPU in its config where no MPI is installed
    (accelerate/commands/launch.py, `simple_launcher`), and says nothing.
    """
    asked = processes_asked_for(words_of_the_parent()) if world.size == 1 else 1
    if asked > 1:
        raise InputError(
            f"accelerate launch was asked for {asked} processes and started one, as it "
            "does on a CPU: give it a config with distributed_type MULTI_GPU and "
            f"use_cpu true, or use torchrun --nproc_per_node {asked}."
        )


def processes_asked_for(words: list[str]) -> int:
    """Of the command line of the process that started this one; else 1."""
    if "launch" not in words or "accelerate" not in words[words.index("launch") - 1]:
        return 1
    # here: they are of accelerate's command, and no other run needs them
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    asked = launch_command_parser().parse_args(words[words.index("launch") + 1 :])
    if asked.num_processes is not None:
        return int(asked.num_processes)
    try:
        return int(load_config_from_file(asked.config_file).num_processes)
    except OSError:  # there is no default one
        return 1


def words_of_the_parent() -> list[str]:
    try:
        parent = psutil.Process().parent()
        return parent.cmdline() if parent else []
    except psutil.Error:  # gone, or another user's
        return []
