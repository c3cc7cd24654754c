# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Models that are fetched: jobs that move on by the clock, or step by step."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from errors import ApiError, CrashedError, FleetError
from library import Library
from settings import check_keys

KEYS = {"catalogue", "bytes_per_second", "stalls_at", "fails_at", "disk_full_at", "lost", "index_lag"}
JOB_KEYS = {"job_id", "bytes", "status"}
STATUSES = ("downloading", "paused", "completed", "failed")
NOTHING = "No compatible download options found for model '{model}'."
NO_QUANTIZATION = "Specifying quantizations for downloading models with LM Studio Model Catalog identifiers is coming soon"


def is_url(model: str) -> bool:
    return model.startswith(("https://", "http://"))


def instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def entry_of(model: str, settings: dict[str, Any], quantization: str | None) -> dict[str, Any]:
    """What is listed once it is complete. The key of a URL is the end of it."""
    key = settings.get("key") or (model.rstrip("/").rpartition("/")[2].lower() if is_url(model) else model)
    name = quantization or "Q4_K_M"
    usual = {
        "type": "llm",
        "publisher": key.partition("/")[0],
        "key": key,
        "display_name": key.rpartition("/")[2],
        "architecture": None,
        "quantization": {"name": name, "bits_per_weight": 4},
        "size_bytes": 2_279_145_003,
        "params_string": None,
        "loaded_instances": [],
        "max_context_length": 32768,
        "format": "gguf",
        "capabilities": {"vision": False, "trained_for_tool_use": False},
        "description": None,
        "variants": [f"{key}@{name.lower()}"],
        "selected_variant": f"{key}@{name.lower()}",
    }
    return {**usual, **settings, "key": key}


class Job:
    def __init__(self, asked: tuple[str, str | None], entry: dict[str, Any], index_lag: int) -> None:
        self.id = f"job_{secrets.token_hex(5)}"
        self.asked = asked
        self.entry = entry
        self.total = int(entry["size_bytes"])
        self.status = "downloading"
        self.done = 0.0
        self.rate = 0.0
        self.started_at = datetime.now(timezone.utc)
        self.completed_at: datetime | None = None
        self.moved_at = time.monotonic()
        self.lists_left = index_lag
        self.is_indexed = False

    def row(self) -> dict[str, Any]:
        row = {"job_id": self.id, "status": self.status, "total_size_bytes": self.total, "started_at": instant(self.started_at)}
        if self.completed_at:
            row["completed_at"] = instant(self.completed_at)
        return row

    def progress(self) -> dict[str, Any]:
        row = {**self.row(), "downloaded_bytes": int(self.done)}
        if self.status == "downloading":
            row["bytes_per_second"] = self.rate
            if self.rate:
                rest = timedelta(seconds=(self.total - self.done) / self.rate)
                row["estimated_completion"] = instant(datetime.now(timezone.utc) + rest)
        return row


class Downloads:
    """The jobs of one host."""

    def __init__(self, name: str, library: Library, settings: dict[str, Any]) -> None:
        self.name = name
        self.model_library = library
        self.jobs: dict[str, Job] = {}
        self.settings: dict[str, Any] = {}
        self.change(settings)

    def change(self, settings: dict[str, Any]) -> None:
        check_keys(f"host {self.name}, downloads", settings, KEYS)
        self.settle()
        self.settings = {**self.settings, **settings}

    def start(self, model: str, quantization: str | None) -> dict[str, Any]:
        """A new job, or the one that is running for the same request."""
        if quantization is not None and not is_url(model):
            raise ApiError(400, "not_implemented", NO_QUANTIZATION)
        self.settle()
        known = self.settings.get("catalogue") or {}
        entry = entry_of(model, known.get(model) or {}, quantization)
        if self.model_library.find(entry["key"]):
            return {"status": "already_downloaded"}
        if model not in known:
            raise ApiError(404, "model_not_found", NOTHING.format(model=model))
        running = (job for job in self.jobs.values() if job.asked == (model, quantization) and job.status != "failed")
        job = next(running, None)
        if job is None:
            job = Job((model, quantization), entry, int(self.settings.get("index_lag", 0)))
            self.jobs[job.id] = job
        self._check_disk(job)
        return job.row()

    def status(self, job_id: str) -> dict[str, Any]:
        self.settle()
        job = self.jobs.get(job_id)
        if job is None or self.settings.get("lost"):
            raise ApiError(404, "job_not_found", f"Download job with id '{job_id}' not found")
        self._check_disk(job)
        return job.progress()

    def forget(self) -> None:
        """Jobs do not outlive the application. What is complete is in the index when it starts again."""
        for job in self.jobs.values():
            job.lists_left = 0
        self.settle()
        self.jobs.clear()

    def step(self, settings: dict[str, Any]) -> None:
        """Add that many bytes, or set another status, for one job or all that run."""
        check_keys(f"host {self.name}, download", settings, JOB_KEYS)
        if settings.get("status", "failed") not in STATUSES:
            raise FleetError(f"host {self.name}: there is no status {settings['status']}. Use one of {', '.join(STATUSES)}.")
        self.settle()
        wanted = [job for job in self.jobs.values() if settings.get("job_id") in (None, job.id) and job.status in ("downloading", "paused")]
        if not wanted:
            raise FleetError(f"host {self.name}: {settings.get('job_id') or 'nothing'} is downloading")
        for job in wanted:
            job.done = job.total if settings.get("status") == "completed" else job.done + settings.get("bytes", 0)
            job.status, job.moved_at = settings.get("status", job.status), time.monotonic()
        self.settle()

    def settle(self, listing: bool = False) -> None:
        """Bring all jobs to where they are by now. `listing`: a list is about to be sent, for which the index may lag behind."""
        for job in self.jobs.values():
            if job.status == "downloading":
                self._move(job)
            if job.status == "completed" and not job.is_indexed:
                if job.lists_left == 0:
                    job.is_indexed = True
                    self.model_library.append(job.entry)
                elif listing:
                    job.lists_left -= 1

    def _check_disk(self, job: Job) -> None:
        full = self.settings.get("disk_full_at")
        if full is not None and job.done >= full:
            raise CrashedError

    def _move(self, job: Job) -> None:
        rate, now = self.settings.get("bytes_per_second"), time.monotonic()
        job.rate = 0.0 if rate is None else float(rate)
        job.done = job.total if rate is None else job.done + job.rate * (now - job.moved_at)
        job.moved_at = now
        limits = [self.settings[key] for key in ("stalls_at", "fails_at", "disk_full_at") if self.settings.get(key) is not None]
        job.done = min(job.done, job.total, *limits)
        if self.settings.get("stalls_at") is not None and job.done >= self.settings["stalls_at"]:
            job.rate = 0.0
        if self.settings.get("fails_at") is not None and job.done >= self.settings["fails_at"]:
            job.status = "failed"
        elif job.done >= job.total and self.settings.get("disk_full_at") is None:
            job.status, job.completed_at = "completed", datetime.now(timezone.utc)
