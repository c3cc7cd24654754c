# Copyright (c) 2026, the gpufleet.lmstudio authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTML report in a real browser. Run by `nox -s browser`, which needs Chromium; pictures are kept in tests/output."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.endpoint import make_endpoint
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.errors import ApiError
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._http.response import Response
from ansible_collections.gpufleet.lmstudio.plugins.module_utils._lmstudio.record import Poll, parse, record_of
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.baseline import parse_baseline
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.document import Scope, make_audit
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.policy import parse_policies
from ansible_collections.gpufleet.lmstudio.plugins.plugin_utils._audit.reports.html_report.page import as_html
from playwright.sync_api import Page, sync_playwright

OUTPUT = Path(__file__).resolve().parents[1] / "output"
ENDPOINT = make_endpoint({"url": "http://gpu:1234"}, "")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} \" ' </script> \u202e"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


COLOUR = "(what) => getComputedStyle(document.querySelector(what)).color.match(/[0-9]+/g).slice(0, 3)"


def model(key, *contexts, quantization="Q4_K_M"):
    instances = [{"id": f"{key}:{number}", "config": {"context_length": context}} for number, context in enumerate(contexts)]
    return {
        "key": key, "type": "llm", "publisher": "p", "size_bytes": 5_000_000_000, "selected_variant": f"{key}@{quantization}",
        "quantization": {"name": quantization, "bits_per_weight": 4}, "loaded_instances": instances,
    }  # fmt: skip


def having(*models):
    return record_of(
        ENDPOINT, parse(ENDPOINT, Poll(Response(200, json.dumps({"models": models}).encode()), "2026-11-22T20:00:00Z", 5)), "full"
    )


DOWN = record_of(ENDPOINT, parse(ENDPOINT, Poll(ApiError("refused", "refused the connection"), "2026-11-22T20:00:00Z", None)), "full")
SMALL = {
    "gpu1": having(model("qwen/qwen3-8b", 16384, 4096), model("text/embed", quantization="Q8_0")),
    "gpu2": having(model("qwen/qwen3-8b", 32768, quantization="4bit"), model("other/m")),
    "gpu10": having(model("qwen/qwen3-8b"), model("text/embed", 2048, quantization="Q8_0")),
    "down": DOWN,
    "evil": having(model(HOSTILE, 1, quantization=HOSTILE)),
}
POLICY = {"require": [{"name": "chat", "model": "qwen/*", "min_context_length": 4096}]}


def many(hosts, models, named, down_every):
    """Hosts that list all models and have every 17th of them loaded, so that every 17th host is the same."""
    records = [
        having(*[model(named(number), *([8192] if (host + number) % 17 == 0 else [])) for number in range(models)]) for host in range(17)
    ]
    return {name: DOWN if host % down_every == 7 else records[host % 17] for host, name in enumerate(hosts)}


LARGE = many([f"gpu{host}" for host in range(1000)], 100, lambda number: f"maker{number % 9}/model-{number}", 50)
# As large as a report on paper is to be readable.
PAPER = many([f"gpu{host:03}" for host in range(500)], 60, lambda number: f"maker{number % 9}/model-{number}-instruct", 20)


RUNS = [{"hosts_ok": number % 5, "violations": 9 - number, "loaded_bytes": 10**9 * number, "requirements": []} for number in range(9)]


def audited(hosts, policy=None):
    before = {**SMALL, "gpu10": having(model("qwen/qwen3-8b", 8192))}
    baseline = parse_baseline(make_audit(before, [], None, "2026-11-01T08:00:00Z"))
    inventory = list(before) if len(hosts) > len(before) else ()
    scope = Scope(history=RUNS, inventory=inventory)
    return as_html(make_audit(hosts, parse_policies(policy, {}), baseline, "2026-11-23T08:00:00Z", scope))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    strict = {"require": [{"model": "*", "min_instances": 6}]}
    for name, text in (("small", audited(SMALL, POLICY)), ("large", audited(LARGE, strict)), ("paper", audited(PAPER, strict))):
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "there is no Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def show(browser, reports):
    """Open a report. A log line, a network request or a dialog is a failure."""
    contexts, wrong = [], []

    def opened(name="small", fragment="", **settings) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        page.goto((reports / f"{name}.html").as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def hosts_in(page: Page) -> list[str]:
    return page.locator(".matrix tbody th").all_inner_texts()


def picture(page: Page, name: str) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"fleet_audit-{name}.png", full_page=True)


