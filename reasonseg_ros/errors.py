"""What can go wrong, as one small tree. Every message states the offending value and the remedy."""


class ReasonSegError(Exception):
    """Base of all errors that this package raises on purpose."""


class InvalidInput(ReasonSegError, ValueError):
    """A value from outside (image, question, box, file) that cannot be used."""


class UnusableImage(InvalidInput):
    """An image that cannot be used. `reason` is short and always the same for the same fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ConfigError(ReasonSegError, ValueError):
    """A parameter out of its bounds, or parameters that contradict each other."""


class ModelError(ReasonSegError):
    """A checkpoint that is missing, damaged, or not of the kind that was asked for."""


class ServerError(ReasonSegError):
    """A remote reasoner that is away, refuses, or answers something else than its protocol."""


class OutOfMemory(ReasonSegError):
    """The device had no memory for this request; the next one may work."""


class RenderError(ReasonSegError):
    """The simulated tabletop cannot draw: no OpenGL, or no MuJoCo."""
