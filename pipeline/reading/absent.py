"""Keys that a row does not have: a column of objects gives each the keys of all, null where an object had none."""

from typing import Any, Final

# Under these keys an object's keys are its own: two tools, or two calls, have no keys in common.
_OWN_KEYS: Final = frozenset({"tools", "tool_calls", "function_call"})


def without_absent(value: Any, key: str = "") -> Any:
    """The value; under tools and their calls without the nulls of keys that only other rows have.

    Source: TRL 1.16, `remove_none_values`, which takes every null of a data set for a key that is not there. Deviation:
        elsewhere a null is what was written.

    Args:
        value: A column's value in a row.
        key: The column, or the key of an object, that holds it.
    """
    if key in _OWN_KEYS:
        return _present(value)
    if isinstance(value, dict):
        return {name: without_absent(inner, name) for name, inner in value.items()}
    return [without_absent(inner) for inner in value] if isinstance(value, list) else value


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(inner) for name, inner in value.items() if inner is not None}
    return [_present(inner) for inner in value] if isinstance(value, list) else value