def test_it_shows_figures_violations_drift_and_the_matrix(show):
    page = show()
    assert "4 of 5 hosts answered, 1 requirement not met" in page.locator(".headline").inner_text()
    titles = page.locator("h2, h3").all_inner_texts()
    order = ("What is wrong", "Hosts without an answer", "Requirements that are not met", "What was checked", "Drift", "Hosts and models")
    assert [title for title in titles if title in order] == list(order)
    wrong = page.get_by_role("region", name="What is wrong").first
    assert "chat: not met by 3 of 5 hosts: 1 not listed, 1 not loaded, 1 gave no answer" in wrong.inner_text()
    wrong.get_by_text("Hosts", exact=True).nth(1).click()
    assert "gpu10: chat: qwen/* is not loaded" in wrong.inner_text()
    assert "serves qwen/* with a context of at least 4096" in page.get_by_role("region", name="What was checked").first.inner_text()
    row = page.locator(".matrix tbody tr", has=page.get_by_role("rowheader", name="gpu1", exact=True))
    assert row.locator("td.loaded").inner_text() == "16384\n4096"
    assert row.locator("td.loaded").get_attribute("title").startswith("qwen/qwen3-8b on gpu1: loaded, context 16384, 4096; Q4_K_M")
    assert row.locator("td.listed").inner_text() == "listed" and row.locator("td.absent").first.inner_text() == "\u2013"
    assert "refused the connection" in page.locator(".matrix tbody tr", has_text="down").inner_text()
    charts = page.get_by_role("img").all()
    said = [chart.get_attribute("aria-label") for chart in charts]
    assert "Hosts by status: ok 4, refused 1" in said and "Hosts that answer: 0 at first, 4 now" in said
    assert page.locator(".matrix thead th").nth(5).inner_text() == "qwen/qwen3-8b"
    picture(page, "light")


def test_what_was_not_judged_or_compared_is_not_zero(show, reports):
    def cells(page, name):
        return (
            page.locator(".matrix tbody tr", has=page.get_by_role("rowheader", name=name, exact=True)).locator("td").all_inner_texts()[1:4]
        )

    page = show()
    assert cells(page, "down") == ["1", "-", "-"] and cells(page, "gpu10")[:2] == ["1", "2"] and cells(page, "gpu1")[:2] == ["0", "0"]
    page.locator(".matrix").get_by_role("button", name="Drift").click()
    assert hosts_in(page) == ["gpu10", "evil", "gpu1", "gpu2", "down"]
    (reports / "bare.html").write_text(as_html(make_audit({"down": DOWN}, [], None, "2026-11-23T08:00:00Z")), encoding="utf-8")
    page = show("bare")
    assert cells(page, "down") == ["-", "-", "-"]
    assert page.locator(".figures div", has_text="models loaded").locator("dd").inner_text() == "not known"


