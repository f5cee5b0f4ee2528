"""Settings that can be checked before the models are loaded."""

import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.config import METHODS, config_from, settings
from reasonseg_ros.errors import ConfigError, ReasonSegError
from reasonseg_ros.methods import loading
from reasonseg_ros.methods.confident import Confident
from reasonseg_ros.methods.settings import check_settings, naming_parameters
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

SERVER = {"reasoner.backend": "server"}


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("reasoner.model", "missing", {}),
        ("reasoner.model", "", {}),
        ("reasoner.model", "/tmp", {}),
        ("reasoner.model", "tabletop-segmenter", {}),
        ("segmenter.model", "missing", {}),
        ("segmenter.model", "tabletop-reasoner", {}),
        ("reasoner.prompt_file", "/no/such/file", {}),
        ("reasoner.prompt_file", "/tmp", {}),
        ("reasoner.prompt_file", "/no/such/file", SERVER),
        ("reasoner.server_key_variable", "NO_SUCH_VARIABLE", SERVER),
        *(
            ("reasoner.server_url", url, SERVER)
            for url in (
                "", "foo", "127.0.0.1:8000/v1", "localhost:8000", "ftp://x/v1", "file:///v1", "http://", "http:///v1",
                "http://x:99999/v1", "http://x:0/v1", "http://x:port/v1", "http://a b/v1", "http://[::1/v1",
                "http://x/v1?key=1", " http://x/v1", "http://x/v1\n",
            )
        ),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named(name, value, others):
    config = config_from({name: value, **others})
    with pytest.raises(ReasonSegError) as raised:
        loading.load_method(config)
    assert str(raised.value).startswith(name)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://robot.example/api/v1/", "http://[::1]:8000/v1"])
def test_an_address_that_can_be_asked_is_taken(url):
    check_settings(config_from({"reasoner.server_url": url, **SERVER}))


def test_the_address_of_no_server_is_not_looked_at():
    check_settings(config_from({"reasoner.server_url": "none"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device = 'x' cannot be used", "segmenter.device = 'x' cannot be used"),
        ("segmenter.refine = 'x'", "segmenter.refine = 'x'"),
        ("no graph", "segmenter: no graph"),
    ],
)
def test_errors_of_a_group_begin_with_it_once(text, expected):
    with pytest.raises(ConfigError) as raised, naming_parameters("segmenter"):
        raise ConfigError(text)
    assert str(raised.value) == expected


def test_the_parameter_method_offers_the_methods_of_the_table():
    method = next(item for name, item, _ in settings() if name == "method")
    assert method.metadata["choices"] == tuple(METHODS) and method.default in METHODS


@pytest.mark.parametrize("name", METHODS)
def test_each_method_of_the_table_is_built_over_the_loaded_models(monkeypatch, name):
    segmenter, reasoner = ScriptedSegmenter("box"), ScriptedReasoner([""])
    reasoner.state_width = 192  # llm_seg's selection was trained on such states
    reasoner.abilities = frozenset([*reasoner.abilities, Ability.ATTENTION])
    monkeypatch.setattr(loading, "load_segmenter", lambda *_: segmenter)
    monkeypatch.setattr(loading, "load_reasoner", lambda *_: reasoner)
    config = config_from({"method": name, "tracker.mode": "reprompt"})
    method = loading.load_method(config)
    # The default reasoner has a calibration, which is not of the answers of LLM-Seg.
    assert isinstance(method, Confident) == (name != "llm_seg")
    built = method.inner if isinstance(method, Confident) else method
    assert (method.name, type(built).__name__, method.settings.now) == (name, METHODS[name], config)
    assert (method.reasoner, method.segmenter.name) == (reasoner, segmenter.name)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1",
        "http://user:hunter2@host:99999/v1",
        "http://user:hunter2@host/v1?x=1",
        "user:hunter2@host/v1",
        "http://[user:hunter2@host/v1",
    ],
)
def test_an_address_with_a_password_is_refused_and_never_repeated(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"reasoner\.server_url holds a user name or a password") as caught:
        check_settings(config_from({"reasoner.server_url": url, **SERVER}))
    assert "hunter2" not in str(caught.value)
    assert main(["check-server", "--url", url]) == 2
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err
