"""`reasonseg engine build|list|remove`: TensorRT's engines of exported segmenters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import whole_number
from reasonseg_ros.config.models import ENGINE_BACKENDS
from reasonseg_ros.errors import InvalidInput, ModelError


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    engine = verbs.add_parser("engine", help="build, list and remove engines of exported segmenters")
    actions = engine.add_subparsers(title="actions", metavar="ACTION", required=True)

    build = actions.add_parser("build", help="build the engines of an export, check them, and store them in the cache")
    build.add_argument(
        "model", help="folder of `reasonseg export segmenter`, or the name of a model card that refers to one"
    )
    build.add_argument("--runtime", choices=ENGINE_BACKENDS, default="tensorrt_rtx", help="(default: %(default)s)")
    build.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; auto is the first GPU")
    build.add_argument(
        "--capability", nargs="+", default=[], metavar="X.Y",
        help="build for GPUs of these compute capabilities, for example 8.6 8.9 12.0; no GPU is needed (tensorrt_rtx)",
    )  # fmt: skip
    build.add_argument("--graphs", nargs="+", metavar="GRAPH", help="only these graphs; default: all")
    build.add_argument("--force", action="store_true", help="rebuild engines that exist")
    build.add_argument(
        "--workspace-mib", type=whole_number(0), default=0, help="maximum memory of the builder; 0: no limit"
    )
    _add_cache(build)
    build.set_defaults(action=_build)

    show = actions.add_parser("list", help="show the engines in the cache")
    _add_cache(show)
    show.set_defaults(action=_list)

    remove = actions.add_parser("remove", help="delete engines from the cache")
    remove.add_argument("names", nargs="*", metavar="NAME", help="names from `engine list`, or prefixes of them")
    remove.add_argument("--all", action="store_true", help="every engine")
    _add_cache(remove)
    remove.set_defaults(action=_remove)

    engine.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, help="folder of the engines; default: reasonseg_ros in the user's cache")


def _build(settings: argparse.Namespace) -> int:
    try:
        from reasonseg_ros.engine.cache import EngineCache
        from reasonseg_ros.engine.loading import EngineOptions, build_engines, load_engines
    except ImportError as error:
        raise ModelError(f"{error}; install the engine extra: pip install 'reasonseg_ros[engine]'") from error
    from rich.console import Console

    from reasonseg_ros.engine.manifest import read_manifest
    from reasonseg_ros.engine.progress import Bars

    folder = _folder(settings.model)
    manifest = read_manifest(folder)
    graphs = settings.graphs or list(manifest.graphs)
    if unknown := set(graphs) - set(manifest.graphs):
        raise InvalidInput(f"--graphs {' '.join(sorted(unknown))}; {folder} has {', '.join(manifest.graphs)}")
    cache = EngineCache(settings.cache)
    options = EngineOptions(
        backend=settings.runtime,
        device=settings.device,
        build="force" if settings.force else "if_missing",
        capabilities=tuple(settings.capability),
        workspace_mib=settings.workspace_mib,
        cache=cache,
    )
    console = Console()
    with Bars(console) as bars:
        if settings.capability:
            build_engines(folder, graphs, options, bars)
        else:
            # Loading builds each engine, compares it with ONNX Runtime and runs it once.
            for engine in load_engines(folder, graphs, options, bars).values():
                console.print(f"{engine.name}: runs on {engine.runtime}, {engine.device}", markup=False)
                engine.close()
    if settings.runtime.startswith("tensorrt"):
        _show(cache)
    return 0


def _folder(model: str) -> Path:
    from reasonseg_ros.engine.export_folder import export_folder
    from reasonseg_ros.model_card import load_card

    folder = export_folder(load_card(model, "segmenter"))
    if folder is None:
        raise ModelError(
            f"{model} has no exported graphs; make them with `reasonseg export segmenter --model {model} --out FOLDER` "
            "and build FOLDER"
        )
    return folder


def _list(settings: argparse.Namespace) -> int:
    from reasonseg_ros.engine.cache import EngineCache

    _show(EngineCache(settings.cache))
    return 0


def _show(cache: Any) -> None:
    """One line per engine, for people and for scripts."""
    entries = cache.entries()
    print(f"{len(entries)} engines, {sum(entry.size_bytes for entry in entries) / 1e6:.1f} MB, in {cache.folder}")
    for entry in entries:
        key = entry.key
        target = f"{key.gpu} " * bool(key.gpu) + ", ".join(key.capabilities)
        figures = ", ".join(f"{name} {value:g}" for name, value in entry.check.items()) or "not checked"
        size = f"{entry.size_bytes / 1e6:.1f} MB"
        print(f"{entry.name}  {size}  {key.flavour} {key.version} for {target}  {entry.built}  {figures}")


def _remove(settings: argparse.Namespace) -> int:
    from reasonseg_ros.engine.cache import EngineCache

    cache = EngineCache(settings.cache)
    if not settings.names and not settings.all:
        raise InvalidInput("engine remove: give names of `reasonseg engine list`, or --all")
    entries = cache.entries()
    chosen = [entry for entry in entries if settings.all or entry.name.startswith(tuple(settings.names))]
    for name in settings.names:
        if not any(entry.name.startswith(name) for entry in entries):
            raise InvalidInput(f"no engine {name!r} in {cache.folder}; `reasonseg engine list` shows what is there")
    for entry in chosen:
        cache.remove(entry)
        print(f"removed {entry.name}")
    return 0
