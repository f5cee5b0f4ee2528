from reasonseg_ros.training.reasoner.tokenizer import ANSWER_TOKENS, END, MAX_NUMBER


def test_a_response_survives_and_its_pieces_are_whole(tokenizer):
    text = (
        "<think>hot drinks need a mug: red mug left back.</think>"
        '<answer>[{"bbox_2d":[156,141,224,168],"point_2d":[172,9]},{"bbox_2d":[0,1,19,18],"point_2d":[7,3]}]</answer>'
        + END
    )
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    pieces = [tokenizer.decode([token]) for token in ids]
    assert {"156", "224", "0", "172"} <= set(pieces)
    assert {'[{"bbox_2d":[', ']},{"bbox_2d":[', '],"point_2d":[', "]}]", "</think><answer>"} <= set(pieces)


def test_numbers_and_fixed_pieces_have_one_token_each(tokenizer):
    for text in (*ANSWER_TOKENS, *map(str, range(MAX_NUMBER + 1))):
        assert len(tokenizer(text)["input_ids"]) == 1


def test_any_text_can_be_read(tokenizer):
    text = "où est la tasse? 杯子在哪里 🥄"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
