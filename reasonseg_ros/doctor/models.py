"""Checks of the configured models, of the hub, and of the engine cache."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.doctor.finding import Finding, Wanted, fault, ok, warning
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.hub.memory import Fit, best_fit, machine_memory
from reasonseg_ros.hub.stored import Stored, stored
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.plain_text import one_line


@dataclass(frozen=True)
class ModelFacts:
    """One configured model.

    Attributes:
        kind: `reasoner` or `segmenter`.
        card, found, fit: its model card, its files on this machine, and its memory need; None if unknown.
        error: why there is no model card.
        offline: whether fetching is disabled.
        is_remote: whether it runs on a server.
        mismatch: how its export differs from the checkpoint; empty if it does not.
    """

    kind: str
    card: ModelCard | None = None
    found: Stored | None = None
    fit: Fit | None = None
    error: str = ""
    offline: bool = False
    is_remote: bool = False
    mismatch: str = ""


def look_at_models(wanted: Wanted) -> list[ModelFacts]:
    reasoner, segmenter = wanted.config.reasoner, wanted.config.segmenter
    return [
        _facts("reasoner", reasoner.model, reasoner.offline, reasoner.backend == "server"),
        _facts("segmenter", segmenter.model, segmenter.offline, False),
    ]


def _facts(kind: str, model: str, offline: bool, is_remote: bool) -> ModelFacts:
    try:
        card = load_card(model, kind)
        found = stored(card)
        fit = best_fit(found.parameters, machine_memory()) if found.parameters else None
        return ModelFacts(kind, card, found, fit, offline=offline, is_remote=is_remote, mismatch=_mismatch(card))
    except ReasonSegError as error:
        return ModelFacts(kind, error=one_line(str(error)))


def _mismatch(card: ModelCard) -> str:
    from reasonseg_ros.engine.export_folder import export_folder, export_mismatch

    folder = export_folder(card) if card.kind == "segmenter" else None
    return "" if folder is None or str(folder) == card.source else export_mismatch(folder, card)


def judge_models(facts: list[ModelFacts]) -> list[Finding]:
    return [finding for one in facts for finding in _judge_model(one)]


def _judge_model(facts: ModelFacts) -> list[Finding]:
    card, found = facts.card, facts.found
    if card is None or found is None:
        return [fault(f"{facts.kind}: {facts.error}", f"set {facts.kind}.model")]
    name = f"{facts.kind} {card.name}"
    knows = f", knows {card.knows} only" if card.knows else ""
    if facts.is_remote:
        return [ok(f"{name}{knows}, on a server"), *_licence(card)]
    fetch = f"run `reasonseg models fetch {card.name}`"
    lines: list[Finding]
    if found.folder is None:
        away = f"{name} is not on this machine"
        if card.is_folder:
            lines = [fault(f"{away}: no folder {card.source}", f"set {facts.kind}.model to a folder that is there")]
        elif facts.offline:
            lines = [fault(f"{away}, and {facts.kind}.offline is set", fetch)]
        else:
            lines = [warning(f"{away}; the node fetches it when it is configured", fetch)]
    elif not found.is_usable:
        missing = f"missing: {', '.join(found.missing)}" if found.missing else found.error
        lines = [
            fault(f"{name} in {found.folder}: {missing}", fetch if not card.is_folder else "copy the folder again")
        ]
    else:
        lines = [ok(f"{name}{knows}, {found.parameters / 1e6:.1f} million parameters, {found.folder}")]
    if facts.fit is not None and not facts.fit.is_enough:
        remedy = "use a smaller checkpoint, quantization, or a server (reasoner.backend: server)"
        lines.append(warning(f"{name} {facts.fit}", remedy))
    if facts.mismatch:
        text = f"the export of {card.name} {facts.mismatch}, so torch runs the checkpoint"
        lines.append(warning(text, f"export it again: `reasonseg export segmenter --model {card.name}`"))
    return [*lines, *_licence(card)]


def _licence(card: ModelCard) -> list[Finding]:
    stated = f"licence of {card.name}: {card.licence or 'not stated'}"
    if card.commercial_use == "not_allowed":
        return [warning(f"{stated}, which forbids commercial use", f"read it at {card.url}, or choose another model")]
    if card.commercial_use == "unclear":
        page = card.url or "its authors' page"
        return [
            warning(f"{stated}; whether commercial use is allowed is unclear", f"read {page}, and note it in a card")
        ]
    if card.gated:
        return [warning(f"{stated}; its files are gated", f"accept its terms at {card.url}, then run `hf auth login`")]
    return [ok(f"{stated}, commercial use allowed")]


@dataclass(frozen=True)
class HubFacts:
    """`asked`: whether the hub was queried; `errors` by model; `models`: hub ids that were looked up."""

    asked: bool
    errors: dict[str, str]
    models: tuple[str, ...]


def look_at_hub(wanted: Wanted) -> HubFacts:
    if not wanted.online:
        return HubFacts(False, {}, ())
    from reasonseg_ros.hub.fetching import plan

    errors, asked = {}, []
    for kind, model in (("reasoner", wanted.config.reasoner.model), ("segmenter", wanted.config.segmenter.model)):
        try:
            card = load_card(model, kind)
            if not card.is_folder:
                asked.append(card.source)
                plan(card)
        except ReasonSegError as error:
            errors[model] = one_line(str(error))
    return HubFacts(True, errors, tuple(asked))


def judge_hub(facts: HubFacts) -> list[Finding]:
    if not facts.asked:
        return [ok("the hub was not checked (--online)")]
    found = [fault(f"{model}: {error}", "see docs/models.md") for model, error in facts.errors.items()]
    reached = [model for model in facts.models if model not in facts.errors]
    stated = f"reached for {', '.join(reached)}" if reached else "no model of these settings is on the hub"
    return found or [ok(f"hub: {stated}")]


@dataclass(frozen=True)
class EngineFacts:
    folder: str
    engines: int = 0
    size_bytes: int = 0
    limit_bytes: int = 0
    unchecked: int = 0
    error: str = ""


def look_at_engines(wanted: Wanted) -> EngineFacts:
    try:
        from reasonseg_ros.engine.cache import EngineCache
    except ImportError:
        return EngineFacts("")
    cache = EngineCache(limit_gib=wanted.config.segmenter.engine_cache_gib)
    try:
        entries = cache.entries()
    except ReasonSegError as error:
        return EngineFacts(str(cache.folder), error=one_line(str(error)))
    sizes, unchecked = sum(entry.size_bytes for entry in entries), sum(not entry.check for entry in entries)
    return EngineFacts(str(cache.folder), len(entries), sizes, cache.limit_bytes, unchecked)


def judge_engines(facts: EngineFacts) -> list[Finding]:
    if facts.error:
        return [fault(facts.error, "remove the folder; engines are built again")]
    if not facts.engines:
        return [ok("no TensorRT engines in the cache")]
    text = f"{facts.engines} engines, {facts.size_bytes / 1e6:.1f} MB, in {facts.folder}"
    if facts.size_bytes > facts.limit_bytes:
        return [warning(f"{text}, more than segmenter.engine_cache_gib", "raise it, or run `reasonseg engine remove`")]
    unchecked = f"; {facts.unchecked} not yet compared with ONNX Runtime" if facts.unchecked else ""
    return [ok(text + unchecked)]
