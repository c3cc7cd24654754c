# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured inside one process, of the collection that PYTHONPATH names. Prints the numbers as JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.plugins.loader import init_plugin_loader, lookup_loader

init_plugin_loader()

from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http import blocking  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.deadline import Deadline  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import Endpoint, make_endpoint  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio import record  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.models_v1 import LIST_MODELS  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.poll import Poll  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils import _requests  # noqa: E402
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._fleet.answer_cache import KnownModels  # noqa: E402

CLOCK: Callable[[], float] = getattr(time, sys.argv[3])
ROUNDS, READING_ROUNDS = 7, 30
AT_A_TIME = 64


def seconds(work: Callable[[], Any]) -> float:
    began = CLOCK()
    work()
    return CLOCK() - began


def asked(urls: Iterable[str], **options: Any) -> None:
    lookup_loader.get("gpufleet.lmstudio.models", loader=DataLoader()).run(list(urls), {}, detail="loaded", **options)


def lookup(urls: list[str]) -> list[float]:
    """The ratio of the lookup to the bare exchanges, then the seconds of both, and of the exchanges with requests."""
    endpoints = [make_endpoint({"url": url}, "") for url in urls]

    def loop(exchange: blocking.Exchange) -> None:
        def one(endpoint: Endpoint) -> Response:
            deadline = Deadline(endpoint.timeout)
            try:
                return exchange(endpoint, LIST_MODELS, deadline)
            finally:
                deadline.cancel()

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(one, endpoints))

    taken = [
        (seconds(lambda: asked(urls)), seconds(lambda: loop(blocking.exchange)), seconds(lambda: loop(_requests.exchange)))
        for _round in range(ROUNDS)
    ]
    return [statistics.median(one / other for one, other, _requests in taken), *map(statistics.median, zip(*taken))]


def reading(body: str) -> list[float]:
    """The seconds to make a record of an answer whose models are all known, of one whose models are all new, and to decode and
    encode the same JSON."""
    endpoint = make_endpoint({"url": "http://127.0.0.1:1234"}, "")
    outcome = Poll(Response(200, body.encode(), content_type="application/json"), "2026-01-01T00:00:00Z", 1)

    known_models = KnownModels()

    def read(models: KnownModels) -> None:
        parsed = record.parse(endpoint, outcome, lambda asked, answer, api: record.read_answer(asked, answer, api, models.read))
        record.record_of(endpoint, parsed, "loaded")

    def known() -> None:
        read(known_models)

    def new() -> None:
        read(KnownModels())

    def fifty_times(work: Callable[[], Any]) -> float:
        return seconds(lambda: [work() for _time in range(50)]) / 50

    taken = [list(map(fifty_times, (known, new, lambda: json.dumps(json.loads(body))))) for _round in range(READING_ROUNDS)]
    # The same work each time: what is above the least is what other processes on the machine took from its caches.
    return [min(column) for column in zip(*taken)]


def ready(body: str, number: int, path: str) -> list[float]:
    """Write what `fleet_info` returns of that many hosts, as far as it depends on their number."""
    outcome = Poll(Response(200, body.encode(), content_type="application/json"), "2026-01-01T00:00:00Z", 1)
    urls = {f"gpu{index:05}": f"http://127.0.0.1:1234/{index}" for index in range(number)}
    endpoints = {name: make_endpoint({"url": url}, "") for name, url in urls.items()}
    hosts = {name: record.record_of(endpoint, record.parse(endpoint, outcome), "loaded") for name, endpoint in endpoints.items()}
    with open(path, "w") as file:
        json.dump({"hosts": hosts}, file)
    return []


def dead(urls: list[str], timeout: int) -> list[float]:
    """The seconds until every one of the endpoints has a record."""
    return [seconds(lambda: asked(urls, timeout=timeout, on_error="report", concurrency=1000))]


if __name__ == "__main__":
    measures: dict[str, Callable[..., list[float]]] = {"lookup": lookup, "reading": reading, "ready": ready, "dead": dead}
    print(json.dumps(measures[sys.argv[1]](*json.loads(sys.argv[2]))))
