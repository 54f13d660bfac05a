"""When a provider that keeps failing is left alone, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 10
PAUSE = 10.0


class Breaker:
    """A circuit breaker: it opens after `failures` failed exchanges in a row.

    While it is open one exchange in `pause` seconds is let through as a probe, whether or not the
    one before has ended, so that a probe that hangs delays no other. Any success closes it: a
    provider that is well again is in use at most `pause` seconds after its next caller came.
    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, clock: Callable[[], float], *, failures: int = FAILURES, pause: float = PAUSE
    ) -> None:
        """Begin closed."""
        self._clock = clock
        self._failures = failures
        self._pause = pause
        self._row = 0
        self._next_probe: float | None = None

    @property
    def open(self) -> bool:
        """Whether the provider is being left alone."""
        return self._next_probe is not None

    def wait(self) -> float:
        """0.0 where an exchange may begin now, else the seconds until the next one may.

        0.0 from an open breaker is given once in `pause` seconds: whoever gets it is the probe.
        """
        if self._next_probe is None:
            return 0.0
        now = self._clock()
        if now < self._next_probe:
            return self._next_probe - now
        self._next_probe = now + self._pause
        return 0.0

    def succeeded(self) -> None:
        """The provider answered: closed."""
        self._row = 0
        self._next_probe = None

    def failed(self) -> None:
        """The provider failed. What began before it opened does not hold it open any longer."""
        self._row += 1
        if self._next_probe is None and self._row >= self._failures:
            self._next_probe = self._clock() + self._pause
