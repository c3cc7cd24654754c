# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Download a model, and wait until it is listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._text import count, format_names, format_size, printable
from .api_requests import ALREADY_DOWNLOADED, COMPLETED, Download
from .client import SECONDS_BETWEEN_LINES, Client
from .failures import Failure, no_list
from .plan import is_listed
from .spec import Wanted

if TYPE_CHECKING:
    from .._lmstudio.record_type import Record

_ATTEMPTS = 3
"""How often a download is requested. The same request again attaches to the one that is running."""


def download(client: Client, wanted: Wanted) -> bool:
    """Download what is wanted, and return whether that was needed. Raises :class:`Failure`, which is unclear where a download may run."""
    running = _Download(client, wanted)
    try:
        running.run()
    except Failure as failure:
        failure.unclear = running.may_run
        raise
    return running.may_run


def list_with(client: Client, wanted: Wanted, before: Record) -> Record:
    """The list once it has the model: it lags behind a complete download. Raises :class:`Failure`."""
    name = wanted.name
    record = client.wait_for_list(lambda record: is_listed(record, wanted.model))
    if not record["ok"]:
        raise no_list(record, f"{name} was downloaded, but then: ")
    if not is_listed(record, wanted.model):
        new = sorted(set(record["available"]) - set(before["available"]))
        called = f"New in the list: {format_names(new)}" if new else "Nothing is new in the list"
        sentence = f"{printable(wanted.source)} was downloaded, but no model is listed as {name}. {called}"
        next_step = "Set model to the key under which the server lists what it has downloaded, and source to what is to be downloaded."
        raise Failure("download_failed", sentence, next_step)
    return record


class _Download:
    def __init__(self, client: Client, wanted: Wanted) -> None:
        self.client = client
        self.wanted = wanted
        self.attempts = 0
        self.may_run = False
        """Whether this task may have started it."""
        self.status_failure: Failure | None = None
        """Why the last request for its status failed, if it did."""

    def run(self) -> None:
        began = self.client.clock()
        download = self._request()
        grown_at, most = self.client.clock(), -1.0
        next_line = 0.0
        wait = self.client.waiter(self.wanted.download_timeout)
        while not download.is_complete:
            if download.status == "failed":
                raise Failure("download_failed", f"the download of {self.wanted.name} failed")
            # A download that was lost starts from zero.
            if (download.downloaded_bytes or 0) != most:
                grown_at, most = self.client.clock(), download.downloaded_bytes or 0
            elif self.client.clock() - grown_at >= self.wanted.stall_timeout:
                if self.status_failure:
                    raise self.status_failure
                how = f"{printable(download.status)}, {format_size(int(most)) if most else '0 bytes'} so far"
                waited = count(self.wanted.stall_timeout, "second")
                raise Failure("download_stalled", f"the download of {self.wanted.name} has made no progress for {waited} ({how})")
            seconds = self.client.clock() - began
            if seconds >= next_line:
                next_line = seconds + SECONDS_BETWEEN_LINES
                self.client.progress(describe(self.wanted.name, download, seconds))
            if not wait():
                sentence = f"the download of {self.wanted.name} was not complete after {count(self.wanted.download_timeout, 'second')}"
                raise Failure(
                    "timeout", sentence, "It continues in LM Studio. Run the task again to wait for it, or raise download_timeout."
                )
            download = self._status(download)

    def _request(self) -> Download:
        """The download, once its request has a clear answer. It is requested again if the server has lost the job, as after a restart."""
        if self.attempts >= _ATTEMPTS:
            sentence = f"LM Studio no longer knows the download of {self.wanted.name}, which was begun {_ATTEMPTS} times"
            raise Failure("download_failed", sentence)
        self.attempts += 1
        try:
            answer = self.client.begin_download(self.wanted.name, self.wanted.source, self.wanted.quantization)
        except Failure as failure:
            self.may_run |= failure.unclear
            if not failure.unclear or self.attempts >= _ATTEMPTS:
                raise
            record = self.client.wait_for_list()
            if not record["ok"]:
                # A full disk ends the application.
                raise Failure("download_failed", f"{failure.sentence}, and it no longer answers ({record['status']})") from None
            return self._request()
        self.may_run |= answer.status != ALREADY_DOWNLOADED
        return answer

    def _status(self, download: Download) -> Download:
        """How far it is now. Without a job to ask about, or without an answer about it, it is complete once the model is listed."""
        if download.job_id is not None:
            try:
                now = self.client.download_status(self.wanted.name, download.job_id)
            except Failure as failure:
                if failure.reason == "download_unavailable":
                    return self._request()
                self.status_failure = failure
            else:
                self.status_failure = None
                return now._replace(job_id=download.job_id, total_bytes=now.total_bytes or download.total_bytes)
        return download._replace(status=COMPLETED) if is_listed(self.client.list(), self.wanted.model) else download


def describe(name: str, download: Download, seconds: float) -> str:
    """How far a download is, such as "qwen: downloading, 45 %, 3.2 GB of 7.1 GB, 12.3 MB/s, 35 seconds so far"."""
    parts = [f"{name}: {download.status}"]
    done, total = download.downloaded_bytes, download.total_bytes
    if done is not None and total:
        parts.append(f"{min(done / total, 1):.0%}".replace("%", " %"))
    if done is not None:
        parts.append(format_size(int(done)) + (f" of {format_size(int(total))}" if total else ""))
    if download.bytes_per_second:
        parts.append(f"{format_size(int(download.bytes_per_second))}/s")
    return ", ".join([*parts, f"{count(round(seconds), 'second')} so far"])