def test_it_filters_by_host_model_status_and_trouble(show):
    page = show()
    assert hosts_in(page) == ["down", "evil", "gpu1", "gpu2", "gpu10"]
    page.get_by_role("searchbox", name="Host").fill("GPU1")
    assert hosts_in(page) == ["gpu1", "gpu10"]
    assert page.get_by_role("status").inner_text() == "2 of 5 hosts, 4 of 4 models."
    page.get_by_role("button", name="Reset").click()
    page.locator(".matrix tbody tr").nth(4).wait_for()
    page.get_by_role("searchbox", name="Model").fill("embed")
    assert hosts_in(page) == ["gpu1", "gpu10"]
    page.get_by_role("searchbox", name="Model").fill("")
    page.get_by_role("combobox", name="Status").select_option("refused")
    assert hosts_in(page) == ["down"]
    page.get_by_role("combobox", name="Status").select_option("")
    page.get_by_role("combobox", name="Show").select_option("changed")
    assert hosts_in(page) == ["gpu10"]
    page.get_by_role("combobox", name="Show").select_option("")
    page.get_by_role("combobox", name="which is").select_option("loaded")
    assert hosts_in(page) == ["evil", "gpu1", "gpu2", "gpu10"]
    page.get_by_role("spinbutton", name="with a context of at least").fill("8192")
    assert hosts_in(page) == ["gpu1", "gpu2"]
    # All filters for a model apply to one and the same model.
    page.get_by_role("searchbox", name="Model").fill("embed")
    assert hosts_in(page) == ["No host matches."] or page.locator(".matrix tbody").inner_text() == "No host matches."
    page.get_by_role("spinbutton", name="with a context of at least").fill("2048")
    assert hosts_in(page) == ["gpu10"]
    page.get_by_role("spinbutton", name="with a context of at least").fill("")
    page.get_by_role("searchbox", name="Model").fill("")
    page.get_by_role("checkbox", name="only models that are loaded somewhere").check()
    assert page.get_by_role("status").inner_text() == "4 of 5 hosts, 3 of 4 models."


def test_what_is_shown_is_in_the_url_and_goes_to_the_command_line(show):
    page = show()
    page.get_by_role("searchbox", name="Model").fill("qwen")
    page.get_by_role("spinbutton", name="with a context of at least").fill("16384")
    assert page.evaluate("location.hash") == "#model=qwen&context=16384"
    again = show(fragment=page.evaluate("location.hash"))
    assert hosts_in(again) == hosts_in(page) == ["gpu1", "gpu2"]
    again.get_by_role("button", name="Copy as --limit").click()
    assert again.get_by_label("For the command line").input_value() == "--limit 'gpu1,gpu2'"

    # A link for a host whose name is part of another's, and one for a model.
    page.get_by_role("button", name="Reset").click()
    page.locator(".matrix tbody tr").nth(4).wait_for()
    page.get_by_role("link", name="gpu1", exact=True).click()
    page.wait_for_function("document.querySelectorAll('.matrix tbody tr').length === 1")
    assert hosts_in(page) == ["gpu1"]
    served = page.get_by_role("region", name="Models").first.get_by_role("link", name="2 of 5 hosts")
    served.click()
    page.wait_for_function("document.querySelectorAll('.matrix tbody tr').length === 2")
    assert hosts_in(page) == ["gpu1", "gpu2"]


@pytest.mark.parametrize("name", [HOSTILE, "=" + HOSTILE, "'; rm -rf / #", "%00%0a\u202e"])
def test_a_hostile_fragment_is_text(show, name):
    page = show(fragment="#" + urlencode({"model": name, "host": name, "status": name, "state": name, "show": name, "context": name}))
    assert page.locator("img").count() == 0 and page.locator("script").count() == 2
    for box in ("Status", "which is", "Show"):
        assert page.get_by_role("combobox", name=box).input_value() == ""
    page.get_by_role("button", name="Reset").click()
    page.locator(".matrix tbody tr").nth(4).wait_for()


def test_a_name_that_cannot_be_in_a_pattern_is_not_copied(show, browser, reports):
    text = audited({**SMALL, "a b'; rm -rf ~": DOWN, "gpu[1:9]": DOWN})
    (reports / "odd.html").write_text(text, encoding="utf-8")
    page = show("odd")
    page.get_by_role("button", name="Copy as --limit").click()
    assert page.get_by_label("For the command line").input_value() == "--limit 'down,evil,gpu1,gpu2,gpu10'"
    assert page.locator("#uncopied").inner_text() == "Without 2 hosts whose name cannot be used in a pattern."
    # An empty limit would mean every host.
    page.get_by_role("searchbox", name="Host").fill("zzz")
    page.get_by_role("button", name="Copy as --limit").click()
    assert page.get_by_label("For the command line").input_value() == ""
    assert page.locator("#uncopied").inner_text() == "There is no host to copy."


