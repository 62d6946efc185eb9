"""Checks of a server that goes away, comes back, or asks for a key."""

from case import PageCase
from server import Server


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
        self.server.occupy()
        self.page.begin("MAREN:\n", 16000)
        self.page.until(lambda: len(self.page.story()) > 100, "some text is written")
        self.server.kill()
        self.page.until(self._banner().is_displayed, "the banner is shown")
        self.assertIn("broken off", self.page.wait_for_end())
        self.assertGreater(len(self.page.story()), 100)
        self.assertTrue(self.page.find("write-continue").is_enabled())


class Key(PageCase):
    def setUp(self):
        super().setUp()
        self.locked = Server("--api-key", "open-sesame")

    def tearDown(self):
        self.locked.kill()
        # The browser reports each answer of status 401.
        self.assertEqual([error for error in self.page.console_errors() if "401" not in error], [])

    def test_a_key_is_asked_for_and_kept(self):
        self.page.driver.get(self.locked.address)
        dialog = self.page.find("key-dialog")
        for key in ("wrong", "open-sesame"):
            self.page.until(dialog.is_displayed, "the key is asked for")
            self.page.find("key-input").send_keys(key)
            dialog.find_element("css selector", "[type=submit]").click()
            if key == "wrong":
                self.page.until(lambda: "did not take" in self.page.text("key-note"), "the key was wrong")
        self.page.until(lambda: self.page.text("model-facts"), "the models are shown")
        self.assertFalse(dialog.is_displayed())
        self.page.reload()
        self.assertFalse(self.page.find("key-dialog").is_displayed(), "the key outlives a reload")
        self.assertEqual(len(self.page.write("MAREN:\n", 30)), len("MAREN:\n") + 30)

    def test_who_gives_no_key_is_told(self):
        self.page.driver.get(self.locked.address)
        self.page.until(self.page.find("key-dialog").is_displayed, "the key is asked for")
        self.page.click("key-cancel")
        message = self.page.find("write").find_element("css selector", "[data-message]")
        self.page.until(message.is_displayed, "the answer of the server is shown")
        self.assertIn("key", message.text)
