"""The code that a user would write without this package: process, generate, parse, set the image, predict.

    python -m benchmarks.table.plain BAG [--limit N]

Plain transformers with the embedded checkpoints: the reasoner with its chat template and card, SAM2 as in the library's
documentation. Prints the mean IoU over a bag's questions. It is the baseline of several rows.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, Sam2Model
from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor
from transformers.models.sam2.processing_sam2 import Sam2Processor

from benchmarks.samples import labelled
from reasonseg_ros.model_card import load_card
from reasonseg_ros.torch_device import choose_dtype

Targets = list[dict[str, list[float]]]


class PlainSequence:
    """One checkpoint of each kind, run one after the other; SAM2 in float32, as the library loads it."""

    def __init__(self, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.card, segmenter = load_card("tabletop-reasoner", "reasoner"), load_card("tabletop-segmenter", "segmenter")
        assert self.card.image_size_wh is not None
        self.image_wh = self.card.image_size_wh
        self.device, self.dtype, self.multimask = device, dtype, segmenter.multimask
        self.processor = AutoProcessor.from_pretrained(self.card.source)
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(self.card.source, dtype=dtype).to(device).eval()
        self.sam = Sam2Model.from_pretrained(segmenter.source).to(device).eval()
        side = self.sam.config.prompt_encoder_config.image_size
        image_processor = Sam2ImageProcessor(
            size={"height": side, "width": side}, mask_size={"height": side // 4, "width": side // 4}
        )
        self.sam_processor = Sam2Processor(image_processor, target_size=side)

    def answer(self, rgb: NDArray[np.uint8], question: str) -> NDArray[np.bool_]:
        """The union of the masks, bool [H, W]."""
        targets = self.parsed(self.said(self.inputs(rgb, question)), rgb)
        return self.mask(rgb, targets) if targets else np.zeros(rgb.shape[:2], bool)

    def inputs(self, rgb: NDArray[np.uint8], question: str) -> Any:
        words = " ".join(question.lower().split()).rstrip('.?!" ')  # as the checkpoint was trained
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]}
        chat = [{"role": "system", "content": self.card.system}, user]
        text = self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        image = Image.fromarray(rgb).resize(self.image_wh, Image.Resampling.BILINEAR)
        return self.processor(text=text, images=[image], return_tensors="pt").to(self.device, dtype=self.dtype)

    def generated(self, inputs: Any) -> list[int]:
        """The new tokens."""
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=self.card.max_new_tokens, do_sample=False)
        return list(tokens[0, inputs["input_ids"].shape[1] :].tolist())

    def said(self, inputs: Any) -> str:
        return str(self.processor.tokenizer.decode(self.generated(inputs), skip_special_tokens=True))

    def parsed(self, text: str, rgb: NDArray[np.uint8]) -> Targets:
        """Boxes and points in the image's pixels; none if the text holds no list."""
        found = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
        try:
            targets = json.loads(found[1]) if found else []
        except json.JSONDecodeError:
            return []
        scale = np.array([rgb.shape[1], rgb.shape[0]]) / self.image_wh
        return [
            {"box": (t["bbox_2d"] * np.tile(scale, 2)).tolist(), "point": (t["point_2d"] * scale).tolist()}
            for t in targets
        ]

    def mask(self, rgb: NDArray[np.uint8], targets: Targets) -> NDArray[np.bool_]:
        inputs = self.sam_processor(
            images=rgb,
            input_boxes=[[target["box"] for target in targets]],
            input_points=[[[target["point"]] for target in targets]],
            input_labels=[[[1] for _ in targets]],
            return_tensors="pt",
        ).to(self.device)
        with torch.inference_mode():
            output = self.sam(**inputs, multimask_output=self.multimask)
        logits, sizes = output.pred_masks.float().cpu(), inputs["original_sizes"].cpu()
        masks = self.sam_processor.post_process_masks(logits, sizes)[0]
        best = output.iou_scores[0].argmax(-1).cpu()
        return np.asarray(masks[torch.arange(len(targets)), best].any(0).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="only the first samples")
    parser.add_argument("--device", default="cpu")
    settings = parser.parse_args()
    plain, ious = PlainSequence(settings.device, choose_dtype("auto", torch.device(settings.device))), []
    for sample in labelled(settings.bag):
        mask = plain.answer(sample.load_frame().rgb, sample.question)
        union = (mask | sample.truth.mask).sum()
        ious.append((mask & sample.truth.mask).sum() / union if union else 1.0)
        if len(ious) == settings.limit:
            break
    print(json.dumps({"samples": len(ious), "giou": round(float(np.mean(ious)), 4)}))


if __name__ == "__main__":
    main()
