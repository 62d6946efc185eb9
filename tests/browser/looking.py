"""Checks of the panels that read, look inside, fill and proofread, and of the page's form."""

from selenium.webdriver.support.ui import Select

from case import PageCase
from page import PHONE

TEXT = "MAREN:\nI counted from the slip and from the stair,\nThen walking backward up the chandlers' hill\nFor luck, which got me one.\n"
DRAFT = "MAREN:\nThe lantern is out, and the tdie is comming in.\nWhere is hte baker?"


class Read(PageCase):
    def _measure(self, text: str) -> float:
        self.page.set("read-text", text)
        self.page.set("read-figures", "")
        self.page.script("document.getElementById('read-figures').textContent = ''")
        self.page.click("read-start")
        self.page.until(lambda: "bits per character" in self.page.text("read-figures"), "the figures are shown")
        shown = "return document.getElementById('read-view').textContent"
        self.page.until(lambda: self.page.script(shown) == text, "the text is drawn")
        return float(self.page.text("read-figures").split()[0])

    def test_bits_per_character_and_colours_are_drawn(self):
        self.page.open("read")
        known = self._measure(TEXT)
        self.assertGreater(known, 0.1)
        steps = self.page.script(
            "return [...new Set([...document.querySelectorAll('#read-view .c')].map(c => c.classList[1]))]"
        )
        self.assertGreater(len(steps), 3, steps)
        lines = self.page.script(
            "return [...document.querySelectorAll('#read-view .line')].map(line => Number(line.dataset.end))"
        )
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(bits > 0 for bits in lines), lines)
        # The same characters in an order that no language has.
        self.assertGreater(self._measure(TEXT[::-1]), known + 1)

    def test_a_character_that_the_model_does_not_know_is_said_beside_the_text(self):
        self.page.open("read")
        self.page.set("read-text", "The lantern ☃")
        self.page.click("read-start")
        self.page.until(lambda: self.page.all("#read-text[aria-invalid=true] + .error"), "the text is marked")
        self.page.console_errors()  # The browser itself reports a status of 400.


class Gates(PageCase):
    COLOURS = "return [...document.querySelectorAll('#gates-view .gates-text span')].map(c => c.style.backgroundColor)"

    def _look(self, button: str):
        self.page.set("gates-text", TEXT * 4)
        self.page.click(button)
        self.page.until(lambda: self.page.all("#gates-view canvas"), "the heat map is there")
        self.page.until(lambda: not self.page.text("gates-status"), "the answer has come")

    def _pixels(self) -> int:
        """How many different colours the heat map has."""
        return self.page.script(
            "const c = document.querySelector('#gates-view canvas');"
            "const data = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);"
            "return new Set(data).size"
        )

    def test_the_heat_map_is_drawn_and_a_unit_colours_the_text(self):
        self.page.open("gates")
        self._look("gates-start")
        self.assertGreater(self._pixels(), 50)
        first = self.page.script(self.COLOURS)
        self.assertGreater(len(set(first)), 5)
        unit = self.page.all("#gates-view input[type=number]")[0]
        self.page.script("arguments[0].value = 41; arguments[0].dispatchEvent(new Event('input'))", unit)
        self.page.until(lambda: self.page.script(self.COLOURS) != first, "the text has the colours of another unit")

    def test_another_layer_and_gate_are_shown_when_chosen(self):
        self.page.open("gates")
        self._look("gates-start")
        self.assertIn("Layer 2, hidden state", self.page.text("gates-view"))
        Select(self.page.find("gates-layer")).select_by_value("1")
        Select(self.page.find("gates-gate")).select_by_value("z")
        self.page.until(lambda: "Layer 1, update gate" in self.page.text("gates-view"), "layer 1, z")

    def test_units_that_follow_something_are_found_and_shown(self):
        self.page.open("gates")
        self._look("gates-find")
        chosen = "#gates-view .gates-found tbody tr[aria-selected=true]"
        rows = "#gates-view .gates-found tbody tr"
        self.page.until(lambda: self.page.all(chosen), "the best unit is chosen")
        self.assertEqual(self.page.all(chosen), self.page.all(rows)[:1])
        before = self.page.script(self.COLOURS)
        button = self.page.all(f"{rows} button")[-1]
        self.page.script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        self.page.until(lambda: self.page.script(self.COLOURS) != before, "the text has the colours of the unit")


