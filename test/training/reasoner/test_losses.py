import pytest
import torch

from reasonseg_ros.training.reasoner.losses import answer_loss, look_loss

NUMBERS = torch.arange(100, 200)


def scores_for(tokens, sharpness=20.0):
    scores = torch.zeros(len(tokens), 300)
    scores[torch.arange(len(tokens)), tokens] = sharpness
    return scores


def test_a_number_that_misses_a_little_costs_little():
    follows = torch.tensor([150, 7])
    losses = [answer_loss(scores_for(torch.tensor([guess, 7])), follows, NUMBERS, 1.5)[0] for guess in (150, 151, 190)]
    assert losses[0] < losses[1] < losses[2]


def test_words_are_scored_by_their_token():
    follows = torch.tensor([7, 8, 150])
    loss, report = answer_loss(scores_for(torch.tensor([7, 9, 150])), follows, NUMBERS, 1.5)
    assert report["text_right"] == pytest.approx(0.5)
    assert report["number_off_px"] == 0
    assert loss > answer_loss(scores_for(follows), follows, NUMBERS, 1.5)[0]


def test_looking_at_the_target_costs_nothing():
    looks = torch.zeros(2, 5, dtype=torch.bool)
    looks[:, 2] = True
    on_target = torch.full((2, 5), -30.0)
    on_target[:, 2] = 0
    elsewhere = on_target.roll(1, dims=1)
    assert look_loss([on_target], looks)[0] == pytest.approx(0, abs=1e-4)
    assert look_loss([on_target, elsewhere], looks)[0] > 1
