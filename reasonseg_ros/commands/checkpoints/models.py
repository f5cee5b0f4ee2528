"""`reasonseg models list|show|fetch|check`: the model cards, and their checkpoints on this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reasonseg_ros.model_card import KINDS, ModelCard, card_names, find_card
from reasonseg_ros.plain_text import one_line

if TYPE_CHECKING:
    from reasonseg_ros.hub.memory import MachineMemory
    from reasonseg_ros.hub.stored import Stored

USE = {"allowed": "commercial use allowed", "not_allowed": "NON-COMMERCIAL only", "unclear": "commercial use unclear"}
CHECK_FAILED = 1


def register(verbs: Any) -> None:
    models = verbs.add_parser("models", help="list, show, fetch and check the models")
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)

    listed = actions.add_parser("list", help="the model cards with size, licence, and whether they fit this machine")
    listed.add_argument("--kind", choices=KINDS, help="only models of this kind")
    listed.add_argument("--json", action="store_true", help="print JSON")
    listed.set_defaults(action=_list)

    show = actions.add_parser("show", help="show everything known about a model")
    _add_model(show)
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(action=_show)

    fetch = actions.add_parser(
        "fetch", help="fetch a model from the Hugging Face hub",
        description="Fetch a model into the hub's cache (HF_HUB_CACHE), and compare every file with the hub's "
        "checksum. An interrupted fetch continues with the missing files. HF_ENDPOINT names a mirror.",
    )  # fmt: skip
    _add_model(fetch)
    fetch.add_argument("--dry-run", action="store_true", help="only print what would be fetched")
    fetch.set_defaults(action=_fetch)

    check = actions.add_parser(
        "check", help="run a model on a picture with known answers",
        description="Load the model on this machine and run it on a picture with known answers. Exit status: 0 all "
        "are right, 1 one is wrong.",
    )  # fmt: skip
    _add_model(check)
    check.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides",
        help="the node's parameters, for example reasoner.device=cuda",
    )  # fmt: skip
    check.set_defaults(action=_check)

    models.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model card, folder or hub id")


def _list(settings: argparse.Namespace) -> None:
    from reasonseg_ros.hub.memory import machine_memory
    from reasonseg_ros.hub.stored import stored

    memory = machine_memory()
    rows = [(card, stored(card)) for card in map(find_card, card_names(settings.kind))]
    if settings.json:
        _print_json([_values(card, found, memory) for card, found in rows])
        return
    width = max(len(card.name) for card, _ in rows)
    for card, found in rows:
        count = f"{found.parameters / 1e6:.1f} M" if found.parameters else "?"
        state = _state(found).partition(" (")[0]
        fit = _fit(found, memory)
        print(f"{card.name:<{width}}  {card.kind:<9}  {count:>8}  {state:<9}  {fit}; {_terms(card)}")


def _show(settings: argparse.Namespace) -> None:
    from reasonseg_ros.hub.memory import machine_memory
    from reasonseg_ros.hub.stored import stored

    card = find_card(settings.model)
    found, memory = stored(card), machine_memory()
    if settings.json:
        _print_json(_values(card, found, memory))
        return
    lines = {
        "kind": card.kind,
        "source": card.source if card.is_folder else f"{card.source}, revision {card.revision}",
        "page": card.url,
        "licence": _terms(card),
        "knows": f"{card.knows} only" if card.knows else "",
        "parameters": f"{found.parameters / 1e6:.1f} million" if found.parameters else "not stated",
        "on this machine": _state(found),
        "weights": _fit(found, memory),
    }
    for name, text in lines.items():
        if text:
            print(one_line(f"{name:<16} {text}"))


def _fetch(settings: argparse.Namespace) -> None:
    from reasonseg_ros.hub.fetching import fetch, plan

    card = find_card(settings.model)
    planned = plan(card)
    total_mb, missing_mb = sum(planned.files.values()) / 1e6, planned.missing_bytes / 1e6
    print(one_line(f"{card.source} at {planned.commit[:12]}: {_terms(card)}"))
    stated = f"{len(planned.files)} files, {total_mb:.1f} MB, of which {missing_mb:.1f} MB are not here"
    print(f"{stated}; {planned.free_bytes / 1e9:.1f} GB free")
    if not settings.dry_run:
        folder = fetch(card, planned)
        print(f"{folder}: all files are here, and their checksums are right")


def _check(settings: argparse.Namespace) -> int:
    from reasonseg_ros.commands.options import set_values
    from reasonseg_ros.config import config_from
    from reasonseg_ros.hub.checking import check_model

    card = find_card(settings.model)
    result = check_model(settings.model, card.kind, config_from(set_values(settings.overrides)))
    print(one_line(f"{card.name}: {result.text}"))
    return 0 if result.is_right else CHECK_FAILED


def _state(found: Stored) -> str:
    if found.folder is None:
        return "not here"
    if found.error:
        return f"damaged ({found.error})"
    if found.missing:
        return f"not whole ({', '.join(found.missing)} missing in {found.folder})"
    return f"here ({found.size_bytes / 1e6:.1f} MB in {found.folder})"


def _terms(card: ModelCard) -> str:
    """The licence, whether it allows commercial use, and whether the model is gated."""
    gate = ["gated: accept its terms on its page first"] if card.gated else []
    return ", ".join([card.licence or "licence not stated", USE[card.commercial_use], *gate])


def _fit(found: Stored, memory: MachineMemory) -> str:
    from reasonseg_ros.hub.memory import best_fit

    return str(best_fit(found.parameters, memory)) if found.parameters else "memory not known"


def _values(card: ModelCard, found: Stored, memory: MachineMemory) -> dict[str, Any]:
    from reasonseg_ros.hub.memory import best_fit

    fit = best_fit(found.parameters, memory) if found.parameters else None
    here = {**asdict(found), "folder": str(found.folder) if found.folder else None, "is_usable": found.is_usable}
    fits = {**asdict(fit), "is_enough": fit.is_enough} if fit else None
    return {"card": asdict(card), "stored": here, "fit": fits}


def _print_json(values: Any) -> None:
    from reasonseg_ros.files.strict_json import json_text

    print(json_text(values, indent=2))
