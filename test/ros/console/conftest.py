"""Fixtures with console, node and bag player as processes, and a real browser."""

import shutil
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from reasonseg_ros.demo.processes import reserve_domain

pytest.importorskip("starlette", reason="needs the extra `console`")
pytest.importorskip("uvicorn", reason="needs the extra `console`")
sys.path.insert(0, str(Path(__file__).parent))

from console_programs import Programs

SWITCHED_OFF = (
    # Two hidden pages of the address bar in each window, which take more time than a test's own page.
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup",
    # What playwright switches off, because this option replaces its own.
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "LensOverlay",
    "HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect", "TcpPortRandomizationWin", "OptimizationHints", "NetworkTimeServiceQuerying",
    "AimEnabled", "PreconnectToSearch",
)  # fmt: skip
"""Features of Chromium. It ignores names that it does not know."""


@contextmanager
def programs_in_a_domain():
    domain_id, reservation = reserve_domain()
    with reservation:
        programs = Programs(domain_id)
        try:
            yield programs
        finally:
            programs.end()


@pytest.fixture(scope="module")
def programs():
    """Processes shared by the tests of a module."""
    with programs_in_a_domain() as programs:
        yield programs


@pytest.fixture
def own_programs():
    """Processes of one test."""
    with programs_in_a_domain() as programs:
        yield programs


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium, driven by playwright.

    For one module, because playwright keeps an event loop running in this thread, and other tests start their own.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `test`)")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a browser; run `sudo apt install chromium`")
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", f"--disable-features={','.join(SWITCHED_OFF)}"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """Open an address in a separate browser profile. The test fails if a page reported an error."""
    contexts, complaints = [], []

    def open_page(address, **options):
        context = chromium.new_context(viewport={"width": 1200, "height": 900}, **options)
        context.set_default_timeout(150_000)  # a node may take long to start on a busy machine
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.complaints = complaints
        # By default, conditions are checked in every animation frame, and for that the browser draws 60 a second.
        page.wait_for_function = partial(page.wait_for_function, polling=50)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
