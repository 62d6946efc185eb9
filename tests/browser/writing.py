"""Checks of the panel that writes."""

import json

from selenium.webdriver.common.keys import Keys

from case import PageCase

# Slow enough that a text of full length takes a minute.
THROTTLED = {"latency": 20, "bytes": 60_000}
PROMPT = "MAREN:\nThe tide"


class Write(PageCase):
    def test_the_text_streams_in(self):
        self.page.open()
        self.page.network(**THROTTLED)
        self.page.script(
            "window.lengths = []; const story = document.getElementById('story');"
            "new MutationObserver(() => lengths.push(story.textContent.length)).observe(story, {childList: true, subtree: true});"
        )
        text = self.page.write(PROMPT, 1500)
        lengths = self.page.script("return lengths")
        between = {length for length in lengths if len(PROMPT) < length < len(text)}
        self.assertEqual(len(text), len(PROMPT) + 1500)
        self.assertTrue(text.startswith(PROMPT))
        self.assertGreater(len(between), 3, f"the text came at once: {lengths}")
        self.assertEqual(lengths, sorted(lengths), "the text shrank while it was written")

    def test_temperature_zero_writes_the_same_twice(self):
        self.page.open()
        first = self.page.write(PROMPT, 120, temperature="0")
        second = self.page.write(PROMPT, 120, temperature="0")
        self.assertEqual(first, second)
        self.assertNotEqual(first, self.page.write(PROMPT, 120, temperature="1"))

    def test_a_seed_that_is_kept_writes_the_same_and_is_said(self):
        self.page.open()
        first = self.page.write(PROMPT, 120, new_seed=False, seed="7")
        self.assertIn("seed 7", self.page.text("write-status"))
        self.assertEqual(first, self.page.write(PROMPT, 120))
        self.assertNotEqual(first, self.page.write(PROMPT, 120, seed="8"))

    def test_a_new_seed_each_time_is_said(self):
        self.page.open()
        seeds = set()
        for _ in range(2):
            self.page.write(PROMPT, 40)
            seed = self.page.all("[name=seed]")[0].get_property("value")
            self.assertIn(f"seed {seed}", self.page.text("write-status"))
            seeds.add(seed)
        self.assertEqual(len(seeds), 2)

    def test_a_stop_text_ends_the_writing(self):
        self.page.open()
        text = self.page.write("MAREN:\n", 2000, stop="\\n\\n")
        self.assertLess(len(text), 2000)
        self.assertNotIn("\n\n", text)
        self.assertIn("stop text", self.page.text("write-status"))

    def test_characters_are_coloured_by_their_probability(self):
        self.page.open()
        self.page.write(PROMPT, 300, temperature="1")
        script = "return [...document.querySelectorAll('#story .c:not(.given)')].map(c => getComputedStyle(c).backgroundColor)"
        colours = set(self.page.script(script))
        self.assertGreater(len(colours), 3, colours)
        self.page.set("colours", False)
        self.assertEqual(len(set(self.page.script(script))), 1)

    def _alternative(self):
        """Points at a character behind the 20th with an alternative; returns its place and that alternative's row."""
        characters = self.page.all("#story .c:not(.given)")
        given = len(self.page.all("#story .given"))
        for place in range(20, len(characters)):
            self.page.script("arguments[0].scrollIntoView({block: 'center'})", characters[place])
            self.page.hover(characters[place])
            shown = "return document.querySelector('#story .shown') === arguments[0]"
            self.page.until(lambda: self.page.script(shown, characters[place]), "the alternatives are shown")
            rows = self.page.all("#alternatives button:not(:disabled)")
            # Five, and the character itself where it is none of them.
            self.assertIn(len(self.page.all("#alternatives button")), (5, 6))
            if rows:
                return given + place, rows[0]
        self.fail("no character has an alternative")

    def test_an_alternative_changes_the_course_and_undo_brings_it_back(self):
        self.page.open()
        before = self.page.write(PROMPT, 200, temperature="0")
        place, row = self._alternative()
        taken = row.get_attribute("data-token")
        self.assertNotEqual(taken, before[place])
        row.click()
        self.page.until(lambda: self.page.story() != before, "another text is written")
        self.page.wait_for_end()
        after = self.page.story()
        self.assertEqual(after[:place], before[:place])
        self.assertEqual(after[place], taken)
        self.assertEqual(len(after), place + 1 + 200)
        self.page.click("write-undo")
        self.page.until(lambda: self.page.story() == before, "the text of before is back")
        self.assertEqual(self.page.text("write-count"), "200 characters")

    def test_stop_stops_and_continue_goes_on(self):
        self.page.open()
        self.page.network(**THROTTLED)
        self.page.begin(PROMPT, 16000)
        self.page.until(lambda: len(self.page.story()) > len(PROMPT) + 50, "some text is written")
        self.page.click("write-stop")
        self.assertIn("stopped", self.page.wait_for_end())
        stopped = self.page.story()
        self.assertLess(len(stopped), 16000)
        self.page.network(**self.page.usual)
        self.page.set("max_tokens", "100")
        self.page.click("write-continue")
        self.page.until(lambda: len(self.page.story()) == len(stopped) + 100, "100 characters more")
        self.assertTrue(self.page.story().startswith(stopped))

    def test_a_wrong_setting_is_said_beside_its_field(self):
        self.page.open()
        self.page.begin(PROMPT, 100, temperature="-3")
        field = "[name=temperature][aria-invalid=true]"
        self.page.until(lambda: self.page.all(field), "the field is marked")
        message = self.page.script(
            f"const f = document.querySelector('{field}'); return document.getElementById(f.getAttribute('aria-errormessage')).textContent"
        )
        self.assertIn("temperature", message)
        self.page.write(PROMPT, 100, temperature="1")
        self.assertEqual(self.page.all("#write [aria-invalid], #write .error"), [])
        self.page.console_errors()  # The browser itself reports a status of 400.

    def test_a_busy_server_is_said_and_asked_again(self):
        self.page.open()
        busy = "new Response('{}', {status: 429, headers: {'Retry-After': '1'}})"
        self.page.script(
            "const real = fetch; window.said = []; let refused = 0;"
            f"window.fetch = (path, rest) => path === '/v1/completions' && refused++ < 1 ? Promise.resolve({busy}) : real(path, rest);"
            "new MutationObserver(() => said.push(document.getElementById('write-status').textContent))"
            ".observe(document.getElementById('write-status'), {childList: true});"
        )
        text = self.page.write(PROMPT, 50)
        self.assertEqual(len(text), len(PROMPT) + 50)
        self.assertTrue(any("busy" in words for words in self.page.script("return said")))

    def test_text_and_settings_outlive_a_reload(self):
        self.page.open()
        text = self.page.write(PROMPT, 150, temperature="0.7", top_k="12")
        self.page.reload()
        self.page.until(lambda: self.page.story() == text, "the text is back")
        values = self.page.script(
            "return ['temperature', 'top_k'].map(n => document.querySelector(`[name=${n}]`).value)"
        )
        self.assertEqual(values, ["0.7", "12"])
        self.assertEqual(self.page.find("prompt").get_property("value"), PROMPT)
        self._alternative()

    def test_a_link_writes_the_same_elsewhere(self):
        self.page.open()
        text = self.page.write(PROMPT, 120, temperature="0.9", min_p="0.02")
        self.page.script("navigator.clipboard.writeText = async text => { window.copied = text }")
        self.page.click("write-link")
        link = self.page.until(lambda: self.page.script("return window.copied"), "the link is copied")
        self.page.open()
        self.page.driver.get("about:blank")
        self.page.driver.get(link)
        self.page.until(lambda: self.page.text("model-facts"), "the models are shown")
        self.assertTrue(self.page.driver.current_url.endswith("#write"))
        self.page.click("write-start")
        self.page.wait_for_end()
        self.assertEqual(self.page.story(), text)

    def test_other_scripts_are_counted_by_characters(self):
        """A character beyond the first plane is two units of a JavaScript string and one of the API."""
        self.page.open()
        event = {
            "choices": [
                {
                    "index": 0,
                    "text": "𝛼b",
                    "finish_reason": "length",
                    "logprobs": {
                        "tokens": ["𝛼", "b"],
                        "token_logprobs": [-0.1, -5],
                        "text_offset": [3, 4],
                        "top_logprobs": [{"𝛼": -0.1, "x": -3}, {"c": -0.5, "b": -5}],
                    },
                }
            ]
        }
        self.page.script(
            "const [real, sent] = [fetch, `data: ${arguments[0]}\\n\\ndata: [DONE]\\n\\n`];"
            "window.fetch = (path, rest) => path === '/v1/completions' ? Promise.resolve(new Response(sent)) : real(path, rest);",
            json.dumps(event),
        )
        self.page.write("x😀y", 2)
        classes = self.page.script(
            "return [...document.querySelectorAll('#story .c')].map(c => [c.textContent, c.className.split(' ')[1]])"
        )
        self.assertEqual([text for text, _ in classes], ["x", "😀", "y", "𝛼", "b"])
        self.assertEqual([step for _, step in classes[3:]], ["s0", "s5"])

    def test_bytes_are_joined_to_characters(self):
        """A byte inside a character has the offset behind the character, and its probability counts for it."""
        self.page.open()
        event = {
            "choices": [
                {
                    "index": 0,
                    "text": "éb",
                    "finish_reason": "length",
                    "logprobs": {
                        "tokens": [r"bytes:\xc3", r"bytes:\xa9", "b"],
                        "token_logprobs": [-1, -5, -0.1],
                        "text_offset": [1, 2, 2],
                        "top_logprobs": [{r"bytes:\xc3": -1}, {r"bytes:\xa9": -5}, {"b": -0.1, "c": -3}],
                    },
                }
            ]
        }
        self.page.script(
            "const [real, sent] = [fetch, `data: ${arguments[0]}\\n\\ndata: [DONE]\\n\\n`];"
            "window.fetch = (path, rest) => path === '/v1/completions' ? Promise.resolve(new Response(sent)) : real(path, rest);",
            json.dumps(event),
        )
        self.page.write("x", 2)
        steps = self.page.script(
            "return [...document.querySelectorAll('#story .c:not(.given)')].map(c => [c.textContent, c.className.split(' ')[1]])"
        )
        self.assertEqual(steps, [["é", "s6"], ["b", "s0"]])

    def test_a_text_of_ten_thousand_characters_stays_fluid(self):
        self.page.open()
        self.page.script(
            "window.frames_ = []; let last = performance.now();"
            "const tick = now => { frames_.push(now - last); last = now; requestAnimationFrame(tick) }; requestAnimationFrame(tick)"
        )
        text = self.page.write(PROMPT, 10000, temperature="1")
        self.assertEqual(len(text), len(PROMPT) + 10000)
        frames = sorted(self.page.script("return frames_"))
        # A frame of a quiet machine takes 17 ms; this bound is for a busy one.
        self.assertLess(frames[int(0.9 * len(frames))], 250, frames[-10:])


