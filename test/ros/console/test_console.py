"""The console in a real browser, against the real node and a played bag."""

import json
import signal

import numpy as np
import pytest
from console_programs import write_bag

from reasonseg_ros import msg
from reasonseg_ros.bags import BagReader
from reasonseg_ros.console.history import Exchange
from reasonseg_ros.console.wire import entry_values
from reasonseg_ros.images.mask_codec import decode_mask

BRIGHT_PIXEL = "() => document.getElementById('stage').getContext('2d').getImageData(40, 15, 1, 1).data"
DARK_PIXEL = "() => document.getElementById('stage').getContext('2d').getImageData(4, 4, 1, 1).data"


def pixel(page, script):
    return list(page.evaluate(script))[:3]


def wait_for_image(page):
    page.wait_for_function("() => document.getElementById('stage').width === 64")
    page.wait_for_function(f"() => ({BRIGHT_PIXEL})()[0] > 150")


def wait_for_node(page):
    page.wait_for_function("() => document.getElementById('node-state').textContent.startsWith('active')")


def wait_for_text(page, name, text):
    script = "([name, text]) => document.getElementById(name).textContent.startsWith(text)"
    page.wait_for_function(script, arg=[name, text])


def ask(page, text, mode="once"):
    page.select_option("#mode", mode)
    page.fill("#question", text)
    page.keyboard.press("Enter")


def wait_for_status(page, text):
    page.wait_for_function("text => document.getElementById('status')?.textContent === text", arg=text)


def place(page, x, y):
    """Of a pixel of the image on the screen."""
    box = page.locator("#stage").bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / 64, box["y"] + (y + 0.5) * box["height"] / 48


def drag(page, x1, y1, x2, y2):
    page.mouse.move(*place(page, x1, y1))
    page.mouse.down()
    page.mouse.move(*place(page, (x1 + x2) / 2, (y1 + y2) / 2))
    page.mouse.move(*place(page, x2, y2))
    page.mouse.up()


@pytest.fixture(scope="module")
def world(programs, tmp_path_factory):
    """The address of a console with a node and a camera, and the bag that it saves in. The tests share them."""
    folder = tmp_path_factory.mktemp("world")
    programs.node()
    programs.player(write_bag(folder / "bag"))
    return programs.console(folder / "truth")[1], folder / "truth"


@pytest.fixture
def page(world, browse):
    """The page with the live image, the node found, and nothing saved."""
    page = browse(world[0])
    wait_for_image(page)
    wait_for_node(page)
    while page.locator("[data-key^=delete-]").count():
        count = page.locator("[data-key^=delete-]").count()
        page.click("[data-key^=delete-] >> nth=0")
        page.wait_for_function("n => document.querySelectorAll('[data-key^=delete-]').length < n", arg=count)
    return page


def test_a_question_is_asked_and_its_mask_is_drawn_on_its_image(page):
    before = page.locator("#history li").count()
    assert pixel(page, BRIGHT_PIXEL) == pytest.approx([200] * 3, abs=12)
    ask(page, "the bright one")
    wait_for_status(page, "Found")
    page.wait_for_function(f"() => ({BRIGHT_PIXEL})()[1] < 150")  # tinted
    red, green, _ = pixel(page, BRIGHT_PIXEL)
    assert red > green + 40
    assert max(pixel(page, DARK_PIXEL)) < 40
    assert "the bright one" in page.inner_text("#answer")
    assert page.locator("#history img").count() == page.locator("#history li").count() == before + 1
    page.click("#masks")
    assert pixel(page, BRIGHT_PIXEL) == pytest.approx([200] * 3, abs=12)
    page.click("#live")
    assert page.get_attribute("#live", "aria-pressed") == "true"


@pytest.mark.parametrize(
    ("question", "title", "reason"),
    [("a unicorn", "Nothing here fits", ""), ("boom", "Failed", "the model fell over")],
)
def test_other_endings_are_said_in_plain_words(page, question, title, reason):
    ask(page, question)
    wait_for_status(page, title)
    assert reason in page.inner_text("#answer")


SHOW_ENTRY = """async (values) => {
  const { showAnswer } = await import("/answer.js");
  const panel = document.createElement("div");
  const correction = { targets: [], pieces: [], canUndo: false };
  showAnswer(panel, { entry: values, correction, statuses: {}, question: "" }, {});
  return panel.textContent;
}"""


@pytest.mark.parametrize(
    ("label", "words"), [("mug", "Second best: mug in the box 1, 2, 4, 5."), (None, "nothing fits")]
)
def test_the_second_best_of_an_unsure_answer_is_named(page, label, words):
    answer = msg.Segmentation(status="unsure", has_alternative=True)
    if label is not None:
        answer.alternative = [msg.Region(label=label, box=msg.Box(x1=1.0, y1=2.0, x2=4.0, y2=5.0))]
    assert words in page.evaluate(SHOW_ENTRY, entry_values(Exchange(1, "q", "this or that?", "once", answer=answer)))
    answer.has_alternative = False
    values = entry_values(Exchange(1, "q", "this or that?", "once", answer=answer))
    assert "Second best" not in page.evaluate(SHOW_ENTRY, values)


