"""What may be shown of a value that holds a user's secret: addresses with credentials, keys, tokens and passwords.

Settings, commands and errors are written and passed on; what they hold of secrets must not go along.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeVar

HIDDEN: Final = "(kept secret)"
# What `events.user_key` is where nobody has set one: no secret, since it stands here.
PUBLIC_USER_KEY: Final = "thumbline"
_NAMED: Final = "(kept secret, "
# A character of private use.
_MARK: Final = "\ue0f7"
_DIGEST_BYTES: Final = 6
_Value = TypeVar("_Value")

# Names that hold secrets, at their end: `user_key`, `HF_TOKEN`, `aws_secret_access_key`; not `max_tokens`, `key_from`.
_SECRET_NAME: Final = re.compile(
    r"(?:^|[_\-.])(?:api_?key|key|token|secret|password|passwd|authorization|credentials?|cookie|signature|sig)$"
    r"|(?:api|access|secret|user|auth|private)(?:key|token)$",
    re.IGNORECASE,
)
# Names of a tokenizer's own, which end like those.
_TOKENS: Final = re.compile(r"(?:^|[_\-.])(?:bos|eos|pad|unk|sep|cls|mask|end|special|image)_token$", re.IGNORECASE)
# Where an address says who asks; as a path it has lost one of its slashes.
_HOST: Final = r"(?:(?<=://)|(?<=\w\w:/)(?!/))"
# Who asks. A password may hold a slash or a question mark, although it should not.
_LONG_USER: Final = re.compile(_HOST + r"[^/?#\s:@\"'<>]*:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>]*@")
_USER: Final = re.compile(_HOST + r"[^/?#\s\"'<>]*@")
# The parameters, up to where the address ends in a text. No pattern may begin anywhere in a long word: time would grow
# with its square.
_QUERY: Final = re.compile(r"(\w[\w+.\-]{0,40}:/{1,2}[^\s?#\"'<>]*)([?#])")
_WORD: Final = re.compile(r"[^\s\"'<>]+")
_PARAMETER: Final = re.compile(r"([^=&;?#]+)=([^&;#]*)")
# Parameters that name what is asked for; all others may be credentials.
_HARMLESS: Final = frozenset({"api-version", "dl", "download", "format", "raw", "revision", "version", "versionid"})
# `key=value` of a command; `key: value` where it stands between braces or commas, in quotes, or alone on a line.
_ENDS: Final = r"(?:[_\-]key|apikey|token|secret|passw(?:or)?d|authorization|cookie)"
_VALUE: Final = r"('[^']*'|\"[^\"]*\"|[^\s,;&}\]'\"]+)"
_OPTION: Final = re.compile(rf"(?<![\w.\-])([\w.\-]*{_ENDS})(=){_VALUE}", re.IGNORECASE)
_ENTRY: Final = re.compile(
    rf"(?:(?<=[{{,('\"])|(?<=, )|^)([^\S\n]*[\w.\-]*{_ENDS})(['\"]?\s*:\s*){_VALUE}(?=\s*(?:[,}}\n]|$))",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER: Final = re.compile(r"\b(Bearer|Basic)\s+[\w+/=.~\-]{8,}")
# Keys that are known by their form: Hugging Face, OpenAI and those alike, GitHub, GitLab, AWS, Google, Slack.
_TOKEN: Final = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w\-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w\-]{16,}"
    r"|A[KS]IA[0-9A-Z]{16}|AIza[\w\-]{30,}|xox[abprs]-[\w\-]{10,})"
)
# A shorter value of the environment may be any word.
_SHORTEST: Final = 8
# Shells keep the working folder under these names.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})


def without_secrets(value: _Value) -> _Value:
    """`value` with `HIDDEN` in place of each secret; keys and shapes stay.

    Args:
        value: A text, or mappings and lists of texts, however deep, as settings are.
    """
    hidden: _Value = _hidden(value, lambda _: HIDDEN)
    return hidden


def with_named_secrets(value: _Value) -> _Value:
    """As `without_secrets`, but a setting that is a secret leaves a digest, so that a change of it shows.

    A value that was treated so stays as it is.
    """
    named: _Value = _hidden(value, _named)
    return named


def bare_address(address: str) -> str:
    """An address without user, password and parameters: what a file that lies there is called."""
    plain = _USER.sub("", _LONG_USER.sub("", address))
    is_web = plain.lower().startswith(("http://", "https://"))
    return plain.partition("?")[0].partition("#")[0] if is_web or "=" in plain.partition("?")[2] else plain


def shown_command(arguments: Iterable[str]) -> str:
    """A command line as a shell takes it, without the secrets of its arguments."""
    return shlex.join(map(shown_argument, arguments))


def shown_argument(argument: str) -> str:
    """One argument without its secrets; of `name=value` all of the value may be one, blanks included."""
    name, sign, value = argument.partition("=")
    if sign and value not in ("", PUBLIC_USER_KEY) and is_secret_name(name):
        return f"{name}={HIDDEN}"
    return _in_text(argument)


def as_told(text: str) -> str:
    """`text` as a person may be told it: `without_secrets`, and without what the environment holds of secrets."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and name not in _FOLDERS and is_secret_name(name) and value in text:
            text = text.replace(value, HIDDEN)
    return without_secrets(text)


