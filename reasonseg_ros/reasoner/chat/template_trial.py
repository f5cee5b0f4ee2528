"""Renders a chat template in a separate process with limits, because a checkpoint's template is untrusted code.

`python -m reasonseg_ros.reasoner.chat.template_trial` reads JSON from its standard input: `template`, `chats` (each
messages and whether the assistant's turn is begun), `seconds` and `bytes`. It ends with 0 unless it runs out of time or
memory. Errors of the template itself are reported by transformers, which renders it afterwards.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from reasonseg_ros.errors import ModelError

SECONDS = 3
"""CPU time. Templates of published checkpoints take less than a millisecond."""
BYTES = 1 << 30
_START_S = 60.0
"""Python may start slowly on a busy machine."""


Chat = tuple[list[dict[str, Any]], bool]
"""Messages, and whether the assistant's turn is begun."""


def try_template(template: str, chats: Sequence[Chat]) -> None:
    """Raises ModelError if the template does not end within `SECONDS` and `BYTES` for all of `chats`."""
    _try(json.dumps({"template": template, "chats": list(chats), "seconds": SECONDS, "bytes": BYTES}))


@functools.lru_cache(maxsize=16)
def _try(work: str) -> None:
    """Successful trials are cached, so loading the checkpoint again does not repeat them. Errors are not cached."""
    command = [sys.executable or "python3", "-m", "reasonseg_ros.reasoner.chat.template_trial"]
    paths = os.pathsep.join(filter(None, sys.path))  # this package may have been found by a path set in this process
    try:
        done = subprocess.run(
            command, input=work, text=True, timeout=_START_S + SECONDS, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        ended = False
    else:
        ended = done.returncode == 0
        if not ended and "ModuleNotFoundError" in done.stderr:
            raise ModelError(f"the chat template cannot be tried out: {done.stderr.strip().splitlines()[-1]}")
    if not ended:
        raise ModelError(
            f"the chat template needs more than {SECONDS} s or {BYTES >> 20} MB for one question; download it again "
            "from a place that you trust"
        )


def render(work: dict[str, Any]) -> None:
    """Render each chat, as transformers does."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, which marks the assistant's words and changes none."""

        tags = {"generation"}  # noqa: RUF012, as the base class declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda _: ""}
    for messages, begin in work["chats"]:
        try:
            environment.from_string(work["template"]).render(messages=messages, add_generation_prompt=begin)
        except MemoryError:
            raise
        except Exception:  # transformers reports errors of the template
            continue


def main() -> None:
    work = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (work["bytes"], work["bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (work["seconds"], work["seconds"] + 1))
    render(work)


if __name__ == "__main__":
    main()
