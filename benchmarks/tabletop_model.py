"""The tabletop's question writer as an OpenAI-compatible vision model, to try `reasonseg data` without a real one.

    python -m benchmarks.tabletop_model render --seed 3000000 --scenes 40 --out out/engine-scenes
    python -m benchmarks.tabletop_model serve out/engine-scenes --port 8731

`render` writes a COCO-style file and its images. `serve` recognises the scene by its picture and answers with the
tabletop's questions about it. They are not all good: many name an object or a place. A word counts as a token.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.files.strict_json import read_json_file
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.run_lengths import rle_from_mask
from reasonseg_ros.tabletop.bag import scene_questions
from reasonseg_ros.tabletop.questions.question import KINDS
from reasonseg_ros.tabletop.scene import Scene
from reasonseg_ros.tabletop.world import World

SIZE_WH = (640, 480)
THUMBNAIL_WH = (16, 12)
QUESTIONS_NAME = "questions.json"
WRITTEN = 40
"""Number of questions drawn for each scene."""


def render(seed: int, scenes: int, phrasing: str, out: Path) -> None:
    """Scenes of `seed`, `seed` + 1, ... as `instances.json` with images, and their questions for `serve`."""
    world = World(SIZE_WH)
    out.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    written = []
    for number in range(scenes):
        scene = world.scene(seed + number)
        name = f"{scene.seed}.png"
        write_image(out / name, scene.rgb)
        images.append({"id": number, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1]})
        for one in scene.objects:
            category = categories.setdefault(one.category, len(categories) + 1)
            mask = rle_from_mask(scene.mask((one.instance_id,)))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": category,
                    "segmentation": mask,
                    "iscrowd": 0,
                }
            )
        written.append({"thumbnail": _thumbnail(scene.rgb).tolist(), **_questions(scene, phrasing)})
    named = [{"id": number, "name": name} for name, number in categories.items()]
    with whole_file(out / "instances.json") as file:
        json.dump({"images": images, "annotations": annotations, "categories": named}, file)
    with whole_file(out / QUESTIONS_NAME) as file:
        json.dump(written, file)


def _questions(scene: Scene, phrasing: str) -> dict[str, Any]:
    """A caption and questions. Objects are numbered as in `reasonseg data`: the largest first."""
    order = sorted(scene.objects, key=lambda one: -one.area_px)
    numbers = {one.instance_id: number for number, one in enumerate(order, 1)}
    kinds = list(KINDS)
    random.Random(scene.seed).shuffle(kinds)
    questions = [
        {"question": one.text, "objects": [numbers[target] for target in one.targets], "answer": one.thought_text}
        for one in scene_questions(scene, WRITTEN, kinds, phrasing)
        if one.targets
    ]
    names = ", ".join(f"a {one.color} {one.category}" for one in order)
    return {"caption": f"A table with {names}.", "questions": questions}


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    return cv2.resize(rgb, THUMBNAIL_WH, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Writer:
    """Answers a request with the texts about the scene in its picture."""

    scenes: Sequence[dict[str, Any]]

    def answer(self, request: dict[str, Any]) -> str:
        """The answer to a chat's last message: a caption, or the next questions that the message does not list yet."""
        parts = request["messages"][-1]["content"]
        words = next(part["text"] for part in parts if part["type"] == "text")
        url = next(part["image_url"]["url"] for part in parts if part["type"] == "image_url")
        data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        seen = _thumbnail(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)).astype(float)
        scene = min(self.scenes, key=lambda one: float(np.abs(np.array(one["thumbnail"]) - seen).mean()))
        if "\nWrite " not in words:
            return json.dumps({"caption": scene["caption"]})
        count = int(words.split("\nWrite ")[1].split()[0])
        new = [one for one in scene["questions"] if one["question"] not in words]
        return json.dumps({"questions": new[:count]})


def serve(folder: Path, port: int) -> None:
    """Serve on the loopback until Ctrl-C."""
    writer = Writer(read_json_file(folder / QUESTIONS_NAME))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body)
            text = writer.answer(request)
            words = request["messages"][-1]["content"][-1].get("text", "")
            usage = {"prompt_tokens": len(words.split()), "completion_tokens": len(text.split())}
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            reply = json.dumps({"choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabletop_model", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    rendering = verbs.add_parser("render", help="scenes as a COCO-style file, with questions for the server")
    rendering.add_argument("--seed", type=int, required=True)
    rendering.add_argument("--scenes", type=int, required=True)
    rendering.add_argument("--phrasing", default="train")
    rendering.add_argument("--out", type=Path, required=True)
    rendering.set_defaults(run=lambda given: render(given.seed, given.scenes, given.phrasing, given.out))
    serving = verbs.add_parser("serve", help="answer requests about the scenes")
    serving.add_argument("scenes", type=Path)
    serving.add_argument("--port", type=int, default=0)
    serving.set_defaults(run=lambda given: serve(given.scenes, given.port))
    settings = parser.parse_args()
    settings.run(settings)


if __name__ == "__main__":
    main()
