"""Starts a script on the TPU of this machine: a process for each of its cores.

    python xla_spawn.py --num_cores 8 run_summarization.py --model_name_or_path ...

For torch-tpu, as torch_xla ends at torch 2.9. It was never run on a TPU.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import REMAINDER
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from reference_trainers import cli
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.report.stderr import import_noise_kept_off_stderr

GRACE = 30.0  # seconds: once one has failed, the others end by themselves, or never


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: that of the first process which did not end well; else 0."""
    parser = cli.OneSentenceParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--num_cores", type=int, default=1, help="Processes to start.")
    parser.add_argument("script")
    parser.add_argument("rest", nargs=REMAINDER, help="Flags of the script.")
    try:
        asked = parser.parse_args(arguments)
        require_a_tpu(asked.num_cores, asked.script)
        set_variables(asked.num_cores)
    except InputError as error:
        return cli.refused(error)
    return run([sys.executable, asked.script, *asked.rest], asked.num_cores)


def require_a_tpu(cores: int, script: str, devices: Path = Path("/dev")) -> None:
    """Raises `InputError`; torch-tpu itself would abort where there is no TPU."""
    here = len([*devices.glob("accel[0-9]*"), *devices.glob("vfio/[0-9]*")])
    if cores < 1:
        raise InputError(f"--num_cores {cores}: give 1 or more.")
    if not Path(script).is_file():
        raise InputError(f"{script}: no such script.")
    if find_spec("torch_tpu") is None:
        raise InputError(
            "xla_spawn.py: PyTorch needs torch-tpu for a TPU: where there is one, "
            "pip install torch-tpu; anywhere else start the script by torchrun."
        )
    if here < cores:
        raise InputError(
            f"--num_cores {cores}: this machine has {here} TPU cores ({devices}/accel* "
            f"and {devices}/vfio/*): give no more, or start the script by torchrun."
        )


def set_variables(cores: int) -> None:
    """What torch-tpu finds out for all processes, and how they meet."""
    try:
        with import_noise_kept_off_stderr():
            from torch.tpu import distributed

            distributed.set_tpu_launch_env(nnodes=1, nproc_per_node=cores)
    except (ImportError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(f"--num_cores {cores}: {sentence_of(error)}") from error
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(cores), "LOCAL_WORLD_SIZE": str(cores)}


def run(command: Sequence[str], cores: int) -> int:
    """Starts the processes, passes signals on, and waits; the exit status."""
    started: list[subprocess.Popen] = []

    def tell(number: int, _: object = None) -> None:
        for each in started:
            each.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, tell)
    for rank in map(str, range(cores)):
        own = {**os.environ, "RANK": rank, "LOCAL_RANK": rank}
        # In sessions of their own: a terminal's Ctrl-C would come twice
        started.append(subprocess.Popen(command, env=own, start_new_session=True))
    since = 0.0  # when one had failed
    while None in (ended := [each.poll() for each in started]):
        since = since or (time.monotonic() if any(ended) else 0.0)
        if since and time.monotonic() > since + GRACE:
            tell(signal.SIGKILL)  # it hears no other where it waits
        time.sleep(0.1)
    failed = next((status for status in ended if status), 0)
    return 128 - failed if failed < 0 else failed


if __name__ == "__main__":
    raise SystemExit(main())
