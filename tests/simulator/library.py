# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The models of one host, and what is loaded of them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any


class Instance:
    """A model in memory, or on its way there: it is listed from the beginning of its load."""

    def __init__(self, listed: dict[str, Any], ttl: float | None = None, is_loading: bool = False) -> None:
        self.listed = listed
        self.expires: float | None = None
        self.outcome: str | None = None if is_loading else "loaded"
        """How its load has ended, or what has ended it later: loaded, crash, unloaded or restart."""
        self.ended = asyncio.Event()
        """Its load is over, however it ended."""
        self.removed = asyncio.Event()
        if ttl is not None:
            self.touch(ttl)

    def touch(self, ttl: float) -> None:
        """It unloads when it has been idle for that many seconds from now."""
        self.expires = time.monotonic() + ttl

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.ended.set()
        if outcome != "loaded":
            self.removed.set()

    @property
    def is_loading(self) -> bool:
        return self.outcome is None

    @property
    def id(self) -> Any:
        return self.listed["id"]

    def row(self) -> dict[str, Any]:
        if self.expires is None:
            return self.listed
        return {**self.listed, "remaining_ttl_seconds": round(self.expires - time.monotonic())}


class Model:
    """What is on disk, as it is listed, and its instances, the oldest first."""

    def __init__(self, listed: dict[str, Any]) -> None:
        self.listed = listed
        self.instances = [Instance(instance) for instance in listed.get("loaded_instances") or []]

    @property
    def key(self) -> str:
        return str(self.listed["key"])

    def row(self) -> dict[str, Any]:
        return {**self.listed, "loaded_instances": [instance.row() for instance in self.instances]}


class Library:
    """All models of a host."""

    def __init__(self) -> None:
        self.models: list[Model] = []
        self._kept: bytes | None = None

    def replace(self, models: list[dict[str, Any]]) -> None:
        self.models = [Model(listed) for listed in models]
        self._kept = None

    def find(self, key: Any) -> Model | None:
        return next((model for model in self.models if model.key == key), None)

    def instances(self) -> list[tuple[Model, Instance]]:
        """Those that have not expired."""
        self._expire()
        return [(model, instance) for model in self.models for instance in model.instances]

    def instance(self, instance_id: Any) -> tuple[Model, Instance] | None:
        return next((pair for pair in self.instances() if pair[1].id == instance_id), None)

    def free_id(self, key: str) -> str:
        """The key, or key:2 and so on for another instance of the same model."""
        used = {instance.id for _model, instance in self.instances()}
        free = (f"{key}:{number}" if number > 1 else key for number in range(1, len(used) + 2))
        return next(name for name in free if name not in used)

    def add(self, model: Model, instance: Instance) -> None:
        model.instances.append(instance)
        self._kept = None

    def remove(self, model: Model, instance: Instance, outcome: str = "unloaded") -> None:
        model.instances.remove(instance)
        instance.end(outcome)
        self._kept = None

    def forget_answer(self) -> None:
        """Something that is part of it was changed."""
        self._kept = None

    def append(self, listed: dict[str, Any]) -> None:
        """A model that was downloaded."""
        self.models.append(Model(listed))
        self._kept = None

    def document(self) -> dict[str, Any]:
        """The answer of v1 now."""
        self._expire()
        return {"models": [model.row() for model in self.models]}

    def body(self) -> bytes:
        """The same as text, kept while nothing in it can change."""
        if self._kept is None:
            body = json.dumps(self.document()).encode()
            if any(instance.expires is not None for model in self.models for instance in model.instances):
                return body
            self._kept = body
        return self._kept

    def _expire(self) -> None:
        now = time.monotonic()
        for model in self.models:
            for instance in [*model.instances]:
                if instance.expires is not None and round(instance.expires - now) <= 0:
                    self.remove(model, instance)
