# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What downloads do, with the habits of the real server."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.lmstudio.tests.patience import until

V1, DOWNLOAD = "/api/v1/models", "/api/v1/models/download"
NEW, URL = "qwen/qwen3-4b", "https://huggingface.co/lmstudio-community/Gemma-3-1B-GGUF"
CATALOGUE = {NEW: {"size_bytes": 1000, "params_string": "4B"}, URL: {"size_bytes": 2000}}


def fetching(**settings):
    return {"payload": "empty.json", "downloads": {"catalogue": CATALOGUE, **settings}}


STEPS = {"bytes_per_second": 0}
HOSTS = {
    "at_once": fetching(),
    "quantized": fetching(),
    "steps": fetching(**STEPS),
    "same": fetching(**STEPS),
    "timed": fetching(catalogue={NEW: {"size_bytes": 1_000_000_000}}, bytes_per_second=5000),
    "stalled": fetching(stalls_at=400, **STEPS),
    "failing": fetching(fails_at=400, **STEPS),
    "full": fetching(disk_full_at=400, **STEPS),
    "lost": fetching(lost=True),
    "lagging": fetching(index_lag=2),
    "restarted": fetching(**STEPS),
    "listed": {},
}


@pytest.fixture
def keys(ask):
    return lambda host: [entry["key"] for entry in ask(host, V1).document["models"]]


@pytest.fixture
def status(ask):
    """That of the job of an answer."""
    return lambda host, answer: ask(host, f"{DOWNLOAD}/status/{answer.document['job_id']}").document


def error_of(answer):
    return answer.status, answer.document["error"]["type"]


def test_a_job_ends_and_the_model_is_listed(ask, status, keys):
    answer = ask("at_once", DOWNLOAD, {"model": NEW})
    told = dict(answer.document)
    assert answer.status == 200 and told.pop("job_id").startswith("job_") and told.pop("started_at").endswith("Z")
    assert told == {"status": "downloading", "total_size_bytes": 1000}
    after = status("at_once", answer)
    assert (after["status"], after["downloaded_bytes"]) == ("completed", 1000) and after["completed_at"] >= after["started_at"]
    assert keys("at_once") == [NEW]
    assert ask("at_once", DOWNLOAD, {"model": NEW}) == (200, {"status": "already_downloaded"})
    assert ask("at_once", "/api/v1/models/load", {"model": NEW}).status == 200


def test_what_is_listed_needs_no_catalogue(ask):
    assert ask("listed", DOWNLOAD, {"model": "qwen/qwen3-8b"}) == (200, {"status": "already_downloaded"})


def test_a_quantization_goes_with_a_url_alone(ask, status):
    assert error_of(ask("quantized", DOWNLOAD, {"model": NEW, "quantization": "Q8_0"})) == (400, "not_implemented")
    status("quantized", ask("quantized", DOWNLOAD, {"model": URL, "quantization": "Q8_0"}))
    (entry,) = ask("quantized", V1).document["models"]
    assert (entry["key"], entry["quantization"]["name"]) == ("gemma-3-1b-gguf", "Q8_0")


def test_requests_that_cannot_be(ask):
    nothing = ask("at_once", DOWNLOAD, {"model": "nobody/nothing"})
    assert error_of(nothing) == (404, "model_not_found")
    assert "No compatible download options" in nothing.document["error"]["message"]
    assert error_of(ask("at_once", DOWNLOAD, {})) == (400, "invalid_request")
    assert error_of(ask("at_once", DOWNLOAD, {"model": NEW, "path": "/"})) == (400, "invalid_request")
    assert error_of(ask("at_once", f"{DOWNLOAD}/status/job_0")) == (404, "job_not_found")


def test_progress_step_by_step(ask, status, keys, simulator):
    answer = ask("steps", DOWNLOAD, {"model": NEW})
    assert status("steps", answer)["downloaded_bytes"] == 0
    simulator.download("steps", bytes=400)
    told = status("steps", answer)
    assert (told["status"], told["downloaded_bytes"], told["bytes_per_second"]) == ("downloading", 400, 0.0)
    assert keys("steps") == []
    simulator.download("steps", status="paused")
    assert status("steps", answer)["status"] == "paused"
    simulator.download("steps", status="downloading", bytes=600)
    assert status("steps", answer)["status"] == "completed" and keys("steps") == [NEW]


def test_the_same_request_again_attaches_to_the_job(ask, simulator):
    first, second, other = (ask("same", DOWNLOAD, {"model": model}).document["job_id"] for model in (NEW, NEW, URL))
    assert first == second != other
    assert [job["job_id"] for job in simulator.state("same")["jobs"]] == [first, other]
    simulator.download("same", job_id=other, status="failed")
    assert ask("same", DOWNLOAD, {"model": URL}).document["job_id"] not in (first, other)


def test_progress_by_the_clock(ask, status, simulator):
    answer = ask("timed", DOWNLOAD, {"model": NEW})
    told = [status("timed", answer)]
    assert told[0]["bytes_per_second"] == 5000.0 and told[0]["estimated_completion"].endswith("Z")

    def asked():
        told.append(status("timed", answer))
        return told

    # It would take days to end.
    until("progress", lambda: len({one["downloaded_bytes"] for one in asked()}) >= 3)
    simulator.change("timed", downloads={"bytes_per_second": 1e12})
    until("the end", lambda: asked()[-1]["status"] != "downloading")
    numbers = [one["downloaded_bytes"] for one in told]
    assert told[-1]["status"] == "completed" and numbers == sorted(numbers)


def test_a_stall(ask, status, simulator):
    answer = ask("stalled", DOWNLOAD, {"model": NEW})
    simulator.change("stalled", downloads={"bytes_per_second": 1e9})
    until("the stall", lambda: status("stalled", answer)["downloaded_bytes"] >= 400)
    first = status("stalled", answer)
    assert first == status("stalled", answer) == {**first, "status": "downloading", "downloaded_bytes": 400, "bytes_per_second": 0.0}


def test_a_failure(ask, status, keys, simulator):
    answer = ask("failing", DOWNLOAD, {"model": NEW})
    simulator.download("failing", bytes=500)
    assert (status("failing", answer)["status"], keys("failing")) == ("failed", [])


def test_a_full_disk_ends_the_application(ask, status, simulator):
    simulator.change("full", downloads={"catalogue": {**CATALOGUE, "a/b": {"size_bytes": 1}}})
    answer = ask("full", DOWNLOAD, {"model": NEW})
    simulator.download("full", bytes=500)
    with pytest.raises(ConnectionError):
        status("full", answer)
    assert status("full", answer)["error"]["type"] == "job_not_found"


def test_a_lost_job_goes_on(ask, status, keys):
    assert status("lost", ask("lost", DOWNLOAD, {"model": NEW}))["error"]["type"] == "job_not_found"
    assert keys("lost") == [NEW]


def test_the_index_lags_behind(ask, status, keys):
    assert status("lagging", ask("lagging", DOWNLOAD, {"model": NEW}))["status"] == "completed"
    assert ask("lagging", "/api/v1/models/load", {"model": NEW}).status == 404
    assert [keys("lagging") for _number in range(3)] == [[], [], [NEW]]


def test_a_restart_forgets_jobs(ask, status, keys, simulator):
    answer = ask("restarted", DOWNLOAD, {"model": NEW})
    simulator.fault("restarted", {"name": "restart", "at": 1})
    with pytest.raises(ConnectionError):
        keys("restarted")
    assert status("restarted", answer)["error"]["type"] == "job_not_found" and keys("restarted") == []
