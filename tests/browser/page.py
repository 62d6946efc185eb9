"""The page as a reader uses it. Everything waits for what it needs to see; nothing sleeps for a fixed time."""

import json
import shutil

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

WIDE = (1280, 900)
PHONE = (390, 844)


class Page:
    """A browser with the playground in it."""

    def __init__(self, address: str, slow: bool = False):
        self.address = address
        self.patience = 120 if slow else 30
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        # Inside a container chromium has neither its sandbox nor much shared memory.
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(self.patience)
        self.size(*WIDE)
        self.driver.execute_cdp_cmd("Network.enable", {})
        if slow:
            self.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 4})
        self.usual = {"latency": 200, "bytes": 100_000} if slow else {"latency": 0, "bytes": -1}
        self.network(**self.usual)

    def close(self):
        self.driver.quit()

    # The browser.

    def size(self, width: int, height: int):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme: str):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def network(self, latency: int, bytes: int):
        """Milliseconds of latency and bytes a second at most; -1 for no bound."""
        conditions = {"offline": False, "latency": latency, "downloadThroughput": bytes, "uploadThroughput": bytes}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def open(self, tab: str = "write"):
        """A page as a new reader finds it."""
        self.driver.get(self.address)
        self.script(
            "localStorage.clear(); sessionStorage.clear();"
            # What the page would keep when it is left.
            "addEventListener('pagehide', event => event.stopImmediatePropagation(), true)"
        )
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}/#{tab}")
        self.until(lambda: self.text("model-facts"), "the models are shown")

    def reload(self):
        self.driver.refresh()
        self.until(lambda: self.text("model-facts"), "the models are shown")

    def script(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def until(self, condition, what: str):
        """Waits until a condition holds, and returns what it gave."""
        return WebDriverWait(self.driver, self.patience, poll_frequency=0.05).until(
            lambda _: condition(), f"waited in vain: {what}"
        )

    def next_frame(self):
        """Waits until what has come is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        )

    def keys(self, *keys: str):
        ActionChains(self.driver).send_keys(*keys).perform()

    def control(self, key: str):
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def hover(self, element):
        ActionChains(self.driver).move_to_element(element).perform()

    def console_errors(self) -> list[str]:
        """What the console has said since the last look."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requested(self) -> list[str]:
        """The addresses that were requested since the last look."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    # Elements.

    def find(self, id: str):
        return self.driver.find_element(By.ID, id)

    def all(self, selector: str):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, id: str) -> str:
        return self.find(id).text

    def click(self, id: str):
        button = self.find(id)
        self.until(lambda: button.is_displayed() and button.is_enabled(), f"{id} can be clicked")
        # In the middle of the window, where no bar covers it.
        self.script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def set(self, target, value):
        """Replaces what a field holds, and says so as typing does. `target`: an id or a name among the settings."""
        field = self.script(
            "return document.getElementById(arguments[0]) ?? document.querySelector(`[name=${arguments[0]}]`)", target
        )
        code = "const [f, v] = arguments; f[typeof v === 'boolean' ? 'checked' : 'value'] = v; f.dispatchEvent(new Event('input', {bubbles: true}))"
        self.script(code, field, value)

    def tab(self, name: str):
        self.click(f"tab-{name}")

    def choose_model(self, name: str):
        Select(self.find("model")).select_by_value(name)

    # The panel that writes.

    def story(self) -> str:
        """The text on the sheet."""
        return self.script("return document.getElementById('story').textContent")

    def begin(self, prompt: str, length: int, **settings):
        """Sets what to write, and starts."""
        self.set("prompt", prompt)
        for name, value in {"max_tokens": str(length), **settings}.items():
            self.set(name, value)
        self.click("write-start")

    def wait_for_end(self) -> str:
        """Waits until nothing is written any more; returns the status line."""
        done = lambda: not self.find("write-stop").is_displayed() and self.text("write-status") not in ("", "Writing.")
        self.until(done, "the writing ends")
        self.next_frame()
        return self.text("write-status")

    def write(self, prompt: str, length: int, **settings) -> str:
        """Writes and returns the text on the sheet."""
        self.begin(prompt, length, **settings)
        self.wait_for_end()
        return self.story()
