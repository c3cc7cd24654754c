# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say whom to ask and how: the same for every plugin."""

    DOCUMENTATION = r"""
options:
  port:
    description:
      - The port of the server where the URL does not name one. Together with a URL that names a port it is an error.
      - Unset means 1234 where there is no URL, and the port of the scheme, 80 or 443, where a URL names none.
    type: int
  token:
    description:
      - The API token, sent as a bearer token.
      - An empty string means that there is none, as for every option.
    type: str
  headers:
    description:
      - More request headers. For proxies that require something other than a bearer token.
    type: dict
  timeout:
    description:
      - Seconds for the whole exchange, including the resolution of the name, the TLS handshake and the last byte of the answer.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether the TLS certificate of the server must be valid.
    type: bool
    default: true
  ca_path:
    description:
      - A file or a folder with the CA certificates to trust, on the machine that sends the request. Unset means those of its system.
    type: path
  client_cert:
    description:
      - A file with a TLS client certificate in PEM form, on the machine that sends the request. Needs O(client_key).
    type: path
  client_key:
    description:
      - A file with the unencrypted key of O(client_cert). It may be the same file.
    type: path
  use_proxy:
    description:
      - Whether to use the HTTP proxy that the usual environment variables of the machine that sends the request name, C(no_proxy) included.
      - Unset means no proxy, so that none gets the token by accident. A loopback address never has a proxy.
    type: bool
    default: false
  max_response_bytes:
    description:
      - The largest answer that is read, in bytes. A larger one is an error.
    type: int
    default: 16777216
  api:
    description:
      - Which list of models is asked for.
      - V(v1) is C(GET /api/v1/models) of LM Studio 0.4 and later. V(v0) is C(GET /api/v0/models), which LM Studio 0.3 has, and later
        ones still have.
      - V(auto) asks for the older list where LM Studio itself says that it does not know the newer one, and in no other case. Both
        requests together have the O(timeout).
      - The older list does not report everything. What it does not report is null in the record, and meets no requirement.
        RV(gpufleet.lmstudio.model_info#module:lmstudio.api) says which list it was.
    type: str
    choices: [v1, v0, auto]
    default: v1
    version_added: 2.0.0
notes:
  - >-
    Reading the list of models never loads, unloads or changes a model.
seealso:
  - name: LM Studio, list models
    description: The documentation of the API that is asked.
    link: https://lmstudio.ai/docs/developer/rest/list
"""

    # For the plugins that ask one server. The others take URLs or hosts instead.
    URL = r"""
options:
  url:
    description:
      - The base URL of the LM Studio server, as the machine that sends the request sees it.
      - Unset means C(http://127.0.0.1) with O(port) where the target itself asks, and C(http://HOST) with O(port) where the
        controller asks. HOST is C(ansible_host) of the host, or else the address of its connection plugin (C(ansible_ssh_host),
        C(ansible_winrm_host), C(ansible_psrp_host)), or else its name in the inventory.
      - A route of the API at its end (C(/v1), C(/v1/models), C(/v1/chat/completions), C(/api/v0), C(/api/v0/models), C(/api/v1),
        C(/api/v1/models)) is left out. Any other path is taken as the prefix of a reverse proxy and kept.
      - A user name or password in the URL is refused. Use O(token) or O(headers). Redirects are not followed.
    type: str
notes:
  - Without O(token), the environment variable E(LM_API_TOKEN) of the machine that sends the request is used.
"""

    # For the plugins that ask many hosts at once.
    FLEET = r"""
options:
  concurrency:
    description:
      - How many hosts are asked at once, fewer where the hard limit of open files is low.
      - Set it above the number of dead hosts to expect, or these make the others wait.
    type: int
    default: 1000
  fleet_timeout:
    description:
      - Seconds for all hosts together. A host without an answer by then has the status V(timeout).
    type: float
    default: 600
"""

    # For the modules that ask many hosts at once.
    FLEET_TASK = r"""
options:
  hosts:
    description:
      - A pattern, as in the C(hosts) of a play. Every host of the inventory that matches is asked, even one outside the play or
        one that C(--limit) leaves out. A pattern that matches no host is an error, and so are a name that no host and no
        group has, an empty list, an empty text and null, although the last two mean unset elsewhere.
      - Unset means the hosts of the current batch of the play, including those that failed before and those that C(meta=end_host) took
        out, because Ansible does not tell the two apart. C({{ ansible_play_hosts }}) names the hosts that are left.
      - In a pattern, a name that is also the name of a group means the group.
    type: list
    elements: str
notes:
  - Of each host, only variables of the inventory, facts and extra variables count, not those of the play, of the task or of roles.
  - E(LM_API_TOKEN) is not used here. A token in the option O(token) goes to every host that is asked and has no token of its own. Where it is a
    template, only if that comes to the same with the variables of that host.
  - The proxy and TLS options concern the controller.
"""
