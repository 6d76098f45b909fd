"""The inspector's page in a real browser: what a reader sees, types, clicks and presses."""

import os
import re
import shutil
from pathlib import Path

import pytest

from memkit.cli.inspector.html_page import html_page
from memkit.cli.inspector.snapshot import snapshot
from memkit.testing import HashingEmbedder

BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

EVIL = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "separators \u2028 and \u2029 and \u0007 ${window.hacked = 3} $style <!-- <script>",
]
BIG = 1_500


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    sandbox = [] if os.getuid() else ["--no-sandbox"]  # Chromium has none for the superuser
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def trained_page(tmp_path_factory, trained_directory, opener):
    """The page of eight facts in two modules, of three hostile texts, and of a scope."""
    folder = tmp_path_factory.mktemp("inspected")
    shutil.copytree(trained_directory, folder / "agent.mem")
    with opener(folder / "agent.mem") as memory:
        for text in EVIL:
            memory.add(text, metadata={"note": text})
        memory.add("Ann's locker has the code 8812.", scope={"user": "<b>ann</b>"}, id="locker")
        memory.update("locker", "Ann's locker has the code 9000.", scope="all")
        explained = memory.explain("What is the badge number of Tara?").recall.route
        facts = {module.name: list(module.records) for module in memory.modules.list()}
    page = folder / "page.html"
    page.write_text(html_page(snapshot(folder / "agent.mem")), encoding="utf-8")
    return page, facts, explained


@pytest.fixture(scope="module")
def big_page(tmp_path_factory, opener):
    folder = tmp_path_factory.mktemp("big")
    with opener(folder / "big.mem", backends=("rag",), embedder=HashingEmbedder(16)) as memory:
        memory.add([f"Shelf {number:04} holds box {number % 7}." for number in range(BIG)])
    page = folder / "page.html"
    page.write_text(html_page(snapshot(folder / "big.mem")), encoding="utf-8")
    return page


class Opened:
    """A page, with all that it asked for and complained of."""

    def __init__(self, browser, path, view="overview", **context):
        self.context = browser.new_context(
            **({"viewport": {"width": 1280, "height": 860}} | context)
        )
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = Path(path).as_uri()
        self.page.goto(f"{self.address}#{view}")
        self.page.wait_for_selector("html[data-ready]")

    def check(self):
        assert self.complaints == []
        elsewhere = [url for url in self.requests if url.partition("#")[0] != self.address]
        assert [url for url in elsewhere if url != "data:,"] == []  # the icon, which is empty
        assert self.page.evaluate("window.hacked") is None


@pytest.fixture
def view(browser):
    """Opens a page at one of its views, and checks at the end what it asked for."""
    opened = []

    def open_page(path, name="overview", **context):
        opened.append(Opened(browser, path, name, **context))
        return opened[-1].page

    yield open_page
    for one in opened:
        one.check()
        one.context.close()


def shown(page):
    return page.locator("#records .row div:first-child").all_inner_texts()


def rows_become(page, number):
    """Wait for as many rows: what is typed is searched for a moment later."""
    from playwright.sync_api import expect

    expect(page.locator("#records .row")).to_have_count(number)


class TestRecords:
    def test_words_find_records(self, view, trained_page):
        page = view(trained_page[0], "records")
        assert page.locator("#records .count").inner_text() == "12 records"

        page.fill("#records input", "NUMBER nora")
        rows_become(page, 1)

        assert shown(page) == ["The badge number of Nora is 4471."]
        assert page.locator("#records .count").inner_text() == "1 of 12 records"
        assert [text.lower() for text in page.locator("mark").all_inner_texts()] == [
            "number",
            "nora",
        ]
        page.fill("#records input", "no such words")
        page.wait_for_selector("#records .empty")

    def test_columns_sort_up_down_and_as_they_were(self, view, trained_page):
        page = view(trained_page[0], "records")
        before = shown(page)
        header = page.locator("#records [data-sort=text]")

        header.click()
        up = shown(page)
        header.click()
        down = shown(page)
        assert page.locator("[aria-sort=descending]").count() == 1
        header.click()

        assert up == sorted(before, key=str.lower)
        assert down == up[::-1]
        assert shown(page) == before

    def test_a_module_and_a_scope_filter(self, view, trained_page):
        path, facts, _ = trained_page
        page = view(path, "records")

        page.select_option("[aria-label=Module]", "1")
        names = [re.search(r"of (\w+) is", text)[1] for text in shown(page)]
        assert sorted(names) == sorted(facts["m0002"])

        page.select_option("[aria-label=Module]", "")
        page.select_option("[aria-label=Scope]", label="user=<b>ann</b> (1)")
        assert shown(page) == ["Ann's locker has the code 9000."]

    def test_a_record_opens_with_all_that_it_was(self, view, trained_page):
        page = view(trained_page[0], "records")
        page.fill("#records input", "locker")
        rows_become(page, 1)

        page.click("#records .row")

        said = page.locator("dialog[open]").inner_text()
        assert "Ann's locker has the code 9000." in said
        assert "Ann's locker has the code 8812." in said  # the earlier version
        assert "user=<b>ann</b>" in said
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0

    def test_hostile_texts_are_texts(self, view, trained_page):
        page = view(trained_page[0], "records")
        page.fill("#records input", "hacked")
        rows_become(page, 3)

        assert shown(page) == [" ".join(text.split()) for text in EVIL]
        for place in range(len(EVIL)):
            page.click(f"#row-{place}")
            assert page.locator("dialog .said").evaluate("node => node.textContent") == EVIL[place]
            page.keyboard.press("Escape")
        assert page.locator("img, b, #records script").count() == 0

    def test_only_rows_in_sight_are_there_and_keys_reach_the_others(self, view, big_page):
        page = view(big_page, "records")
        assert page.locator("#records .row").count() < 60
        assert page.locator("#records .grid").get_attribute("aria-rowcount") == str(BIG + 1)

        page.focus("#records .grid")
        page.keyboard.press("End")
        active = page.locator("#records .row.active")
        assert active.inner_text().startswith(f"Shelf {BIG - 1:04}")
        assert active.get_attribute("aria-rowindex") == str(BIG + 1)
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        assert f"Shelf {BIG - 2:04}" in page.locator("dialog .said").inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("Home")
        assert active.inner_text().startswith("Shelf 0000")
        assert active.evaluate("node => node.id") == page.locator("#records .grid").get_attribute(
            "aria-activedescendant"
        )

    def test_scrolling_shows_the_rows_there(self, view, big_page):
        page = view(big_page, "records")

        page.locator("#records .grid").evaluate("grid => { grid.scrollTop = 700 * 44; }")

        page.wait_for_selector("#row-705")
        assert page.locator("#row-705").inner_text().startswith("Shelf 0705")