class Keyboard(PageCase):
    def _tab_to(self, selector: str):
        for _ in range(40):
            if self.page.script("return document.activeElement.matches(arguments[0])", selector):
                return
            self.page.keys(Keys.TAB)
        self.fail(f"{selector} is not reached by Tab")

    def test_writes_and_stops(self):
        self.page.open()
        self.page.set("max_tokens", "16000")
        self.page.network(**THROTTLED)
        self._tab_to("#prompt")
        self.page.keys(PROMPT)
        self.page.control(Keys.ENTER)
        self.page.until(lambda: len(self.page.story()) > len(PROMPT) + 20, "some text is written")
        self.page.keys(Keys.ESCAPE)
        self.assertIn("stopped", self.page.wait_for_end())

    def test_takes_an_alternative(self):
        self.page.open()
        before = self.page.write(PROMPT, 100, temperature="0")
        self.page.find("prompt").click()
        self._tab_to("#story .c")
        self.page.keys(
            *[Keys.ARROW_RIGHT] * (len(PROMPT) - self.page.script("return document.activeElement.index") + 5)
        )
        place = self.page.script("return document.activeElement.index")
        self.assertEqual(place, len(PROMPT) + 5)
        self.page.keys(Keys.ENTER)
        self.assertTrue(self.page.script("return document.activeElement.matches('#alternatives button')"))
        self.page.keys(Keys.ARROW_DOWN)
        taken = self.page.script("return document.activeElement.dataset.token")
        self.page.keys(Keys.ENTER)
        self.page.until(lambda: self.page.story() != before, "another text is written")
        self.page.wait_for_end()
        self.assertEqual(self.page.story()[: place + 1], before[:place] + taken)
        self.assertEqual(
            self.page.script("return document.activeElement.index"), place, "the keyboard stays where it was"
        )

    def test_tabs_follow_the_arrows(self):
        self.page.open()
        self.page.find("tab-write").click()
        for name in ("read", "gates", "fill", "proofread", "write"):
            self.page.keys(Keys.ARROW_RIGHT)
            self.assertTrue(self.page.find(name).is_displayed())
            self.assertEqual(self.page.script("return document.activeElement.id"), f"tab-{name}")