def is_secret_name(name: str) -> bool:
    """Whether what goes by that name is a secret."""
    return _SECRET_NAME.search(name) is not None and _TOKENS.search(name) is None


def holds_hidden(text: str) -> bool:
    """Whether a secret of the text was left out of it."""
    return HIDDEN in text or _NAMED in text


def _named(secret: str) -> str:
    if holds_hidden(secret):
        return secret
    return f"{_NAMED}{blake2b(secret.encode('utf-8', 'surrogatepass'), digest_size=_DIGEST_BYTES).hexdigest()})"


def _hidden(value: Any, as_shown: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return _in_text(value)
    if isinstance(value, Mapping):
        return {key: _under(str(key), part, as_shown) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_hidden(part, as_shown) for part in value])
    return value


def _under(key: str, value: Any, as_shown: Callable[[str], str]) -> Any:
    if not isinstance(value, str) or not value or not is_secret_name(key) or value == PUBLIC_USER_KEY:
        return _hidden(value, as_shown)
    return as_shown(value)


def _in_text(text: str) -> str:
    # One character while it is looked at: the words hold a blank, at which an address ends.
    text = text.replace(HIDDEN, _MARK)
    if ":/" in text:
        text = _WORD.sub(_without_credentials, text)
    text = _HEADER.sub(rf"\1 {_MARK}", _TOKEN.sub(_MARK, text))
    text = _ENTRY.sub(_without_option, _OPTION.sub(_without_option, text))
    return text.replace(_MARK, HIDDEN)


def _without_credentials(found: re.Match[str]) -> str:
    """A word without what its addresses hold of secrets; what follows the last sign of one is not looked through."""
    word = found.group()
    end = word.rfind("@") + 1
    if end:
        word = _USER.sub(f"{_MARK}@", _LONG_USER.sub(f"{_MARK}@", word[:end])) + word[end:]
    end = max(word.rfind("?"), word.rfind("#")) + 1
    begun = _QUERY.search(word[:end]) if end else None
    if begun is None or begun.end() == len(word):
        return word
    address, sign = begun.groups()
    return word[: begun.start()] + _without_parameters(address, sign, word[begun.end() :])


def _without_parameters(address: str, sign: str, parameters: str) -> str:
    if "=" not in parameters:
        # Without parameters a glob's sign, but at an address of the web.
        is_web = address.lower().startswith(("http:/", "https:/"))
        return f"{address}{sign}{_MARK if is_web and sign == '?' else parameters}"
    return f"{address}{sign}" + _PARAMETER.sub(_without_value, parameters)


def _without_value(found: re.Match[str]) -> str:
    name, _ = found.groups()
    return found.group() if name.lower() in _HARMLESS else f"{name}={_MARK}"


def _without_option(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    if value.strip("'\"") in (PUBLIC_USER_KEY, _MARK) or not is_secret_name(name.strip()):
        return found.group()
    return f"{name}{sign}{_MARK}"