class BothSides(PageCase):
    def test_a_model_that_reads_forward_says_why_not(self):
        self.page.open("fill")
        self.page.choose_model("demo")
        for tab in ("fill", "proofread"):
            self.page.tab(tab)
            reason = self.page.find(tab).find_element("css selector", "[data-cannot]")
            self.assertIn("--bidirectional", reason.text)
            self.assertFalse(self.page.find(f"{tab}-start").is_displayed())
        reason.find_element("css selector", "button").click()
        self.page.until(lambda: self.page.find("proofread-start").is_displayed(), "the other model can")

    def test_gaps_are_filled(self):
        self.page.open("fill")
        self.page.choose_model("demo-bidirectional")
        self.page.set("fill-text", "The l____rn is out.")
        self.page.click("fill-start")
        self.page.until(lambda: len(self.page.all("#fill-results li")) == 5, "five fillings")
        first = self.page.all("#fill-results li")[0]
        self.assertIn("The lantern is out.", first.text)
        self.assertEqual(first.find_element("css selector", "mark").text, "ante")
        self.assertIn("%", first.text)

    def test_a_text_without_gaps_is_said_beside_the_text(self):
        self.page.open("fill")
        self.page.choose_model("demo-bidirectional")
        self.page.set("fill-text", "The lantern is out.")
        self.page.click("fill-start")
        self.page.until(lambda: self.page.all("#fill .error, #fill [data-message]:not([hidden])"), "the error is shown")
        self.page.console_errors()  # The browser itself reports a status of 400.

    def _proofread(self):
        self.page.open("proofread")
        self.page.choose_model("demo-bidirectional")
        self.page.set("proofread-text", DRAFT)
        self.page.click("proofread-start")
        self.page.until(lambda: self.page.all("#proofread-findings li"), "the findings are listed")

    def _draft(self) -> str:
        return self.page.find("proofread-text").get_property("value")

    def test_slips_are_found_and_corrected_one_by_one(self):
        self._proofread()
        self.assertEqual([mark.text for mark in self.page.all("#proofread-view mark")], ["di", "m", "ht"])
        # One character fewer: what stands behind it moves.
        self.page.all("#proofread-findings button")[1].click()
        self.assertEqual(self._draft(), DRAFT.replace("comming", "coming"))
        self.page.all("#proofread-findings button")[1].click()
        self.assertEqual(self._draft(), DRAFT.replace("comming", "coming").replace("hte", "the"))
        self.page.click("proofread-undo")
        self.assertEqual(self._draft(), DRAFT.replace("comming", "coming"))

    def test_all_slips_are_corrected_at_once_and_undone_at_once(self):
        self._proofread()
        self.page.click("proofread-all")
        corrected = DRAFT.replace("hte", "the").replace("tdie", "tide").replace("comming", "coming")
        self.assertEqual(self._draft(), corrected)
        self.page.click("proofread-undo")
        self.assertEqual(self._draft(), DRAFT)


class Form(PageCase):
    TABS = ("write", "read", "gates", "fill", "proofread")

    def test_nothing_is_wider_than_a_phone(self):
        self.page.size(*PHONE)
        self.page.open()
        self.page.write("MAREN:\n" + "word" * 40, 200)
        self.page.tab("read")
        self.page.click("read-written")
        self.page.until(lambda: "bits" in self.page.text("read-figures"), "the figures are shown")
        self.page.tab("gates")
        self.page.click("gates-find")
        self.page.until(lambda: self.page.all("#gates-view canvas"), "the heat map is there")
        self.page.choose_model("demo-bidirectional")
        for tab in self.TABS:
            self.page.tab(tab)
            widths = self.page.script("const e = document.documentElement; return [e.scrollWidth, e.clientWidth]")
            self.assertLessEqual(widths[0], widths[1], f"{tab} scrolls sideways")

    def test_the_theme_follows_the_system_and_the_switch(self):
        paper = "return getComputedStyle(document.body).backgroundColor"
        self.page.open()
        light = self.page.script(paper)
        self.page.colours("dark")
        dark = self.page.script(paper)
        self.assertNotEqual(light, dark)
        self.page.click("theme")
        self.assertEqual(self.page.script(paper), light)
        self.page.reload()
        self.assertEqual(self.page.script(paper), light, "the choice outlives a reload")

    def test_the_tab_is_in_the_address(self):
        self.page.open("gates")
        self.assertTrue(self.page.find("gates").is_displayed())
        self.page.tab("read")
        self.assertTrue(self.page.driver.current_url.endswith("#read"))

    def test_every_field_and_button_has_a_name(self):
        self.page.open()
        nameless = self.page.script(
            "return [...document.querySelectorAll('button, input, select, textarea')].filter(e =>"
            " !e.ariaLabel && !e.textContent.trim() && !e.labels?.length).map(e => e.outerHTML)"
        )
        self.assertEqual(nameless, [])
