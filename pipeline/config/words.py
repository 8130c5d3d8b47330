"""YAML in which a setting that is a text is taken as it is written: `up: Yes` is the word, `revision: 0123` the digits.

YAML makes booleans of yes, no, on and off, numbers of digits and times of dates. Where a setting takes texts nothing of
that is meant, and what was meant cannot be told from what YAML made of it. Numbers that YAML reads to another base than
the one they are written to, 010 as 8 and 1:30 as 90, are refused.
"""

import re
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from .run import RunConfig

_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_WHOLE: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_OCTAL: Final = re.compile(r"[-+]?0[0-7_]+")
_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Plain values alone, and a key that stands twice is an error: YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML makes it, once each key is there once."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in seen:
                    problem = f"the key '{key.value}' is there twice, before that on line {seen[key.value]}"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """A number to base 10, or of a base that is written before it."""
    written = str(node.value)
    is_whole = node.tag == _WHOLE
    if ":" in written or (is_whole and _OCTAL.fullmatch(written)):
        base = 60 if ":" in written else 8
        problem = f"YAML reads '{written}' as a number to base {base}; write it to base 10, or a text in quotes"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return loader.construct_yaml_int(node) if is_whole else loader.construct_yaml_float(node)


for _tag in (_WHOLE, _FLOAT):
    _Loader.add_constructor(_tag, _number)


def read_yaml(text: str, place: tuple[str, ...] = ()) -> Any:
    """The document that a text is.

    Args:
        text: A run file, or the value of one setting.
        place: Names that lead to the setting; none for a whole run file.

    Raises:
        yaml.YAMLError: It is none, a key stands twice in one mapping, or a number is to a base that it does not name.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _keep_texts(node, _type_at(place), set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _type_at(place: tuple[str, ...]) -> Any:
    """What a setting takes; None where there is none of that name."""
    kind: Any = RunConfig
    for name in place:
        kind = _inner(kind, name)
    return kind


def _inner(kind: Any, name: str) -> Any:
    """What the entry called `name` of a section or a mapping takes."""
    kind = _alone(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(name)
        return None if field is None else field.annotation
    return get_args(kind)[1] if get_origin(kind) is dict else None


def _alone(kind: Any) -> Any:
    """A type without what else is said of it, and without None."""
    if get_origin(kind) is Annotated:
        return _alone(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        others = [one for one in get_args(kind) if one is not NoneType]
        return _alone(others[0]) if len(others) == 1 else kind
    return kind


def _is_text(kind: Any) -> bool:
    return kind is str or (get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind)))


def _keep_texts(node: yaml.Node, kind: Any, seen: set[int]) -> None:
    """Make texts of all values below a node that are settings of texts."""
    kind = _alone(kind)
    if kind is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            _keep_texts(value, _inner(kind, str(name.value)), seen)
    elif isinstance(node, yaml.SequenceNode):
        # A label may be one text or a list of them.
        listed = get_args(kind)[0] if get_origin(kind) is tuple else kind if _is_text(kind) else None
        for entry in node.value:
            _keep_texts(entry, listed, seen)
    elif _is_text(kind) and node.tag != _NULL:
        node.tag = _TEXT
