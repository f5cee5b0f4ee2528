import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_hub_server import FakeHub, weights


@pytest.fixture
def hub():
    files = {"config.json": b'{"model_type": "sam2"}', "model.safetensors": weights(1000), "LICENSE": b"Apache"}
    hub = FakeHub({**files, "pytorch_model.bin": b"not fetched"})
    yield hub
    hub.close()


@pytest.fixture
def models(hub, tmp_path):
    """Runs `reasonseg models ACTION` for a card of the hub's model, with a separate cache."""
    card = tmp_path / "tiny.yaml"
    card.write_text("kind: segmenter\nsource: lab/tiny\nlicence: Apache-2.0\ncommercial_use: allowed\n")
    variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}

    def run(action, *arguments, **more):
        command = [sys.executable, "-m", "reasonseg_ros.cli", "models", action, str(card), *arguments]
        environment = {**os.environ, **variables, **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run