def test_a_scope_that_the_list_is_too_short_for_is_still_found(view, opener, tmp_path):
    with opener(tmp_path / "many.mem", backends=("rag",), embedder=HashingEmbedder(16)) as memory:
        memory.add(
            {"text": f"Locker n{number} is open.", "scope": {"user": f"u{number:03}"}}
            for number in range(520)
        )
    path = tmp_path / "page.html"
    path.write_text(html_page(snapshot(tmp_path / "many.mem")), encoding="utf-8")
    page = view(path, "records")
    assert page.locator("[aria-label=Scope] option").count() == 501

    page.fill("#records input", "n519")
    rows_become(page, 1)
    page.click("#records .row")
    page.click("text=All of its scope")

    assert shown(page) == ["Locker n519 is open."]
    assert page.locator("#records .count").inner_text() == "1 of 520 records"
    assert page.locator("[aria-label=Scope] option:checked").inner_text() == "user=u519 (1)"


PIXELS = """() => {
    const { width, height } = document.querySelector("#map canvas");
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(document.querySelector("#map canvas"), 0, 0);
    const data = pen.getImageData(0, 0, width, height).data;
    const style = getComputedStyle(document.documentElement);
    const near = (i, colour) =>
        data[i + 3] > 200 && colour.every((part, k) => Math.abs(data[i + k] - part) < 12);
    const count = (name) => {
        const hex = style.getPropertyValue(name).trim();
        const colour = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        let found = 0;
        for (let i = 0; i < data.length; i += 4) if (near(i, colour)) found += 1;
        return found;
    };
    return [count("--m0"), count("--m1"), count("--none")];
}"""


class TestMap:
    def test_dots_have_the_colours_of_their_modules(self, view, trained_page):
        page = view(trained_page[0], "map")

        first, second, none = page.evaluate(PIXELS)

        # Four records each, and four that no module holds; each dot has some 60 pixels.
        assert all(100 < pixels < 500 for pixels in (first, second, none))

    def test_a_module_alone_stands_out(self, view, trained_page):
        page = view(trained_page[0], "map")
        before = page.evaluate(PIXELS)

        page.click("#map .legend button:has-text('m0002')")

        first, second, none = page.evaluate(PIXELS)
        assert first == none == 0
        assert second == pytest.approx(before[1], rel=0.2)
        assert page.locator("#map .count").inner_text() == "4 highlighted"

    def test_a_dot_says_what_it_is_and_opens(self, view, trained_page):
        page = view(trained_page[0], "records")
        page.fill("#records input", "locker")
        rows_become(page, 1)
        page.click("#records .row")
        page.click("text=Show on the map")  # brings it into the middle

        box = page.locator("#map canvas").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert "Ann's locker has the code 9000." in page.locator("#map .tip").inner_text()
        page.mouse.down()
        page.mouse.up()
        assert "9000" in page.locator("dialog[open] .said").inner_text()

    def test_keys_zoom_and_move(self, view, trained_page):
        page = view(trained_page[0], "map")
        page.focus("#map canvas")
        before = page.evaluate(PIXELS)

        page.keyboard.press("+")
        assert page.evaluate(PIXELS) != before
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("0")
        assert page.evaluate(PIXELS) == before


