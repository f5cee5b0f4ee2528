"""The configuration of the moment, shared by all that read it."""

from __future__ import annotations

from reasonseg_ros.config import Config


class Settings:
    """Holds the current `Config`. Whoever needs a setting reads `now` at each step, so a change holds from then on.

    A change replaces the whole `Config`, so one read is always consistent. Thread-safe.
    """

    def __init__(self, config: Config) -> None:
        self._now = config

    @classmethod
    def of(cls, config: Config | Settings) -> Settings:
        """Settings as they are; a `Config` as settings that nobody else changes."""
        return config if isinstance(config, Settings) else cls(config)

    @property
    def now(self) -> Config:
        return self._now

    def change(self, config: Config) -> None:
        self._now = config