def test_text_from_outside_is_never_markup(page):
    text = "<img src=x onerror=alert(1)> the <b>bright</b> one"
    ask(page, text)
    wait_for_status(page, "Found")
    assert text in page.inner_text("#answer")
    assert page.locator("#answer b, #history b, #answer img").count() == 0


def test_a_thought_is_streamed_and_a_question_can_be_cancelled(page):
    ask(page, "slow: the bright one")
    page.wait_for_function("() => document.getElementById('thought').textContent.includes('. . .')")
    page.click("#history button")
    page.click("text=Cancel")
    wait_for_status(page, "Cancelled")


def test_a_tracked_target_is_drawn_on_the_live_image_until_it_is_stopped(page):
    ask(page, "the bright one", "track")
    page.wait_for_function(f"() => ({BRIGHT_PIXEL})()[1] < 150")
    assert page.get_attribute("#live", "aria-pressed") == "true"
    page.click("#history button")
    page.click("text=Stop")
    page.wait_for_function("() => document.getElementById('answer').textContent.includes('cancelled')")
    page.click("#live")
    page.wait_for_function(f"() => ({BRIGHT_PIXEL})()[1] > 150")


def test_the_node_can_be_paused(page):
    page.click("#pause")
    page.wait_for_function("() => document.getElementById('node-state').textContent === 'paused'")
    ask(page, "the bright one")
    wait_for_status(page, "Not accepted")
    page.click("#pause")
    page.wait_for_function("() => document.getElementById('node-state').textContent.startsWith('active')")


def test_an_answer_is_corrected_saved_scored_and_deleted(page, world):
    ask(page, "the bright one")
    wait_for_status(page, "Found")
    drag(page, 2, 30, 20, 44)
    page.wait_for_selector("#targets li:nth-child(2)")
    page.wait_for_function("() => document.getElementById('hint').textContent === ''")
    page.click("#targets li:nth-child(1) >> text=belongs")
    page.click("[data-key=mark-wrong]")
    page.click("#save")
    wait_for_text(page, "score", "1 saved")
    assert page.inner_text("#score") == "1 saved: gIoU 0.000, cIoU 0.000"
    with BagReader(world[1]) as bag:
        messages = {topic: message for topic, _, message in bag.messages()}
    truth = messages["/reasonseg/ground_truth"]
    mask = decode_mask(truth.mask)
    assert truth.question == "the bright one"
    ys, xs = np.nonzero(mask)
    assert [xs.min(), ys.min(), xs.max(), ys.max()] == pytest.approx([2, 30, 20, 44], abs=1)
    assert mask.sum() == (xs.max() - xs.min() + 1) * (ys.max() - ys.min() + 1)
    assert {"/camera/image", "/camera/depth", "/camera/camera_info", "/reasonseg/query"} <= messages.keys()
    assert len({str(message.header.stamp) for message in messages.values() if hasattr(message, "header")}) == 1

    first = page.inner_text("#shown")
    ask(page, "the bright one")
    page.wait_for_function("first => document.getElementById('shown').textContent !== first", arg=first)
    wait_for_status(page, "Found")
    page.click("[data-key=mark-right]")
    page.click("#save")
    wait_for_text(page, "score", "2 saved: gIoU 0.500")
    page.click("[data-key^=delete-] >> nth=1")
    wait_for_text(page, "score", "1 saved: gIoU 1.000")
    page.click("#undo")
    wait_for_text(page, "score", "2 saved: gIoU 0.500")


def test_a_mask_is_corrected_by_points_inside_and_outside(page):
    ask(page, "the bright one")
    wait_for_status(page, "Found")
    right_of_it = "() => document.getElementById('stage').getContext('2d').getImageData(55, 15, 1, 1).data"
    assert max(pixel(page, right_of_it)) < 40
    page.mouse.click(*place(page, 58, 15))
    page.wait_for_function(f"() => ({right_of_it})()[0] > 60")  # its box grew, and the mask with it
    page.mouse.click(*place(page, 33, 15), button="right")
    page.wait_for_function("() => document.getElementById('targets').textContent.includes('2 points')")
    page.wait_for_function("() => document.getElementById('hint').textContent === ''")
    page.keyboard.press("u")
    page.keyboard.press("u")
    page.wait_for_function(f"() => ({right_of_it})()[0] < 40")


def test_another_method_is_chosen(page):
    page.select_option("#method", "seg_zero")
    wait_for_text(page, "hint", "the node now uses seg_zero")
    page.wait_for_function("() => document.getElementById('method').value === 'seg_zero'")
    ask(page, "the bright one")
    wait_for_status(page, "Found")


