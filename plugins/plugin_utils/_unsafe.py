# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This plugin util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""Server text is data, never a template."""

from __future__ import annotations

from typing import Any

from ansible import template
from ansible.utils.unsafe_proxy import wrap_var


def make_unsafe(value: Any) -> Any:
    """The value, marked so that ansible-core does not treat text in it as a template.

    From 2.19 on, plain text is not a template anyway. Older versions evaluate what an inventory plugin sets, unless it is wrapped.
    """
    return value if hasattr(template, "trust_as_template") else wrap_var(value)
