import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters

from reasonseg_ros.config import settings


def test_every_setting_is_a_described_parameter_with_its_bounds(start_node, client):
    start_node(autostart=False)
    names = [name for name, _, _ in settings()]
    described = client.call(DescribeParameters, "describe_parameters", DescribeParameters.Request(names=names))
    kinds = {bool: ParameterType.PARAMETER_BOOL, int: ParameterType.PARAMETER_INTEGER}
    kinds |= {float: ParameterType.PARAMETER_DOUBLE, str: ParameterType.PARAMETER_STRING}
    for descriptor, (name, item, default) in zip(described.descriptors, settings(), strict=True):
        limits = item.metadata
        assert (descriptor.name, descriptor.type) == (name, kinds[type(default)])
        assert descriptor.description == limits["description"]
        assert all(choice in descriptor.additional_constraints for choice in limits["choices"])
        bounds = [*descriptor.floating_point_range, *descriptor.integer_range]
        expected = [] if limits["minimum"] is None else [(limits["minimum"], limits["maximum"])]
        assert [(bound.from_value, bound.to_value) for bound in bounds] == expected
        says_fixed = descriptor.read_only or "while the node is configured" in descriptor.additional_constraints
        assert says_fixed == limits["read_only"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("query__policy", "shout", "expected one of queue, replace, refuse"),
        ("query__queue_size", 0, "queue_size"),
        ("query__frame_wait_s", -1.0, "frame_wait_s"),
        ("output__overlay_alpha", float("nan"), "overlay_alpha"),
        ("query__frame_wait_s", "long", "DOUBLE"),
        ("camera__transport", "compressed", "fixed while the node is configured"),
        ("autostart", False, "read-only"),
        ("reasoner__modell", "x", "did you mean reasoner.model?"),
    ],
)
def test_a_bad_value_is_refused_with_the_reason_and_changes_nothing(node, client, name, content, reason):
    before = node.config
    assert reason in client.set(**{name: content})[0]
    assert node.config == before


def test_a_threshold_without_a_confidence_is_refused_also_while_the_node_runs(start_node, client):
    """No answer would be unsure, as LLM-Seg's answers have no confidence."""
    node = start_node(method="llm_seg")
    assert "answers have no confidence" not in client.set(answer__min_confidence=0.0)[0]
    before = node.config
    assert "so no answer has a confidence" in client.set(answer__min_confidence=0.5)[0]
    assert node.config == before
    assert client.transition("deactivate") and client.transition("cleanup")
    assert client.set(answer__min_confidence=0.5) == [""]  # whoever configures it next is answered then


def test_a_good_value_acts_at_once(node, client):
    assert client.set(query__max_characters=5) == [""]
    assert client.ask("the bright one").status == "refused"
    assert client.set(query__max_characters=50, output__mask_encoding="rle") == ["", ""]
    assert client.ask("the bright one").regions[0].mask.encoding == "rle"