def test_it_is_a_plain_table_without_a_script(show):
    page = show(java_script_enabled=False)
    rows = page.locator("#plain tbody tr")
    assert rows.first.inner_text().split("\t") == ["down", "refused", "http://gpu:1234 refused the connection.", "-"]
    assert "gpu1\tok\tqwen/qwen3-8b (16384, 4096)\t5.0 GB" in page.locator("#plain").inner_text()
    assert not page.locator("#controls").is_visible() and page.locator("img").count() == 0
    assert not show().locator("#plain").is_visible()


def test_it_sorts_by_any_column(show):
    page = show()
    assert page.locator(".matrix").get_by_role("columnheader", name="Host").get_attribute("aria-sort") == "ascending"
    page.locator(".matrix").get_by_role("button", name="Host").click()
    assert hosts_in(page) == ["gpu10", "gpu2", "gpu1", "evil", "down"]
    page.locator(".matrix").get_by_role("button", name="qwen/qwen3-8b").click()
    assert hosts_in(page)[:3] == ["gpu2", "gpu1", "gpu10"]
    page.locator(".matrix").get_by_role("button", name="Violations").click()
    assert page.locator(".matrix").get_by_role("columnheader", name="Violations").get_attribute("aria-sort") == "descending"
    assert set(hosts_in(page)[:3]) == {"down", "evil", "gpu10"}


def test_it_is_dark_where_the_reader_is(show):
    for scheme, other in (("light", "Dark"), ("dark", "Light")):
        page = show(color_scheme=scheme)
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (before == "rgb(16, 21, 28)") is (scheme == "dark")
        picture(page, scheme)
        page.get_by_role("button", name=other).click()
        assert (page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 28)") is (scheme != "dark")


def test_names_from_a_server_are_text(show):
    page = show()
    shown = page.locator(".matrix").inner_text()
    assert "<script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }}" in shown
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_no_other_script_runs(browser, reports):
    """If escaping failed, the page's Content Security Policy would still stop it."""
    context = browser.new_context()
    page = context.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    text = (reports / "small.html").read_text(encoding="utf-8").replace("</main>", "<script>document.title = 'pwned'</script></main>")
    (reports / "changed.html").write_text(text, encoding="utf-8")
    page.goto((reports / "changed.html").as_uri())
    assert page.title().startswith("LM Studio fleet")
    assert any("Content Security Policy" in message for message in refused)
    context.close()