def test_a_box_on_the_live_image_is_segmented_without_a_question(page):
    drag(page, 28, 8, 52, 22)
    page.wait_for_function("() => document.querySelectorAll('#targets li').length === 1")
    wait_for_status(page, "Held image")
    page.wait_for_function(f"() => ({BRIGHT_PIXEL})()[1] < 150")
    page.fill("#truth-question", "what is bright?")
    page.click("#save")
    wait_for_text(page, "score", "1 saved; none of them was asked.")


def test_everything_is_reached_by_keys(page):
    page.keyboard.press("/")
    page.keyboard.type("the bright one")
    page.keyboard.press("Enter")
    wait_for_status(page, "Found")
    page.focus("#stage")
    for key in ("ArrowLeft", "b", "ArrowDown", "b"):
        page.keyboard.press(key)
    assert page.locator("#targets li").count() == 1  # a box without area
    for key in ("b", "ArrowRight", "ArrowDown", "b"):
        page.keyboard.press(key)
    page.wait_for_selector("#targets li:nth-child(2)")
    page.wait_for_function("() => document.getElementById('hint').textContent === ''")
    page.keyboard.press("r")
    page.wait_for_function(
        "() => document.querySelector('[data-key=mark-right]').getAttribute('aria-pressed') === 'true'"
    )
    page.keyboard.press("s")
    wait_for_text(page, "score", "1 saved")
    page.keyboard.press("l")
    assert page.get_attribute("#live", "aria-pressed") == "true"
    page.keyboard.press("[")
    assert page.inner_text("#shown").startswith("answer ")


def test_two_browsers_see_the_same(page, world, browse):
    other = browse(world[0], color_scheme="dark")
    wait_for_image(other)
    other.set_viewport_size({"width": 380, "height": 800})
    ask(page, "the bright one")
    wait_for_status(page, "Found")
    wait_for_status(other, "Found")
    assert other.evaluate("() => document.documentElement.scrollWidth") <= 380
    colors = [one.evaluate("() => getComputedStyle(document.body).backgroundColor") for one in (page, other)]
    assert colors[0] != colors[1]


def test_node_and_console_may_restart_while_the_page_is_open(own_programs, browse, tmp_path):
    console, address = own_programs.console(tmp_path / "truth")
    page = browse(address)
    page.wait_for_function("() => document.getElementById('problem').textContent.includes('no node /reasonseg')")
    first = own_programs.node()
    own_programs.player(write_bag(tmp_path / "bag"))
    wait_for_image(page)
    wait_for_node(page)
    ask(page, "slow: the bright one")
    page.wait_for_function("() => document.getElementById('thought').textContent.includes('. . .')")
    page.click("#history button")
    first.end(signal.SIGINT)
    wait_for_status(page, "Cancelled")
    wait_for_text(page, "node-state", "not ready")
    own_programs.node()
    wait_for_node(page)
    ask(page, "the bright one")
    wait_for_status(page, "Found")

    assert console.end(signal.SIGINT) == 0
    page.wait_for_function("() => document.getElementById('node-state').textContent === 'not connected'")
    port = address.rstrip("/").rpartition(":")[2]
    own_programs.console(tmp_path / "truth", "--port", port)
    wait_for_node(page)
    page.complaints.clear()  # the browser's own, of connections that were refused
    ask(page, "the bright one")
    wait_for_status(page, "Found")


def test_a_bad_request_is_answered_with_its_reason(page):
    replies = page.evaluate(
        """texts => new Promise(resolve => {
            const socket = new WebSocket(`ws://${location.host}/live`), found = [];
            socket.onopen = () => texts.forEach(text => socket.send(text));
            socket.onmessage = event => {
                if (typeof event.data !== "string") return;
                const values = JSON.parse(event.data);
                if (values.type === "reply") found.push(values.error);
                if (found.length === texts.length) { socket.close(); resolve(found.sort()); }
            };
        })""",
        [
            "no json",
            "[]",
            json.dumps({"do": "format the disk"}),
            json.dumps({"do": "ask", "text": "", "mode": "once"}),
            json.dumps({"do": "ask", "text": "x", "mode": "often"}),
            json.dumps({"do": "prompt", "number": 99}),
            json.dumps({"do": "delete", "name": "../../etc"}),
            json.dumps({"do": "hold", "stamp_ns": "1"}),
        ],
    )
    expected = [
        "a request is a JSON object", "entry 99 is no longer", "mode 'often'", "no JSON", "request 'format the disk'",
        "that live image is no longer cached", "the question is empty", "there is no part '../../etc'",
    ]  # fmt: skip
    assert [reply.startswith(start) for reply, start in zip(replies, sorted(expected), strict=True)] == [True] * 8
