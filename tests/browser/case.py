"""What the checks share: one server and one browser, and no errors in the console."""

import unittest

from page import WIDE, Page
from server import Server


class PageCase(unittest.TestCase):
    """Checks of the page. The server and the browser are those of the whole run."""

    slow = False
    server: Server
    page: Page

    @classmethod
    def prepare(cls, slow: bool):
        cls.slow = slow
        cls.server = Server()
        try:
            cls.page = Page(cls.server.address, slow)
        except BaseException:
            cls.server.kill()
            raise

    @classmethod
    def finish(cls):
        cls.page.close()
        cls.server.kill()

    def setUp(self):
        self.page.network(**self.page.usual)
        self.page.size(*WIDE)
        self.page.colours("light")
        self.page.console_errors()
        self.page.requested()

    def tearDown(self):
        self.assertEqual(self.page.console_errors(), [], "errors in the console")
        elsewhere = [url for url in self.page.requested() if not url.startswith((self.server.address, "data:"))]
        self.assertEqual(elsewhere, [], "requests to other hosts")
