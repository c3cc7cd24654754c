# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""An inventory cache whose failure makes a run slower, but does not change its outcome."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from ansible.plugins.inventory import Cacheable


class CacheThatMayFail(Cacheable):
    """List it before ``BaseInventoryPlugin`` among the bases of a plugin, so that its methods win."""

    def update_cache_if_changed(self) -> None:
        if not self.get_option("cache"):
            return
        try:
            super().update_cache_if_changed()
        except Exception as exc:  # Whatever a cache plugin raises, the hosts and their records are there.
            self.display.warning(f"The inventory cache cannot be written, so the next run queries every host again: {exc}")
        self._protect_cache()

    def _read_config_data(self, path: str) -> None:
        try:
            super()._read_config_data(path)
        except Exception as exc:
            if not self._options.get("cache"):
                raise
            # The options are set by then, so it is the cache plugin that failed. The servers can still be asked.
            self.display.warning(f"The inventory cache cannot be used, so every host is queried, and no answer is kept: {exc}")
            self.set_option("cache", False)

    def cached(self, key: str) -> Any:
        try:
            return self._cache.get(key)
        except Exception as exc:  # Whatever a cache plugin raises, the servers can still be asked.
            self.display.warning(f"The inventory cache cannot be read, so every host is queried again: {exc}")
            return None

    def _protect_cache(self) -> None:
        """Make the files of a cache plugin readable by their owner only. Ansible lets everyone read them."""
        connection = self.get_option("cache_connection")
        folder = Path(os.path.expandvars(connection or "")).expanduser()
        for file in [file for key in self._cache for file in folder.glob(f"*{key}*")] if connection else ():
            try:
                # In a folder for everyone, a link may lead to any file of this user.
                if not file.is_symlink():
                    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
            except OSError as exc:
                self.display.warning(
                    f"The inventory cache {file} may be readable by other users, and its mode cannot be changed: {exc.strerror}."
                )
