"""Shared checks of the conformance suites of all ports."""

import inspect


def members(port):
    """Names of the public methods and attributes of a Protocol."""
    methods = {name for name, value in vars(port).items() if inspect.isfunction(value) and not name.startswith("_")}
    return methods, set(port.__annotations__)


def check_members(port, implementation):
    """Assert that every attribute exists, and that every method has the port's signature."""
    methods, attributes = members(port)
    assert methods and not [name for name in attributes if not hasattr(implementation, name)]
    for name in methods:
        expected = list(inspect.signature(getattr(port, name)).parameters.values())[1:]
        found = list(inspect.signature(getattr(implementation, name)).parameters.values())
        assert [one.name for one in found[: len(expected)]] == [one.name for one in expected], name
        for one, wanted in zip(found, expected, strict=False):
            assert (one.default is one.empty) == (wanted.default is wanted.empty), f"{name}: {one.name}"
        needed = [one.name for one in found[len(expected) :] if one.default is one.empty]
        assert all(one.kind is one.VAR_KEYWORD for one in found if one.name in needed), f"{name}: {needed}"
