"""`reasonseg mcp` as an agent's client starts it, over standard input and output, beside the real node."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving import Stream
from ros_client import SCRIPT, image_of
from scripted_node import bright_frame

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

ROOT = Path(__file__).resolve().parents[3]
MOVING = Path(__file__).parents[1] / "moving.py"
LIMIT_S = 400
"""Of a whole conversation, above the server's own limit, so that a call that hangs says so."""


@pytest.fixture
def talk(domain_id, tmp_path):
    """Runs a conversation with the server, which gets these arguments; the conversation gets the connected client."""

    def run(conversation, *arguments):
        server = mcp.StdioServerParameters(
            command=sys.executable,
            args=["-m", "reasonseg_ros.cli", "mcp", *arguments],
            env={"ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)},
        )

        async def hold():
            with (tmp_path / "server.log").open("w") as log:
                async with mcp.Client(mcp.stdio_client(server, errlog=log)) as agent:
                    return await conversation(agent)

        return asyncio.run(asyncio.wait_for(hold(), LIMIT_S))

    return run


@pytest.fixture
def camera(client):
    """Publishes images while it is entered."""

    @asynccontextmanager
    async def streaming(show):
        async def stream():
            while True:
                show()
                await asyncio.sleep(0.05)

        task = asyncio.create_task(stream())
        try:
            yield
        finally:
            task.cancel()

    return streaming


@pytest.fixture
def scripted(start_process, client, camera):
    """The node in a process, and a camera that shows it one image again and again, each with a newer stamp."""
    start_process(SCRIPT, "--ros-args", "-p", "diagnostics_period_s:=0.1")
    client.connect()
    stamp_ns = 12_000_000_000

    def show():
        nonlocal stamp_ns
        stamp_ns += 50_000_000
        client.images.publish(image_of(bright_frame(stamp_ns)))

    return lambda: camera(show)


def picture_of(result):
    (block,) = [block for block in result.content if block.type == "image"]
    return cv2.imdecode(np.frombuffer(base64.b64decode(block.data), np.uint8), cv2.IMREAD_COLOR)


def text_of(result):
    return next(block.text for block in result.content if block.type == "text")


def test_an_agent_asks_looks_and_prompts(talk, scripted):
    async def conversation(agent):
        async with scripted():
            tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
            assert set(tools) == {"ask", "look", "follow", "prompt", "what_happened"}
            assert all(tool.description and tool.annotations.read_only_hint for tool in tools.values())
            assert {"status", "confidence"} <= set(tools["ask"].output_schema["required"])

            found = await agent.call_tool("ask", {"question": "the bright one"})
            answer = found.structured_content
            assert (answer["status"], answer["is_answer"], answer["confidence"]) == ("ok", True, None)
            assert answer["regions"][0]["box_xyxy_px"] == [30, 10, 50, 20] and answer["regions"][0]["area_px"] == 200
            assert json.loads(text_of(found)) == answer

            for question, status in (("a unicorn", "no_target"), ("boom", "failed")):
                result = await agent.call_tool("ask", {"question": question})
                assert (result.is_error, result.structured_content["status"]) == (False, status)
            assert "Nothing is known" in result.structured_content["meaning"]

            drawn = await agent.call_tool("ask", {"question": "brief: the bright one", "picture": True})
            assert drawn.structured_content["picture"] == "below" and picture_of(drawn).std() > 0

            seen = await agent.call_tool("look", {})
            assert json.loads(text_of(seen))["image_wh_px"] == [64, 48]
            assert picture_of(seen)[15, 40].min() > 150 > picture_of(seen)[40, 10].max()

            boxes = await agent.call_tool("prompt", {"boxes": [[30, 10, 50, 20], [0, 0, 8, 8]]})
            assert [region["area_px"] for region in boxes.structured_content["regions"]] == [200, 64]
            backwards = await agent.call_tool("prompt", {"boxes": [[50, 20, 30, 10]]})
            assert backwards.structured_content["status"] == "refused"

            wrong = [("ask", {}), ("ask", {"question": ""}), ("prompt", {"boxes": [[1, 2, 3]]})]
            wrong += [("prompt", {"boxes": [[0, 0, 1e30, 1]]}), ("follow", {"question": "x", "seconds": 1e6})]
            for tool, arguments in wrong:
                assert (await agent.call_tool(tool, arguments)).is_error, (tool, arguments)

    talk(conversation)


def test_an_agent_follows_and_asks_what_happened(talk, start_process, client, camera):
    start_process(MOVING, "--ros-args", "-p", "diagnostics_period_s:=0.1", "-p", "stream.buffer_hz:=1000.0")
    client.connect()
    stream = Stream(client)

    async def conversation(agent):
        async with camera(lambda: stream.show(1)):
            report = (await agent.call_tool("follow", {"question": "the bright one", "seconds": 1})).structured_content
            assert (report["answer"]["status"], report["ended"]) == ("ok", "after 1 s")
            sightings = report["sightings"]
            assert len(sightings) >= 2 and len({sighting["track_id"] for sighting in sightings}) == 1
            # One pixel to the right in 0.1 s.
            first, last = sightings[0], sightings[-1]
            moved_px = (last["box_xyxy_px"][0] - first["box_xyxy_px"][0]) % 50
            assert moved_px == pytest.approx(10 * (last["seconds"] - first["seconds"]) % 50)

            report = (await agent.call_tool("follow", {"question": "a unicorn"})).structured_content
            assert (report["answer"]["status"], report["sightings"]) == ("no_target", [])
            assert report["ended"].startswith("no_target")

            happened = await agent.call_tool("what_happened", {"question": "what was there first?"})
            assert happened.structured_content["status"] == "ok"
            assert "it was there first" in happened.structured_content["thought"]

    talk(conversation)


def test_a_call_that_the_agent_gives_up_ends_the_question(talk, scripted, client):
    async def conversation(agent):
        async with scripted():
            await agent.call_tool("ask", {"question": "the bright one"})  # now the server is connected to the node
            with pytest.raises(mcp.MCPError):
                await agent.call_tool("ask", {"question": "slow: the bright one"}, read_timeout_seconds=5.0)

            def last_status():
                client.spinner.spin_once(timeout_sec=0)
                return [answer.status for answer in client.got["segmentation"]][-1:]

            while last_status() != ["cancelled"]:
                await asyncio.sleep(0.02)

    talk(conversation)


def test_calls_are_limited_and_a_missing_camera_is_named(talk):
    async def conversation(agent):
        blind = await agent.call_tool("look", {})
        assert blind.is_error and "/left/image has no publisher of images" in text_of(blind)
        await agent.call_tool("look", {})
        refused = await agent.call_tool("look", {})
        assert refused.is_error and "more than 2 calls in a minute" in text_of(refused)

    talk(conversation, "--per-minute", "2", "--image", "/left/image", "--wait", "0.5")


def test_a_missing_node_is_named_with_its_remedy(talk):
    async def conversation(agent):
        result = await agent.call_tool("ask", {"question": "the mug"})
        assert result.is_error and "no node /left/reasonseg answered within 0.5 s" in text_of(result)
        assert "ros2 launch" in text_of(result)

    talk(conversation, "--name", "/left/reasonseg", "--wait", "0.5")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_although_its_input_stays_open(domain_id, number):
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "reasonseg_ros.cli", "mcp"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe) as server:
        client = {"name": "test", "version": "1"}
        parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["result"]["serverInfo"]["name"] == "reasonseg"
        server.send_signal(number)
        assert server.wait(90) == 128 + number
