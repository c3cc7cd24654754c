# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How models come into memory, and leave it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from errors import CRASH, GUARDRAIL, ApiError, BrokenError, FleetError, LeftError
from library import Instance, Library, Model
from settings import check_keys

KEYS = {"seconds", "held", "memory", "fails", "context_at_most", "context_always", "unreported", "accepts", "survives"}
FAILURES = ("memory", "crash")
USUAL_CONTEXT = 4096
GGUF = {"eval_batch_size": 512, "parallel": 4, "flash_attention": True, "num_experts": 0, "offload_kv_cache_to_gpu": True}
MLX = {"parallel": 4, "reasoning_budget_message": ""}

Gone = Callable[[], Awaitable[object]]
"""Waits until the client has gone."""


class Loads:
    """How the loads of one host go, and which are under way."""

    def __init__(self, name: str, library: Library, settings: dict[str, Any]) -> None:
        self.name = name
        self.model_library = library
        self.v0_error_due = False
        """The next request for v0 gets the error that the beginning of a load causes."""
        self.settings: dict[str, Any] = {}
        self.change(settings)

    def change(self, settings: dict[str, Any]) -> None:
        """The given keys replace what was set before."""
        check_keys(f"host {self.name}, loads", settings, KEYS)
        unknown = set((settings.get("fails") or {}).values()) - set(FAILURES)
        if unknown:
            raise FleetError(
                f"host {self.name}, loads: fails names {', '.join(sorted(map(str, unknown)))}. Use one of {', '.join(FAILURES)}."
            )
        self.settings = {**self.settings, **settings}

    @property
    def accepts(self) -> set[str]:
        """What a request may have beside the settings of the first 0.4."""
        return set(self.settings.get("accepts", ["parallel"]))

    async def load(self, model: Model, asked: dict[str, Any], gone: Gone) -> tuple[Instance, dict[str, Any]]:
        """One more instance, and its whole configuration. It is listed at once; this returns when it is loaded."""
        self._check_memory(model)
        config = self._effective(model, asked)
        unreported = self.settings.get("unreported") or []
        listed = {key: value for key, value in config.items() if key not in unreported}
        instance = Instance({"id": self.model_library.free_id(model.key), "config": listed}, is_loading=True)
        self.begin(model, instance, self.settings)
        if instance.is_loading and await left_first(instance.ended.wait(), gone()):
            if instance.is_loading and not self.settings.get("survives", True):
                self.model_library.remove(model, instance)
            raise LeftError
        if instance.outcome == "restart":
            raise BrokenError
        if instance.outcome == "crash":
            raise ApiError(500, "model_load_failed", CRASH.format(code=139))
        if instance.outcome != "loaded":
            raise ApiError(500, "model_load_failed", "Failed to load model. Operation canceled.")
        return instance, config

    def begin(self, model: Model, instance: Instance, settings: dict[str, Any]) -> None:
        """It is listed now, and loaded at once, after some seconds, or when it is released."""
        self.v0_error_due = True
        self.model_library.add(model, instance)
        if settings.get("held"):
            return
        if settings.get("seconds"):
            asyncio.get_running_loop().call_later(float(settings["seconds"]), self._end, model, instance)
        else:
            self._end(model, instance)

    def release(self, instance_id: Any = None) -> int:
        """End all loads now, or that of one instance. Returns their number."""
        loading = [(model, one) for model, one in self.model_library.instances() if one.is_loading and instance_id in (None, one.id)]
        for model, instance in loading:
            self._end(model, instance)
        return len(loading)

    def unload_all(self, outcome: str) -> None:
        for model, instance in self.model_library.instances():
            self.model_library.remove(model, instance, outcome)

    def _end(self, model: Model, instance: Instance) -> None:
        if not instance.is_loading:
            return
        if self._failure_of(model) == "crash":
            self.model_library.remove(model, instance, "crash")
        else:
            instance.end("loaded")

    def _failure_of(self, model: Model) -> str | None:
        fails: dict[str, str] = self.settings.get("fails") or {}
        return fails.get(model.key, fails.get("*"))

    def _check_memory(self, model: Model) -> None:
        """Refused before anything is listed."""
        size = model.listed.get("size_bytes") or 0
        taken = sum(other.listed.get("size_bytes") or 0 for other, _instance in self.model_library.instances())
        memory = self.settings.get("memory")
        if self._failure_of(model) == "memory" or (memory is not None and taken + size > float(memory)):
            raise ApiError(500, "model_load_failed", GUARDRAIL.format(gigabytes=size / 1e9))

    def _effective(self, model: Model, asked: dict[str, Any]) -> dict[str, Any]:
        """How the engine changes what was asked for: MLX takes its own context, embeddings have no other setting."""
        largest = model.listed.get("max_context_length") or USUAL_CONTEXT
        is_mlx, is_llm = model.listed.get("format") == "mlx", model.listed.get("type") == "llm"
        context = largest if is_mlx or not is_llm else min(USUAL_CONTEXT, largest)
        if not is_mlx:
            context = asked.get("context_length", context)
        if self.settings.get("context_at_most") is not None:
            context = min(context, self.settings["context_at_most"])
        if self.settings.get("context_always") is not None:
            context = self.settings["context_always"]
        usual = {} if not is_llm else MLX if is_mlx else GGUF
        known = set(usual) | self.accepts
        return {**usual, **{key: value for key, value in asked.items() if is_llm and key in known}, "context_length": context}


async def left_first(done: Awaitable[object], gone: Awaitable[object]) -> bool:
    """Whether the client goes before it is done."""
    tasks = [asyncio.ensure_future(done), asyncio.ensure_future(gone)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return not tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
