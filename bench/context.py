"""What every workload is given."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.process import Receiver, Tocsin


@dataclass(kw_only=True, slots=True)
class Bench:
    """One run of the benchmarks."""

    home: Path
    quick: bool
    runs: int
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the nodes beyond the defaults."""
    _began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Tell who waits what is going on, on standard error."""
        seconds = time.monotonic() - self._began
        sys.stderr.write(f"[{seconds:6.1f} s] {text}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def node(self) -> Iterator[Tocsin]:
        """A node with an empty database, ready; as it is out of the box but for ``env``."""
        with self.directory() as directory:
            tocsin = Tocsin(directory, env=self.env)
            try:
                yield tocsin.start()
            finally:
                tocsin.close()

    @contextlib.contextmanager
    def receiver(self) -> Iterator[Receiver]:
        """A receiver with an empty log."""
        with self.directory() as directory:
            receiver = Receiver(directory)
            try:
                yield receiver
            finally:
                receiver.close()

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """An empty directory."""
        with tempfile.TemporaryDirectory(dir=self.home, ignore_cleanup_errors=True) as name:
            yield Path(name)
