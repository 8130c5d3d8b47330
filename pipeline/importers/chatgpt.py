"""ChatGPT's data export: `message_feedback.json` joined with `conversations.json`, whatever generation wrote a row.

The oldest rows name the message that they are about; later ones only have an `id`, which may be the message's. It is
tried as that; where no message has it, the vote is about its conversation's answer if the conversation has only one,
and else it is rejected. A conversation is a tree of messages: what stands before an answer is its own branch. Hidden
messages, a model's thoughts and messages without text stay out of the prompt. The oldest rows have no time.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from .base import ImporterSpec, Message
from .shared import feedback, joins, values
from .shared.joins import Row, Vote, text_or_problem
from .shared.roles import ROLES
from .shared.texts import Text, TextIndex

NAME: Final = "chatgpt"
# A model's thoughts and a user's standing instructions are no part of what was said.
_SILENT: Final = ("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context")


def _is_feedback(row: Row) -> bool:
    return row.keys() >= {"rating", "conversation_id", "content"} and bool({"message_id", "id"} & row.keys())


def _is_conversation(row: Row) -> bool:
    return row.keys() >= {"mapping", "current_node"}


def detect(rows: list[dict[str, Any]]) -> bool:
    """Whether a row is a conversation's tree or the feedback on a message."""
    return any(_is_conversation(row) or (_is_feedback(row) and "user_id" in row) for row in rows)


class _Reader(NamedTuple):
    settings: feedback.Settings

    def texts(self, row: Row) -> Iterator[Text]:
        mapping = row.get("mapping")
        if not _is_conversation(row) or not isinstance(mapping, dict):
            return
        texts = [_text(str(name), node, row) for name, node in mapping.items() if isinstance(node, dict)]
        yield from texts
        answers = [text for text in texts if text.messages and text.messages[-1]["role"] == "assistant"]
        if len(answers) == 1:
            yield answers[0]._replace(key=f"only:{answers[0].conversation}")

    def votes(self, row: Row, index: TextIndex) -> Iterator[Vote | RowError]:
        if not _is_feedback(row):
            return
        named, conversation = values.identifier(row, "message_id"), values.identifier(row, "conversation_id")
        message = named or values.identifier(row, "id")
        only = () if named is not None else (f"only:{conversation}",)
        yield Vote(
            about=(*([message] if message is not None else []), *only),
            vote=self.settings.vote(row, "rating"),
            source_event_id=message,
            user_id=values.identifier(row, "user_id"),
            conversation_id=conversation,
            created_at=values.time(row, "update_time") or values.time(row, "create_time"),
        )


def _text(name: str, node: Row, conversation: Row) -> Text:
    """One node of the tree; a node that says nothing has no messages."""
    identity = conversation.get("conversation_id") or conversation.get("id")
    stated, parent = node.get("message"), node.get("parent")
    parent = parent if isinstance(parent, str) else None
    message = stated if isinstance(stated, dict) else {}
    # Votes name the message, which by custom is called like its node; branches go by nodes.
    text = text_or_problem(
        name,
        lambda: Text(
            name,
            _messages(message),
            parent,
            values.identifier({"id": identity}, "id"),
            model=_model(_metadata(message)),
        ),
    )
    return text._replace(parent=parent)


def _metadata(message: Row) -> Row:
    metadata = message.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _model(metadata: Row) -> str | None:
    model = metadata.get("model_slug")
    return model if isinstance(model, str) and model else None


def _messages(message: Row) -> list[Message]:
    """What a node says: one message, or none where it is silent.

    Raises:
        RowError: An author or a content that cannot be read, or a user's message without text.
    """
    content = message.get("content")
    if not message or _metadata(message).get("is_visually_hidden_from_conversation") is True:
        return []
    if not isinstance(content, dict):
        raise RowError("wrong_type", "a message of the conversation has no content")
    if content.get("content_type") in _SILENT:
        return []
    role, text = _role(message), _content_text(content)
    if not text.strip():
        if role == "user":
            raise RowError("no_text", "a user's message of the conversation has no text")
        return []
    return [{"role": role, "content": text}]


def _role(message: Row) -> str:
    author = message.get("author")
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise RowError("unknown_role", f"a message of the conversation has the author {bounded_label(role)}")
    return role


def _part_text(part: Any) -> str:
    """A part of a content: a text, or what was heard of speech.

    Raises:
        RowError: It is no text, such as an image.
    """
    if isinstance(part, str):
        return part
    kind = part.get("content_type") if isinstance(part, dict) else None
    if kind == "audio_transcription" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise RowError("not_text", f"a message of the conversation has a part of type {bounded_label(kind)}")


def _content_text(content: Row) -> str:
    """The text of a content of any type: its parts that are text, or its own text."""
    parts = content.get("parts")
    if isinstance(parts, list):
        return "\n".join(text for part in parts if (text := _part_text(part)))
    text = content.get("text", content.get("result"))
    return text if isinstance(text, str) else ""


SPEC: Final[ImporterSpec] = joins.joined_spec(
    NAME,
    "ChatGPT's data export: message_feedback.json with conversations.json.",
    detect,
    lambda options: _Reader(feedback.settings(options, names=None)),
    dict(feedback.LABEL_OPTIONS),
)
