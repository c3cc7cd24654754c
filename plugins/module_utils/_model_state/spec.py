# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What is wanted of one model: the options, and the checks that need no server."""

from __future__ import annotations

import math
import re
from typing import Any, Mapping, NamedTuple

from .._argspec import CONFIRM_LOADED, VIA, is_set
from .._http.endpoint import V0, connection_options
from .._http.option_checks import check_seconds
from .._input_errors import OptionError
from .._lmstudio.reader import SETTINGS
from .._requirements.spec import boolean, one_of, read_value, whole_number
from .._text import did_you_mean, format_value, printable

LOADED, UNLOADED, DOWNLOADED = STATES = ("loaded", "unloaded", "downloaded")
AT_LEAST, EXACT, IGNORE = COMPARISONS = ("at_least", "exact", "ignore")
WHEN_DIFFERENT, NEVER = RELOADS = ("when_different", "never")
KEEP, REMOVE = DUPLICATES = ("keep", "remove")
_MAX_SECONDS = 7 * 86400
_RESERVED_LOAD_KEYS = ("model", "echo_load_config")
"""Keys of a load that are not settings."""
_MISSPELT = 0.85
"""How alike a word and a documented setting are that were meant to be the same. Settings of a newer LM Studio are not that alike."""


MODEL_SPEC: dict[str, Any] = {
    **connection_options(),
    "model": {"type": "str", "required": True},
    "state": {"type": "str", "choices": list(STATES), "default": LOADED},
    "config": {"type": "dict", "default": {}},
    "compare": {"type": "dict", "default": {}},
    "download": {"type": "bool", "default": False},
    "source": {"type": "str"},
    "quantization": {"type": "str"},
    "reload": {"type": "str", "choices": list(RELOADS), "default": WHEN_DIFFERENT},
    "pinned": {"type": "bool", "default": True},
    "duplicates": {"type": "str", "choices": list(DUPLICATES), "default": KEEP},
    "exclusive": {"type": "bool", "default": False},
    "keep": {"type": "list", "elements": "str", "default": []},
    "load_timeout": {"type": "float", "default": 600},
    "download_timeout": {"type": "float", "default": 7200},
    "stall_timeout": {"type": "float", "default": 600},
    "confirm_loaded": CONFIRM_LOADED,
    "via": VIA,
}
"""The options of ``model``: one spec for the module and for its action plugin."""


class Wanted(NamedTuple):
    """What is wanted of one model: the options by their names. Make it with :func:`parse_wanted`."""

    model: str
    state: str
    config: Mapping[str, Any]
    compare: Mapping[str, str]
    """How each setting of `config` is compared."""
    download: bool
    source: str
    quantization: str | None
    reload: str
    pinned: bool
    duplicates: str
    exclusive: bool
    keep: tuple[str, ...]
    load_timeout: float
    download_timeout: float
    stall_timeout: float
    confirm_loaded: bool

    @property
    def name(self) -> str:
        """The model in messages."""
        return printable(self.model)


def check_given(given: Mapping[str, Any]) -> None:
    """Refuse values that Ansible's argument check would convert into a name. Raises :class:`OptionError`."""
    for name in ("model", "source", "quantization", "keep"):
        value = given.get(name)
        if is_set(value):
            for text in value if name == "keep" and isinstance(value, (list, tuple)) else [value]:
                _text(name, text)


def parse_wanted(options: Mapping[str, Any]) -> Wanted:
    """The checked options. Raises :class:`InputError`."""
    model = _text("model", options["model"])
    # A bracket may be part of a key.
    if "*" in model or "?" in model:
        raise OptionError("model", f"{printable(model)!r} is not the key of one model. Patterns are not accepted here.")
    if options["api"] == V0:
        problem = "v0 can only list models. They are loaded, unloaded and downloaded over v1, which LM Studio 0.4 has."
        raise OptionError("api", f"{problem} Set api (lmstudio_api) to auto or v1.")
    _check_sense(options)
    config = _parse_config(options["config"])
    source, quantization = (_text(name, options[name]) if options.get(name) else None for name in ("source", "quantization"))
    for name in ("load_timeout", "download_timeout", "stall_timeout"):
        check_seconds(name, options[name], most=_MAX_SECONDS)
    checked = {
        "model": model,
        "config": config,
        "compare": _parse_compare(options["compare"], config),
        "download": options["download"] or options["state"] == DOWNLOADED,
        "source": _check_source(model, source, quantization),
        "quantization": quantization,
        "keep": tuple(_text("keep", pattern) for pattern in options["keep"]),
    }
    return Wanted(**{**{name: options[name] for name in Wanted._fields}, **checked})


