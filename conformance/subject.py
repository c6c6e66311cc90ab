"""Who is tested: the text after `--trainer`, and the trainer that it names."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from reference_trainers import ORACLE, InputError, Trainer, find_trainer

ENTRY_POINTS = "reference_trainers.trainers"
DISTRIBUTION = "reference-trainers"


@dataclass(frozen=True)
class Subject:
    """One trainer under test. Its text says who it is: any trainer may have any name.

    Runs, folders and processes are kept by the text.
    """

    text: str
    trainer: Trainer | None
    """None: it is a command."""
    command: tuple[str, ...] = ()
    """What starts it, where it is a command line: a spec file, or flags, follow. It
    leaves a run_report.json in the output folder, as `run --trainer NAME` does."""

    @classmethod
    def of(cls, text: str) -> Subject:
        """A text with a space in it is a command line.

        Raises `InputError` where there is no such trainer, or it cannot run here.
        """
        if " " not in text:
            return cls(text, find_trainer(text))
        command = tuple(shlex.split(text))
        if shutil.which(command[0]) is None:
            raise InputError(
                f"--trainer-command {text.strip()}: there is no {command[0]}."
            )
        return cls(text, None, command)

    @property
    def is_oracle(self) -> bool:
        """Whether it is the trainer that all others are held against."""
        return self.text == ORACLE

    @property
    def is_of_this_clone(self) -> bool:
        """Whether it stands in this project: it may run in pytest's own process."""
        if self.command:
            return False
        if ":" in self.text:
            return self.text.startswith(("conformance.", "fixtures."))
        found = entry_points(group=ENTRY_POINTS, name=self.text)
        return all(entry.dist and entry.dist.name == DISTRIBUTION for entry in found)

    @property
    def name(self) -> str | None:
        """What it calls itself; None: a command does not say."""
        return self.trainer.name if self.trainer else None

    @property
    def folder_name(self) -> str:
        return re.sub(r"[^\w.-]", "_", self.text)

    @property
    def trains_by_default(self) -> bool:
        """Whether it trains and evaluates where no do_* flag is given."""
        return bool(getattr(self.trainer, "trains_by_default", False))

    @property
    def refuses(self) -> Mapping[str, str]:
        """The flags that it says it cannot honour, with the sentence for each."""
        return getattr(self.trainer, "refuses", {})
