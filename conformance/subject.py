"""Who is tested: the text after `--trainer`, and the trainer that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points

from reference_trainers import ORACLE, Trainer, find_trainer

ENTRY_POINTS = "reference_trainers.trainers"
DISTRIBUTION = "reference-trainers"


@dataclass(frozen=True)
class Subject:
    """One trainer under test. Its text says who it is: any trainer may have any name.

    Runs, folders and processes are kept by the text.
    """

    text: str
    trainer: Trainer

    @classmethod
    def of(cls, text: str) -> Subject:
        """Raises `InputError` where there is no such trainer, or it cannot run here."""
        return cls(text, find_trainer(text))

    @property
    def is_oracle(self) -> bool:
        """Whether it is the trainer that all others are held against."""
        return self.text == ORACLE

    @property
    def is_of_this_clone(self) -> bool:
        """Whether it stands in this project: it may run in pytest's own process."""
        if ":" in self.text:
            return self.text.startswith(("conformance.", "fixtures."))
        found = entry_points(group=ENTRY_POINTS, name=self.text)
        return all(entry.dist and entry.dist.name == DISTRIBUTION for entry in found)

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
