# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module of the collection can do."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode), and reports what would change.
    support: full
    details: It changes nothing, so it does the same in check mode.
  diff_mode:
    description: Returns details of what has changed in diff mode.
    support: N/A
    details: It changes nothing.
  idempotent:
    description: When run twice in a row with the same options, the second run reports no change.
    support: full
    details: It never reports a change. The answer may differ, because LM Studio loads and unloads models by itself.
  action_group:
    description: The group for C(module_defaults), as in C(group/gpufleet.lmstudio.lmstudio).
    support: full
    membership:
      - gpufleet.lmstudio.lmstudio
"""

    # For the modules that ask one host, from the target or from the controller.
    ONE_HOST = r"""
attributes:
  action:
    description: Has an action plugin, so parts of it run on the controller.
    support: full
  async:
    description: Can be used with C(async).
    support: none
"""

    # For the modules that run once for many hosts.
    FLEET = r"""
attributes:
  action:
    description: Has an action plugin, so all of it runs on the controller.
    support: full
  async:
    description: Can be used with C(async).
    support: none
  bypass_host_loop:
    description: Runs once for all hosts of the batch, with the variables of its first host.
    support: full
    details: >-
      Always set C(run_once=true). Without it, the result is registered for one host only, and the task warns. O(ignore:when) and templates
      in options see the variables of the first host. The strategy C(free) cannot run it. A failure fails the task for all hosts.
      Without C(run_once=true), in a block with C(rescue) or C(always), ansible-core 2.16 goes on with the others.
"""
