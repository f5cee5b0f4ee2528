"""Out-of-vocabulary words of a question: small models answer such questions anyway."""

from __future__ import annotations

from pathlib import Path

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.plain_text import words_of

_FUNCTION_WORDS = """
a about after again all also am an and another any anybody anyone anything are around as ask at away be because been
before being best both but by can cannot choose could did do does done down each either every everything fetch find
for from get give go got grab had hand has have having he help her here hers hey hi him his how i if in indicate
into is it item items its itself just kindly know last let like locate look made make mark may maybe me might mine
more most must my need needs no not nothing now object objects of off ok on once one ones only onto or order other
ought our out over pick picture please point put quickly really right robot see seek segment select shall she should
show so some somebody someone something somewhere soon spot suppose take tell than thank thanks that the their them
then there these they thing things this those to today together too try up us use used useful want wants was we well
were what whatever when where whether which while who whoever whom whose why will wish with within without would yes
you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words, which name no object."""


class Vocabulary:
    """The words that a checkpoint was trained on, from a text file with one word per line.

    Raises ModelError if the file is not such a text, or is empty.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.words = frozenset(read_text(path).split())
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"vocabulary {path} cannot be read: {error}") from error
        if not self.words:
            raise ModelError(f"vocabulary {path} is empty")

    def unknown_words(self, question: str) -> list[str]:
        """The out-of-vocabulary words, without function words."""
        return [word for word in words_of(question) if word not in self.words and word not in FUNCTION_WORDS]

    def unknown_share(self, question: str) -> float:
        """Share of out-of-vocabulary words among the words other than function words, 0 to 1; 0 without such words."""
        content = [word for word in words_of(question) if word not in FUNCTION_WORDS]
        return len(self.unknown_words(question)) / len(content) if content else 0.0
