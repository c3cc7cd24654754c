# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that others wrote for LM Studio list, load, unload and download against the simulator. Run by `nox -s clients`.

Their expectations of the server are not ours, so they show whether the simulator behaves like it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.gpufleet.lmstudio.tests.simulator.client import Simulator
from lm_tuio import api as tuio
from lmstd import LMStd, LMStdError

CHAT, EMBEDDING, NEW = "qwen/qwen3-8b", "text-embedding-harbor-v2", "qwen/qwen3-4b"
TOKEN = "sk-lm-0123456789abcdef"
DOWNLOADS = {"catalogue": {NEW: {"size_bytes": 1000}}, "bytes_per_second": 0}
HOST = {"payload": "none_loaded.json", "token": TOKEN, "downloads": DOWNLOADS}
# What lm-tuio sends when all of its fields are filled in.
SETTINGS = {"context_length": 8192, "flash_attention": True, "offload_kv_cache_to_gpu": False, "eval_batch_size": 256, "num_experts": 4}


@pytest.fixture
def simulator(tmp_path) -> Iterator[Simulator]:
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"hosts": {"gpu01": HOST, "mac": {**HOST, "payload": "mac.json"}}}))
    with Simulator(tmp_path / "fleet.yml") as running:
        yield running


class TestLmstd:
    @pytest.fixture
    def client(self, simulator) -> Any:
        return LMStd(simulator.urls["gpu01"], TOKEN)

    def loaded(self, client) -> list[str]:
        return [one["id"] for entry in client.list_models()["models"] for one in entry["loaded_instances"]]

    def test_load_and_unload(self, client):
        told = client.load_model(CHAT, echo_load_config=True, **SETTINGS)
        assert (told["type"], told["instance_id"], told["status"]) == ("llm", CHAT, "loaded")
        assert told["load_config"] == {**told["load_config"], **SETTINGS}
        assert client.load_model(CHAT)["instance_id"] == f"{CHAT}:2"
        assert client.load_model(EMBEDDING)["type"] == "embedding"
        assert self.loaded(client) == [CHAT, f"{CHAT}:2", EMBEDDING]
        assert client.unload_model(CHAT) == {"instance_id": CHAT}
        assert self.loaded(client) == [f"{CHAT}:2", EMBEDDING]

    def test_download(self, client, simulator):
        job = client.download_model(NEW)
        simulator.download("gpu01", bytes=400)
        told = client.get_download_status(job["job_id"])
        assert (told["status"], told["downloaded_bytes"], told["total_size_bytes"]) == ("downloading", 400, 1000)
        simulator.download("gpu01", bytes=600)
        assert client.get_download_status(job["job_id"])["status"] == "completed"
        assert client.download_model(NEW) == {"status": "already_downloaded"}
        assert client.load_model(NEW)["instance_id"] == NEW

    @pytest.mark.parametrize(
        ("ask", "status", "word"),
        [
            (lambda client: client.load_model("nothing"), 404, "model_not_found"),
            (lambda client: client.unload_model("nothing"), 404, "is not loaded"),
            (lambda client: client.download_model("nothing"), 404, "No compatible download options"),
            (lambda client: client.download_model(NEW, "Q8_0"), 400, "not_implemented"),
            (lambda client: client.get_download_status("job_0"), 404, "job_not_found"),
        ],
    )
    def test_errors(self, client, ask, status, word):
        with pytest.raises(LMStdError, match=word) as caught:
            ask(client)
        assert caught.value.status_code == status

    def test_a_wrong_token(self, simulator):
        with pytest.raises(LMStdError) as caught:
            LMStd(simulator.urls["gpu01"], "sk-lm-wrong").list_models()
        assert caught.value.status_code == 401


class TestLmTuio:
    @pytest.fixture
    def call(self, simulator):
        """A function of its API, called for a host."""

        def run(function: str, *arguments: Any, host: str = "gpu01") -> Any:
            url = urlsplit(simulator.urls[host])
            return asyncio.run(getattr(tuio, function)(url.hostname, url.port, *arguments, api_key=TOKEN))

        return run

    def test_it_sees_the_server(self, call):
        assert call("check_server_status") is True

    @pytest.mark.parametrize("host", ["gpu01", "mac"])
    def test_its_models_of_the_answer_fit(self, call, host):
        call("load_model_instance", {"model": CHAT, "echo_load_config": True}, host=host)
        models, error = call("fetch_available_models", host=host)
        assert error is None and {model.key for model in models} > {CHAT}
        contexts = [one.config.context_length for model in models if model.key == CHAT for one in model.loaded_instances]
        assert contexts and all(contexts)

    def test_load_and_unload(self, call):
        told, error = call("load_model_instance", {"model": CHAT, "echo_load_config": True, **SETTINGS})
        assert error is None and told["load_config"] == {**told["load_config"], **SETTINGS}
        call("load_model_instance", {"model": CHAT, "echo_load_config": True})
        assert call("unload_model_instances", [CHAT, f"{CHAT}:2"]) == (True, None)
        unloaded, error = call("unload_model_instances", [CHAT])
        assert not unloaded and "HTTP 404" in error

    def test_download(self, call, simulator):
        job_id, status, error = call("start_download", NEW)
        assert (status, error) == ("downloading", None)
        simulator.download("gpu01", bytes=400)
        told, error = call("check_download_progress", job_id)
        assert error is None and told["downloaded_bytes"] == 400
        simulator.download("gpu01", status="completed")
        assert call("check_download_progress", job_id)[0]["status"] == "completed"
        assert call("start_download", NEW) == (None, "already_downloaded", None)
