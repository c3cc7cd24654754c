# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long tests wait for what is expected to end by itself."""

from __future__ import annotations

PATIENCE = 1800
"""In seconds: a program that takes longer hangs, also on a machine that is busy with other things."""
