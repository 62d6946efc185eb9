"""Checks of a server that goes away, comes back, or asks for a key."""

from case import PageCase


class ServerAway(PageCase):
    def tearDown(self):
        if not self.server.process:
            self.server.start()
        # The browser reports each request that found no server.
        errors = [error for error in self.page.console_errors() if "net::ERR_" not in error]
        self.assertEqual(errors, [])

    def _banner(self):
        return self.page.find("connection")

    def test_it_is_said_and_the_page_recovers_with_its_text(self):
        self.page.open()
        text = self.page.write("MAREN:\n", 150)
        self.server.kill()
        self.page.click("write-continue")
        self.page.until(self._banner().is_displayed, "the banner is shown")
        self.assertIn(f"127.0.0.1:{self.server.port} does not answer", self._banner().text)
        self.assertEqual(self.page.story(), text)
        self.server.start()
        self.page.until(lambda: not self._banner().is_displayed(), "the banner is gone")
        self.assertEqual(self.page.story(), text)
        self.page.click("write-continue")
        self.page.until(lambda: len(self.page.story()) > len(text), "the writing goes on")
        self.assertTrue(self.page.story().startswith(text))
        self.page.wait_for_end()

    def test_it_is_noticed_without_a_click(self):
        self.page.open()
        self.server.kill()
        self.page.until(self._banner().is_displayed, "the banner is shown")
        self.server.start()
        self.page.until(lambda: not self._banner().is_displayed(), "the banner is gone")

    def test_what_was_written_when_it_went_away_stays(self):
        self.page.open()
        self.page.network(latency=20, bytes=60_000)
        self.page.begin("MAREN:\n", 16000)
        self.page.until(lambda: len(self.page.story()) > 100, "some text is written")
        self.server.kill()
        # What is on the way arrives at once.
        self.page.network(**self.page.usual)
        self.page.until(self._banner().is_displayed, "the banner is shown")
        self.assertIn("broken off", self.page.wait_for_end())
        self.assertGreater(len(self.page.story()), 100)
        self.assertTrue(self.page.find("write-continue").is_enabled())


class Key(PageCase):
    def test_a_key_is_asked_for_and_kept(self):
        self.page.open()
        refused = 'new Response(\'{"error": {"message": "no key", "param": null}}\', {status: 401})'
        self.page.script(
            "const real = fetch; window.fetch = (path, rest) =>"
            f" path.startsWith('/v1/') && rest.headers.Authorization !== 'Bearer right' ? Promise.resolve({refused}) : real(path, rest)"
        )
        self.page.begin("MAREN:\n", 30)
        dialog = self.page.find("key-dialog")
        for key, answer in (("wrong", "did not take"), ("right", "")):
            self.page.until(dialog.is_displayed, "the key is asked for")
            self.page.find("key-input").send_keys(key)
            dialog.find_element("css selector", "[type=submit]").click()
            if answer:
                self.page.until(lambda: answer in self.page.text("key-note"), "the key was wrong")
        self.page.wait_for_end()
        self.assertEqual(len(self.page.story()), len("MAREN:\n") + 30)
        self.assertFalse(dialog.is_displayed())
        self.assertEqual(self.page.script("return sessionStorage.getItem('chargru.key')"), '"right"')