def test_the_keyboard_alone_reaches_everything(show):
    page = show()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
            .filter((element) => element.id === 'skip' || element.checkVisibility()).length"""
    )
    reached = set()
    for _step in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("""() => { const all = [...document.querySelectorAll('*')]; return all.indexOf(document.activeElement); }""")
        )
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert len(reached - {page.evaluate("[...document.querySelectorAll('*')].indexOf(document.body)")}) >= wanted
    # Sorting keeps the focus on its button, so that it can be pressed again.
    page.locator(".matrix").get_by_role("button", name="Loaded").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator(".matrix").get_by_role("columnheader", name="Loaded").get_attribute("aria-sort") == "descending"


def test_everything_has_a_name_for_a_screen_reader(show):
    page = show()
    tree = page.locator("body").aria_snapshot()
    for line in (
        "banner",
        "main",
        'heading "LM Studio fleet" [level=1]',
        'region "What is wrong"',
        'searchbox "Host"',
        'combobox "Status"',
        "table",
    ):
        assert line in tree, line
    assert page.locator("th:not([scope])").count() == 0


def test_a_phone_can_show_it(show):
    page = show(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # The outcome and the first model of each host are visible without scrolling sideways.
    for what in (
        page.get_by_role("region", name="What was checked").first.locator("td[data-title=Outcome]").first,
        page.get_by_role("region", name="Models").first.locator("td[data-title='Served by']").first,
        page.locator(".matrix tbody tr", has_text="gpu1").first.locator("td.loaded"),
        page.locator(".matrix thead th").nth(5),
    ):
        what.scroll_into_view_if_needed()
        box = what.bounding_box()
        assert box and box["width"] > 30 and box["x"] >= 0 and box["x"] + box["width"] <= 390, what
    assert page.locator("#place").evaluate("place => place.scrollLeft") == 0
    # A bar has its label and its number beside it.
    for label in page.locator(".charts svg text").all():
        box = label.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390
    picture(page, "phone")


def test_what_is_wrong_is_on_the_first_screen(show, reports):
    policy = {**POLICY, "fleet": [{"require": [{"model": "qwen/*"}], "min_hosts": 9}]}
    hosts = {**SMALL, **{f"linked{number}": having(model("a/b"), model("a/b")) for number in range(9)}}
    (reports / "noted.html").write_text(audited(hosts, policy), encoding="utf-8")
    for width, height in ((1400, 800), (390, 844)):
        page = show("noted", viewport={"width": width, "height": height}, is_mobile=width < 400)
        box = page.locator(".findings li", has_text="fleet: 0 of 1 host serves").bounding_box()
        assert box and box["y"] + box["height"] <= height
        # What is true of the figures comes after it.
        assert page.locator(".note").count() == 2


def test_it_can_be_printed(show):
    page = show("large")
    page.emulate_media(media="print")
    assert not page.locator("#controls").is_visible() and not page.locator("#place").is_visible()
    assert page.locator("#plain tbody tr").nth(199).is_visible() and not page.locator("#plain tbody tr").nth(200).is_visible()
    assert "Of 1000 hosts, the first 200 are printed" in page.locator("#plain").inner_text()
    for settings in ({}, {"color_scheme": "dark"}):
        page = show(**settings)
        if not settings:
            page.get_by_role("button", name="Dark").click()
        page.emulate_media(media="print")
        for what in (".badge.bad", "body", "h2", "#plain td"):
            red, green, blue = (int(part) for part in page.evaluate(COLOUR, what))
            assert red + green + blue < 400, f"{what} is too light for paper"
        assert len(page.pdf()) > 10_000


def test_five_hundred_hosts_take_few_pages_on_paper(show):
    page = show("paper", viewport={"width": 718, "height": 1000})
    pdf = page.pdf(format="A4", path=OUTPUT / "fleet_audit.pdf")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    print(f"500 hosts and 60 models: {pages} pages of A4")
    # Eight, with the fonts that one machine has.
    assert 1 < pages <= 12
    # A page is 190 mm wide between its margins, 718 pixels.
    page.emulate_media(media="print")
    for table in page.locator("table:visible").all():
        box = table.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 718 + 1


def test_a_thousand_hosts_and_a_hundred_models(show, reports):
    assert (reports / "large.html").stat().st_size <= 4_000_000
    page = show("large")
    assert page.get_by_role("status").inner_text() == "1000 of 1000 hosts, 100 of 100 models, page 1 of 40."
    # However large the fleet, the number of rows drawn at once is bounded, which keeps the page quick on any machine.
    assert page.locator(".matrix td").count() <= 25 * 104
    assert page.locator("#page").inner_text() == "Page 1 of 40"
    page.get_by_role("button", name="Next").click()
    assert hosts_in(page)[0] == "gpu25"
    # A script does all but the last, without looking at the page in between.
    page.evaluate("[...Array(37)].forEach(() => document.getElementById('next').click())")
    page.get_by_role("button", name="Next").press("Enter")
    assert page.evaluate("document.activeElement.id") == "previous"
    page.get_by_role("searchbox", name="Host").fill("zzz")
    assert page.locator(".matrix tbody").inner_text() == "No host matches."
    for text in ("gpu9", "gpu99", ""):
        page.get_by_role("searchbox", name="Host").fill(text)
        assert len(hosts_in(page)) == min(25, sum(text in name for name in LARGE)) and page.locator(".matrix td").count() <= 25 * 104
    page.get_by_role("combobox", name="Status").select_option("refused")
    assert len(hosts_in(page)) == 20
    assert len(page.locator(".matrix tbody tr").first.locator("td").all()) == 5
    picture(page, "large")
