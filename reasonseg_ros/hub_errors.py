"""What the client of the Hugging Face hub raises, as one line with the remedy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from reasonseg_ros.errors import ModelError
from reasonseg_ros.model_card import ModelCard

_LOG = logging.getLogger(__name__)


@contextmanager
def readable_errors(card: ModelCard) -> Iterator[None]:
    """Errors of the hub's client as one line with the remedy."""
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except ModelError:
        raise
    except GatedRepoError as error:
        remedy = f"accept its terms at {card.url or card.source}, then run `hf auth login`"
        raise ModelError(f"{card.source} is gated; {remedy}") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{card.source} has no revision {card.revision!r}; correct the model card") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the hub has no model {card.source}, or it is private; check the name") from error
    except OfflineModeIsEnabled as error:
        raise ModelError("HF_HUB_OFFLINE is set, so nothing is fetched from the hub; unset it") from error
    except Exception as error:  # of the client itself, its HTTP library or the file system
        _LOG.debug("the hub's client failed", exc_info=error)
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"{card.source} cannot be fetched: {reason}; check the network, and run it again to resume"
        ) from error