class TestRoutes:
    def test_a_typed_question_is_routed_as_the_memory_routes_it(self, view, trained_page):
        path, _, route = trained_page
        page = view(path, "routes")

        page.fill("#routes input", "tara's badge number, please")
        page.wait_for_selector("#routes .verdict")

        assert page.locator("#routes .asked").inner_text() == "What is the badge number of Tara?"
        (name,) = route.weights
        assert page.locator("#routes .verdict").inner_text() == f"{name} × 1.00"
        assert f"Evidence {route.evidence:.2f} is enough." in page.locator("#routes").inner_text()
        best = page.locator("#routes .facts li").first.inner_text()
        assert best.startswith("The badge number of Tara is 9876.")

    def test_words_that_no_question_has_give_no_route(self, view, trained_page):
        page = view(trained_page[0], "routes")

        page.fill("#routes input", "who painted the mona lisa")
        page.wait_for_selector("text=No stored question resembles this one")

        assert page.locator("#routes .verdict").count() == 0


class TestOtherViews:
    def test_modules_say_how_they_are(self, view, trained_page):
        page = view(trained_page[0], "modules")

        first = page.locator("#modules article").first.inner_text()

        assert re.search(r"m0001\s+v1\s+Records held\s+4 of 4", first)
        assert re.search(r"Rank\s+16", first)
        page.click("#modules article >> nth=1 >> text=Its records")
        assert page.locator("#records .count").inner_text() == "4 of 12 records"

    def test_the_overview_counts(self, view, trained_page):
        page = view(trained_page[0])

        tiles = page.locator("#overview .tiles").inner_text()

        assert re.search(r"Records\s+12\s+13 versions", tiles)
        assert re.search(r"Held in weights\s+8\s+67% of records", tiles)

    def test_activity_has_the_trainings(self, view, trained_page):
        page = view(trained_page[0], "activity")

        assert "Module m0002 v1 trained" in page.locator("#activity").inner_text()
        assert page.locator("#activity svg rect").count() >= 1

    def test_arrows_go_through_the_views(self, view, trained_page):
        page = view(trained_page[0])
        page.focus("#tab-overview")

        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")

        assert page.evaluate("document.activeElement.id") == "tab-map"
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == "map"
        assert page.evaluate("location.hash") == "#map"

    def test_an_empty_memory_says_so_everywhere(self, view, opener, tmp_path):
        opener(tmp_path / "empty.mem").close()
        path = tmp_path / "page.html"
        path.write_text(html_page(snapshot(tmp_path / "empty.mem")), encoding="utf-8")
        page = view(path)

        for name in ("records", "map", "modules", "routes", "activity"):
            page.click(f"#tab-{name}")
            assert re.search(
                r"\bno\b|nothing", page.locator(f"#{name}").inner_text(), re.IGNORECASE
            )


CONTRASTS = """() => {
    const style = getComputedStyle(document.documentElement);
    const light = (name) => {
        const hex = style.getPropertyValue(name).trim();
        const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const contrast = (a, b) => {
        const [low, high] = [light(a), light(b)].sort((one, other) => one - other);
        return (high + 0.05) / (low + 0.05);
    };
    const texts = ["--ink", "--quiet", "--accent"].flatMap((text) =>
        ["--page", "--card"].map((on) => contrast(text, on)));
    const dots = [..."0123456789"].map((n) => contrast(`--m${n}`, "--card"));
    return [Math.min(...texts), Math.min(...dots, contrast("--accent", "--track"))];
}"""


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast_is_enough(self, view, trained_page, scheme):
        """4.5 for texts, 3 for what is drawn: WCAG 2.2, 1.4.3 and 1.4.11."""
        page = view(trained_page[0], color_scheme=scheme)

        texts, drawn = page.evaluate(CONTRASTS)

        assert texts >= 4.5
        assert drawn >= 3.0

    def test_the_theme_can_be_chosen(self, view, trained_page):
        page = view(trained_page[0], color_scheme="light")
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)

        page.click("#theme")
        assert page.evaluate(background) == light
        page.click("#theme")
        assert page.evaluate(background) != light

    @pytest.mark.parametrize(
        "name", ["overview", "records", "map", "modules", "routes", "activity"]
    )
    def test_a_telephone_need_not_scroll_sideways(self, view, trained_page, name):
        page = view(trained_page[0], name, viewport={"width": 390, "height": 844})

        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    def test_all_that_takes_input_has_a_name(self, view, trained_page):
        page = view(trained_page[0])
        for name in ("records", "map", "modules", "routes", "activity"):
            page.click(f"#tab-{name}")

        nameless = page.evaluate(
            "[...document.querySelectorAll('input, select, button, canvas, [tabindex]')]"
            ".filter(node => !(node.getAttribute('aria-label') || node.textContent.trim()))"
            ".map(node => node.outerHTML)"
        )
        assert nameless == []


def test_a_browser_that_cannot_unpack_is_told(browser, trained_page):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(trained_page[0].as_uri())

    assert "cannot unpack the page" in page.locator("#status").inner_text()
    context.close()


@pytest.mark.slow
def test_only_the_pages_own_program_may_run():
    page = html_page({"name": "<agent> $name"})

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<title>&lt;agent&gt; $name" in page
