# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection: it may change at any time. Do not import it from elsewhere.

"""What the modules share: read the options, ask the server, return its record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ._argspec import only_set, with_token_of_environment, without_suboptions
from ._http.blocking import fetch
from ._http.endpoint import TARGET, TARGET_URL, Endpoint, make_endpoint
from ._http.option_checks import is_content, is_header_name, without_userinfo
from ._input_errors import InputError
from ._lmstudio.masking import short_secret_warning
from ._lmstudio.record import ask
from ._text import MASK

if TYPE_CHECKING:
    from ._lmstudio.record_type import Record


class LMStudioModule(AnsibleModule):
    """A module that asks the LM Studio server of the machine it runs on."""

    argument_spec: dict[str, Any]
    token_advice: str | None = None
    """See :class:`Endpoint`."""
    params: dict[str, Any]

    def _load_params(self) -> None:
        super()._load_params()
        self.argument_spec = without_suboptions(self.argument_spec)
        self.params = with_token_of_environment(only_set(self.params))
        # Masked here, before Ansible notes the options in the system's log and in results. What is left is still refused.
        for name in self.params:
            # What is misspelt may be a secret.
            if name not in self.argument_spec and not name.startswith("_ansible_"):
                self.params[name] = MASK
        if self.params.get("url"):
            self.params["url"] = re.sub(r"(?s)([?#]).*", rf"\1{MASK}", without_userinfo(str(self.params["url"])))
        headers = self.params.get("headers")
        if isinstance(headers, dict):
            self.params["headers"] = {name if is_header_name(name) else f"{MASK}:": value for name, value in headers.items()}
        for name in ("client_cert", "client_key"):
            if is_content(self.params.get(name)):
                self.params[name] = f"-----BEGIN {MASK}"

    def endpoint(self) -> Endpoint:
        """The endpoint of the options. Raises :class:`OptionError`."""
        endpoint = make_endpoint(self.params, TARGET_URL, machine=TARGET)._replace(token_advice=self.token_advice)
        warning = short_secret_warning(endpoint)
        if warning:
            self.warn(warning)
        return endpoint

    def ask(self) -> Record:
        """Raises :class:`OptionError`, before any request."""
        return ask(self.endpoint(), fetch, self.params["detail"])

    def end_with(self, make_result: Callable[[], dict[str, Any]]) -> None:
        """End the module with a result, or with what an :class:`InputError` says."""
        try:
            result = make_result()
        except InputError as exc:
            result = {"failed": True, "msg": str(exc)}
        if result.pop("failed", False):
            self.fail_json(**result)
        self.exit_json(**result)
