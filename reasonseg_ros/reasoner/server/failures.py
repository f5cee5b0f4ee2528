"""Why a server gave no answer, and the remedy."""

from __future__ import annotations

import email.utils
import http.client
import math
import re
import ssl
import time

from reasonseg_ros.errors import ServerError
from reasonseg_ros.reasoner.server.completion import shown

_REMEDIES = {
    401: "check reasoner.server_key_variable",
    403: "check reasoner.server_key_variable",
    404: "check server_url (…/v1) and reasoner.server_model",
    413: "lower reasoner.max_pixels, or raise the server's limit",
}
_OF_THE_NAME = re.compile(r"\bmodel\b", re.IGNORECASE)
_OF_THE_LENGTH = re.compile(r"\bcontext (?:size|length|window)\b", re.IGNORECASE)


class Refusal(ServerError):
    """An HTTP status that is no success.

    Attributes:
        wait_s: seconds that the server asks to wait before the next request.
        may_be_unknown_model: the server may not know the model's name. Servers use 400 for every kind of bad request,
            so their words decide: vLLM's "this model's maximum context length" is not about the name.
    """

    def __init__(self, status: int, words: str, wait_s: float | None) -> None:
        stated = f"it refused with HTTP {status}" + (f": {words.rstrip('.')}" if words else "")
        super().__init__(f"{stated}; {_REMEDIES[status]}" if status in _REMEDIES else stated)
        self.status = status
        self.wait_s = wait_s
        names_it = bool(_OF_THE_NAME.search(words)) and not _OF_THE_LENGTH.search(words)
        self.may_be_unknown_model = status == 404 or (status == 400 and names_it)


def retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None if it holds neither."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)


def reason_of(error: Exception) -> str:
    """The reason for a failed request, in words for the user."""
    if isinstance(error, ServerError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        stated = f"its certificate is not trusted ({error.verify_message})"
        return f"{stated}; set SSL_CERT_FILE to the authority's certificate"
    if isinstance(error, http.client.IncompleteRead):
        return "it hung up in the middle; see the server's log"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return f"it cannot be reached ({shown(error.strerror or str(error))}); start it, or check server_url"
    if isinstance(error, http.client.HTTPException):
        return f"it does not speak HTTP/1.1 ({type(error).__name__}: {shown(str(error))}); check server_url"
    return f"{type(error).__name__}: {shown(str(error))}"
