"""The statuses of answers in plain words, each with its remedy for the user."""

from __future__ import annotations

from reasonseg_ros.types import Status

PLAIN_WORDS: dict[Status, tuple[str, str]] = {
    Status.OK: ("Found", ""),
    Status.NO_TARGET: ("Nothing here fits", "Move the camera, or ask in other words."),
    Status.UNSURE: ("Not sure", "Check the marked objects; ask more precisely, or lower answer.min_confidence."),
    Status.UNPARSABLE: ("The model's answer could not be read", "Ask in other words; read the thought."),
    Status.TRUNCATED: ("The model wrote too much", "Ask again, or raise reasoner.max_new_tokens."),
    Status.CONTRADICTION: ("The model contradicts itself", "Ask in other words; read the thought."),
    Status.EMPTY_MASK: ("Located, but the mask is empty", "Drag a box around the object, or ask again."),
    Status.TIMEOUT: ("It took too long", "Ask again, or raise reasoner.time_limit_s."),
    Status.CANCELLED: ("Cancelled", ""),
    Status.REFUSED: ("Not accepted", "Correct what the reason names, and ask again."),
    Status.NO_FRAME: ("No image", "Check the camera and its topic."),
    Status.OUT_OF_MEMORY: ("Out of memory", "Use smaller images or a smaller model, or end other programs."),
    Status.UNAVAILABLE: ("The reasoning server cannot be reached", "Start the server, or check its address."),
    Status.LOST: ("Lost from view", "Ask again; the console shows where it was last seen."),
    Status.FAILED: ("Failed", "Read the reason; the node's log has more."),
}


def status_table() -> dict[str, dict[str, str]]:
    """`title` and `remedy` of each status, for browsers."""
    return {str(status): {"title": title, "remedy": remedy} for status, (title, remedy) in PLAIN_WORDS.items()}