def _text(option: str, value: Any) -> str:
    """A name without the spaces around it. Not every string of Ansible is one of Python."""
    if value is None or isinstance(value, (int, float, list, tuple, Mapping)):
        raise OptionError(option, f"{'null' if value is None else format_value(value)} is not a string.")
    text = str(value).strip() if is_set(value) else ""
    if not text:
        raise OptionError(option, "it is empty. Give a name, or remove it.")
    return text


def _check_sense(options: Mapping[str, Any]) -> None:
    """Refuse what has no effect in the state, because whoever set it expects one."""
    state = options["state"]
    refused = {
        LOADED: (),
        UNLOADED: ("config", "compare", "exclusive", "download", "source", "quantization"),
        DOWNLOADED: ("config", "compare", "exclusive"),
    }[state]
    for name in refused:
        if options.get(name):
            raise OptionError(name, f"it has no effect with state: {state}. Remove one of the two.")
    if state == LOADED and not options["download"]:
        for name in ("source", "quantization"):
            if options.get(name):
                raise OptionError(name, "it applies only where the model is downloaded. Set download: true, or remove it.")


def _check_source(model: str, source: str | None, quantization: str | None) -> str:
    for name, text in (("model", model), ("source", source or "")):
        if re.match(r"https?://[^/?#]*@", text, re.IGNORECASE):
            raise OptionError(name, "a URL with a user name or password in it is refused, because it is shown and logged.")
    if quantization and not re.match(r"https?://", source or "", re.IGNORECASE):
        raise OptionError("quantization", "LM Studio takes one only with a URL. Set source to a URL, or remove it.")
    return source or model


def _parse_config(config: Mapping[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for name, value in config.items():
        if not isinstance(name, str) or name in ("", *_RESERVED_LOAD_KEYS):
            raise OptionError("config", f"{format_value(name)} is not a setting of an instance. Remove it.")
        if name != name.strip():
            raise OptionError("config", f"{printable(name)!r} begins or ends with a space. Write it without.")
        # What the server does not report is not compared, so a misspelt setting would pass where the model is loaded already.
        meant = "" if name in SETTINGS else did_you_mean([name], SETTINGS, _MISSPELT)
        if meant:
            raise OptionError("config", f"{printable(name)} is not a setting of an instance.{meant}")
        parsed[name] = _setting(name, value)
    return parsed


def _setting(name: str, value: Any) -> Any:
    """The value of a setting. Documented settings may be text, because templates give text on ansible-core before 2.19."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise OptionError("config", f"{printable(name)} has no value. Give one, or remove it.")
    if name in SETTINGS:
        return read_value(boolean if SETTINGS[name] is bool else whole_number(1), value, f"config: {name}")
    if not isinstance(value, (str, bool, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise OptionError("config", f"{printable(name)} needs a string, a number, true or false.")
    # Ansible's strings may be of a class of its own.
    return str(value) if isinstance(value, str) else value


def _parse_compare(compare: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    for name, how in compare.items():
        if name not in config:
            raise OptionError(
                "compare", f"{format_value(name)} is not in config, so there is nothing to compare. Add it there, or remove it."
            )
        read_value(one_of(COMPARISONS), how, f"compare: {printable(name)}")
        if how == AT_LEAST and isinstance(config[name], (bool, str)):
            raise OptionError("compare", f"{printable(name)}: at_least compares numbers, and {format_value(config[name])} is not one.")
    return {name: str(compare.get(name, AT_LEAST if name == "context_length" else EXACT)) for name in config}
