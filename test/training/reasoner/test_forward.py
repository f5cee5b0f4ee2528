"""The training forward against transformers' own, on the same image and questions."""

import random

import numpy as np
import torch

from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.tabletop.questions.generation import generate
from reasonseg_ros.training.reasoner.examples import ExampleEncoder, pack
from reasonseg_ros.training.reasoner.forward import PackedForward
from reasonseg_ros.training.reasoner.images import dense_labels, view
from reasonseg_ros.training.reasoner.model import IMAGE_WH, build_model, build_processor
from reasonseg_ros.training.reasoner.tokenizer import PAD
from reasonseg_ros.training.reasoner.video_examples import VideoEncoder, video_view
from reasonseg_ros.training.rendered.scenes import StoredScene
from reasonseg_ros.training.rendered.videos import StoredVideo


def lively_model(tokenizer):
    """Random weights so large that a wrong position or mask shows."""
    torch.manual_seed(0)
    model = build_model(tokenizer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    return model


def draw_examples(encoder, scene, count):
    rng, found = random.Random(3), []
    while len(found) < count:
        question = generate(scene.objects, rng)
        if question is not None:
            found.append((question, encoder.example(scene, dense_labels(scene), question)))
    return found


def test_packed_questions_give_the_logits_of_transformers(tokenizer, make_scene):
    model, encoder, processor = lively_model(tokenizer), ExampleEncoder(tokenizer), build_processor(tokenizer)
    scene = view(make_scene(1))
    pairs = draw_examples(encoder, scene, 3)
    packed = pack([example for _, example in pairs], 256, tokenizer.convert_tokens_to_ids(PAD))
    image = resize_rgb(np.ascontiguousarray(scene.rgb), IMAGE_WH).copy()
    forward = PackedForward(model, encoder.prefix)
    with torch.no_grad():
        _, image_tokens = forward.see(torch.from_numpy(image)[None].float() / 255)
        texts = [torch.from_numpy(array)[None] for array in (packed.tokens, packed.position, packed.question)]
        states, image_states, attention = forward.read(image_tokens, *texts, (2,))
        ours = model.lm_head(states)[0]
        start = 0
        for question, example in pairs:
            words = question.text.lower().rstrip('.?!"')
            chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]}]
            prompt = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            said = prompt + tokenizer.decode(example.response)
            theirs = model(**processor(text=[said], images=[image], return_tensors="pt")).logits[0]
            theirs = theirs[len(encoder.prefix) :]
            assert len(theirs) == len(example)
            torch.testing.assert_close(ours[start : start + len(example)], theirs, rtol=0, atol=2e-3)
            start += len(example)
        # The image tokens look backwards only, so the questions behind them change nothing.
        torch.testing.assert_close(image_states[0], forward.read_image(image_tokens, 2), rtol=0, atol=2e-4)
    assert all((layer.exp().sum(-1) <= 1.001).all() for layer in attention)


def test_questions_about_several_frames_give_the_logits_of_transformers(tokenizer, make_video):
    model, processor = lively_model(tokenizer), build_processor(tokenizer)
    encoder = VideoEncoder(ExampleEncoder(tokenizer), 6)
    video = make_video(1)
    stored = [StoredScene(1, s.rgb, s.instance_ids, s.part_ids, s.objects, ()) for s in video.scenes]
    seen = video_view(StoredVideo(1, 2.0, tuple(stored), video.events))
    labels = [dense_labels(scene) for scene in seen.scenes]
    examples = [encoder.happened(seen, labels, event, random.Random(2)) for event in video.events]
    packed = pack(examples, 192, tokenizer.convert_tokens_to_ids(PAD), 6)
    frames = [resize_rgb(np.ascontiguousarray(scene.rgb), IMAGE_WH).copy() for scene in seen.scenes]
    forward = PackedForward(model, encoder.prefix)
    with torch.no_grad():
        _, image_tokens = forward.see(torch.from_numpy(np.stack(frames)).float() / 255)
        texts = [torch.from_numpy(array)[None] for array in (packed.tokens, packed.position, packed.question)]
        rows = image_tokens.reshape(1, -1, image_tokens.shape[-1])
        states, _, attention = forward.read(rows, *texts, (2,))
        ours = model.lm_head(states)[0]
        start = 0
        for example in examples:
            asked = tokenizer.decode(example.prompt).split("<|im_end|>")[0]
            shown = [part for n in range(1, 7) for part in ({"type": "text", "text": str(n)}, {"type": "image"})]
            chat = [{"role": "user", "content": [*shown, {"type": "text", "text": asked}]}]
            prompt = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            said = prompt + tokenizer.decode(example.response)
            inputs = processor(text=[said], images=frames, return_tensors="pt")
            # A word spelt roughly is read in other pieces than the tokenizer's own.
            inputs["input_ids"] = torch.tensor([encoder.prefix + example.prompt + example.response])
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
            theirs = model(**inputs).logits[0, len(encoder.prefix) :]
            torch.testing.assert_close(ours[start : start + len(example)], theirs, rtol=0, atol=2e-3)
            start += len(example)
    assert attention[0].shape == (1, 192, 1 + 6 * 48)
