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
      - The port of the server if the URL does not name one. If the URL names a port, setting this option is an error.
      - Unset means 1234 if no URL is set, and the port of the scheme, 80 or 443, if a URL without a port is set.
    type: int
  token:
    description:
      - The API token, sent as a bearer token.
      - An empty string means unset, as for every option.
    type: str
  headers:
    description:
      - Additional request headers, for proxies that require something other than a bearer token.
    type: dict
  timeout:
    description:
      - Seconds for the whole exchange, from name resolution and the TLS handshake to the last byte of the answer.
    type: float
    default: 10
  validate_certs:
    description:
      - Whether the TLS certificate of the server must be valid.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the CA certificates to trust, or a folder with them that C(openssl rehash) has prepared, on the machine that sends the request.
        Unset means those of its operating system.
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
      - Whether to use the HTTP proxy that the usual environment variables name on the machine that sends the request. C(no_proxy) is respected.
      - Unset means no proxy, so that none gets the token by accident. A loopback address is never asked through a proxy.
    type: bool
    default: false
  max_response_bytes:
    description:
      - The largest answer that is read, in bytes. A larger one is an error.
    type: int
    default: 16777216
  api:
    description:
      - Which list of models to ask for.
      - V(v1) is C(GET /api/v1/models) of LM Studio 0.4 and later. V(v0) is C(GET /api/v0/models), the older list, which LM Studio 0.3 has and
        later versions still have.
      - V(auto) asks for the older list if LM Studio itself says that it does not know the newer one, and in no other case. The
        O(timeout) is for both requests together.
      - What the older list does not report is null in the record, and meets no requirement.
        RV(gpufleet.lmstudio.model_info#module:lmstudio.api) says which list was used.
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
      - Unset means C(http://127.0.0.1) with O(port) if the target itself asks, and C(http://HOST) with O(port) if the
        controller asks. HOST is C(ansible_host) of the host, or else the address of its connection plugin (C(ansible_ssh_host),
        C(ansible_winrm_host), C(ansible_psrp_host)), or else its name in the inventory.
      - A route of the API at the end (C(/v1), C(/v1/models), C(/v1/chat/completions), C(/api/v0), C(/api/v0/models), C(/api/v1),
        C(/api/v1/models)) is removed. Any other path is kept, as the prefix of a reverse proxy.
      - A URL with a user name or password is refused. Use O(token) or O(headers) instead. Redirects are not followed.
    type: str
notes:
  - Without O(token), the environment variable E(LM_API_TOKEN) of the machine that sends the request is used.
"""

    # For the plugins that ask many hosts at once.
    FLEET = r"""
options:
  concurrency:
    description:
      - How many hosts are asked at once. If the hard limit of open files is too low, it is fewer.
      - Set it above the number of dead hosts that you expect, or those make the others wait.
    type: int
    default: 1000
  fleet_timeout:
    description:
      - Seconds for all hosts together. A host that has not answered by then has the status V(timeout).
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
        group has, an empty list, an empty string and null, although the last two mean unset elsewhere.
      - Unset means the hosts of the current batch of the play, including those that failed before and those that C(meta=end_host)
        removed, because Ansible does not distinguish the two. C({{ ansible_play_hosts }}) names the hosts that are left.
      - In a pattern, a name that both a host and a group have means the group.
    type: list
    elements: str
notes:
  - For each host, only variables of the inventory, facts and extra variables count, not those of the play, the task or roles.
  - E(LM_API_TOKEN) is not used here. The O(token) of the task goes to every host that is asked and has no token of its own. If it is a
    template, it only goes to hosts for which the template has the same value.
  - The proxy and TLS options are about the controller.
"""
