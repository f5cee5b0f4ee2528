"""The MCP server: five tools of the running node. Every answer has a status and a confidence."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

from reasonseg_ros import __version__
from reasonseg_ros.action import Segment
from reasonseg_ros.agent.call_rate import CallRate
from reasonseg_ros.agent.ending import end_by_signals
from reasonseg_ros.agent.link import NodeLink
from reasonseg_ros.agent.pictures import jpeg_within
from reasonseg_ros.agent.reports import AnswerReport, FollowReport, answer_report, follow_report
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.msg import Box, Point2D, Query, Segmentation
from reasonseg_ros.srv import Prompt
from reasonseg_ros.types import RgbImage

INSTRUCTIONS = """\
A robot's camera that answers questions in ordinary words with regions of the image, and with positions in metres if it
has depth. Every answer has a `status`. Only `ok` and `no_target` are answers; with any other status nothing is known
about the scene, and `unsure` is a guess that must not be acted on. `confidence` is the probability that the right
targets are meant. Ask about one thing at a time, as precisely as a person would.
"""
LONGEST_QUESTION = 2000
MOST_PROMPTS = 20
LONGEST_FOLLOW_S = 120.0

QuestionText = Annotated[
    str, Field(description="a question in ordinary words", min_length=1, max_length=LONGEST_QUESTION)
]
WithPicture = Annotated[bool, Field(description="also return the image with the regions drawn on it")]
Seconds = Annotated[float, Field(description="how long to follow", ge=0.5, le=LONGEST_FOLLOW_S)]
Pixel = Annotated[float, Field(ge=-100_000, le=100_000)]
BoxesPx = Annotated[
    list[Annotated[list[Pixel], Field(min_length=4, max_length=4)]],
    Field(description="x1, y1, x2, y2 of each box, in pixels of the camera image", max_length=MOST_PROMPTS),
]
PointsPx = Annotated[
    list[Annotated[list[Pixel], Field(min_length=2, max_length=2)]],
    Field(description="x, y of each point, in pixels; one for each box, or none", max_length=MOST_PROMPTS),
]


class Tools:
    """The tools. Their docstrings are the descriptions that the agent reads."""

    def __init__(self, link: NodeLink, rate: CallRate, most_side_px: int) -> None:
        self._link = link
        self._rate = rate
        self._most_side_px = most_side_px

    async def ask(
        self, question: QuestionText, picture: WithPicture = False
    ) -> Annotated[CallToolResult, AnswerReport]:
        """Ask what fits a question in the newest camera image, such as "something to drive a nail in with"."""
        return await self._answer(lambda: self._link.ask(Segment.Goal(text=question, mode=Query.ONCE)), picture)

    async def what_happened(
        self, question: QuestionText, picture: WithPicture = False
    ) -> Annotated[CallToolResult, AnswerReport]:
        """Ask about the last seconds of the camera's images, such as "what was pushed?"."""
        return await self._answer(lambda: self._link.ask(Segment.Goal(text=question, mode=Query.HISTORY)), picture)

    async def prompt(
        self, boxes: BoxesPx, points: PointsPx | None = None, picture: WithPicture = False
    ) -> Annotated[CallToolResult, AnswerReport]:
        """Get the regions in given boxes of the newest image, if you already know where to look. Asks no question."""
        request = Prompt.Request(
            boxes=[Box(**dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))) for box in boxes],
            points=[Point2D(x=x, y=y) for x, y in points or ()],
        )
        return await self._answer(lambda: self._link.prompt(request), picture)

    async def follow(self, question: QuestionText, seconds: Seconds = 5.0) -> Annotated[CallToolResult, FollowReport]:
        """Ask once, then follow the targets from image to image for some seconds, and report where they went."""
        with self._call():
            goal = Segment.Goal(text=question, mode=Query.TRACK, query_id=f"follow {uuid.uuid4()}")
            answers, last = await self._link.follow(goal, seconds)
            ended = f"after {seconds:g} s" if last is None else f"{last.status}: {last.error or last.thought}"
            return _result(follow_report(answers, ended))

    async def look(self) -> CallToolResult:
        """See the camera's next image. It is scaled down: multiply its pixels by `scale` for the other tools."""
        with self._call():
            rgb, stamp_ns = await self._link.look()
            scale = max(1.0, max(rgb.shape[:2]) / self._most_side_px)
            facts = {"image_wh_px": [rgb.shape[1], rgb.shape[0]], "image_stamp_s": stamp_ns / 1e9, "scale": scale}
            return CallToolResult(content=[TextContent(type="text", text=json.dumps(facts)), self._image(rgb)])

    async def _answer(self, asking: Callable[[], Awaitable[Segmentation]], picture: bool) -> CallToolResult:
        with self._call():
            if not picture:
                return _result(answer_report(await asking()))
            answer, drawn = await self._link.with_picture(asking)
            if drawn is None:
                return _result(answer_report(answer, "none: no picture of this answer arrived in time"))
            return _result(answer_report(answer, "below"), self._image(drawn))

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Count a call. Expected errors become error replies of the tool."""
        try:
            self._rate.take()
            yield
        except ReasonSegError as error:
            raise ToolError(str(error)) from error

    def _image(self, rgb: RgbImage) -> ImageContent:
        data = base64.b64encode(jpeg_within(rgb, self._most_side_px)).decode()
        return ImageContent(type="image", data=data, mime_type="image/jpeg")


def make_server(link: NodeLink, rate: CallRate, most_side_px: int) -> MCPServer[Any]:
    """The server with its tools, for any transport."""
    server: MCPServer[Any] = MCPServer("reasonseg", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    tools = Tools(link, rate, most_side_px)
    for tool in (tools.ask, tools.look, tools.follow, tools.prompt, tools.what_happened):
        server.add_tool(tool, annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True))
    return server


def serve(link: NodeLink, rate: CallRate, most_side_px: int) -> None:
    """Serve on standard input and output until the client closes them or a signal arrives."""
    end_by_signals()
    make_server(link, rate, most_side_px).run("stdio")


def _result(report: AnswerReport | FollowReport, *more: ContentBlock) -> CallToolResult:
    """The report as structured content, and as JSON text for clients without that."""
    fields = asdict(report)
    text = TextContent(type="text", text=json.dumps(fields, ensure_ascii=False))
    return CallToolResult(content=[text, *more], structured_content=fields)
