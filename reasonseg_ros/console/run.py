"""The console's process: a web server in the main thread and a ROS executor in another."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import rclpy
import uvicorn
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from reasonseg_ros.console.access import Gate, new_token
from reasonseg_ros.console.desk import Bridge, Desk
from reasonseg_ros.console.image_cache import ImageCache
from reasonseg_ros.console.options import ConsoleOptions
from reasonseg_ros.console.pictures import THUMBNAIL_PX
from reasonseg_ros.console.review import ReviewFolder
from reasonseg_ros.console.robot import Robot
from reasonseg_ros.console.truths import TruthBag
from reasonseg_ros.console.web import application
from reasonseg_ros.errors import InvalidInput

MOST_REQUEST_BYTES = 256 * 1024
SHUTDOWN_S = 2


def run_console(options: ConsoleOptions, screen: TextIO) -> int:
    """Print the address to `screen` and serve until SIGINT or SIGTERM. Returns 0.

    Raises InvalidInput if the address cannot be bound, or if the ground truth bag or the review folder is unusable.
    """
    truths = TruthBag(options.truth, 2 * THUMBNAIL_PX)
    review = None if options.review is None else ReviewFolder(options.review)
    listener = _listener(options)
    token = "" if options.is_local else new_token()
    try:
        asyncio.run(_serve(options, truths, review, listener, token, screen))
    except KeyboardInterrupt:  # uvicorn raises the signal again after its shutdown
        pass
    finally:
        listener.close()
    return 0


def _listener(options: ConsoleOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"--host {options.host}: {error}; give an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # before the address is printed, so that early connections wait for the server
    except OSError as error:
        listener.close()
        stated = f"{options.host} port {options.port}: {error.strerror}"
        raise InvalidInput(f"cannot listen on {stated}; choose another one with --host and --port") from error
    return listener


async def _serve(
    options: ConsoleOptions,
    truths: TruthBag,
    review: ReviewFolder | None,
    listener: socket.socket,
    token: str,
    screen: TextIO,
) -> None:
    cache = ImageCache(options.camera_mb * 1e6)
    desk = Desk(options, cache, truths, review)
    config = uvicorn.Config(
        Gate(application(desk), token),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=MOST_REQUEST_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    with _robot(options, cache, desk):
        images = asyncio.create_task(desk.send_images())
        print(f"console    {_address(options, listener, token)}", file=screen)
        print(f"node       {options.node_name}", file=screen)
        if review is not None:
            print(f"review     {review.folder}", file=screen)
        print(f"truth      {truths.folder}", file=screen, flush=True)
        try:
            await uvicorn.Server(config).serve(sockets=[listener])
        finally:
            images.cancel()


@contextmanager
def _robot(options: ConsoleOptions, cache: ImageCache, desk: Desk) -> Iterator[None]:
    """A ROS node that spins in a thread."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("reasonseg_console", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    robot = desk.robot = Robot(node, options, cache, Bridge(desk, asyncio.get_running_loop()))
    stopping = threading.Event()
    thread = threading.Thread(target=_spin, args=(node, executor, stopping), name="reasonseg console ROS", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        executor.wake()
        thread.join()
        robot.destroy()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _spin(node: Node, executor: SingleThreadedExecutor, stopping: threading.Event) -> None:
    """Spin until `stopping`. A failing callback is logged and does not end the loop."""
    while not stopping.is_set():
        try:
            executor.spin_once()
        except ExternalShutdownException:
            return
        except Exception as error:
            with suppress(Exception):
                node.get_logger().error(f"a callback failed: {type(error).__name__}: {error}")


def _address(options: ConsoleOptions, listener: socket.socket, token: str) -> str:
    host, port = options.host, listener.getsockname()[1]
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = socket.gethostname()
        elif address.version == 6:
            host = f"[{host}]"
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")
