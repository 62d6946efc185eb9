"""Pictures of each tab: wide and of a phone's width, light and dark."""

from pathlib import Path

from page import PHONE, WIDE, Page

TEXT = Path(__file__).resolve().parents[2] / "corpus" / "lantern-coast.txt"
DRAFT = (
    "MAREN:\nThe lantern is out, and the tdie is comming in.\nWhere is hte baker? Count agian. There is three.\n"
    "I have not seen the kezper since the strom.\n"
)


def take_screenshots(page: Page, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    play = TEXT.read_text(encoding="utf-8")
    page.size(*WIDE)
    page.open()
    page.write("OLD TOBIT:\nThe tide", 500, new_seed=False, seed="4")
    page.tab("read")
    page.set("read-text", play[250_000:251_000].split("\n\n", 1)[1])
    page.click("read-start")
    page.until(lambda: "bits" in page.text("read-figures"), "the figures are shown")
    page.tab("gates")
    page.set("gates-text", play[250_000:253_000].split("\n\n", 1)[1])
    page.click("gates-find")
    page.until(lambda: page.all("#gates-view .gates-found tbody button"), "units are listed")
    page.choose_model("demo-bidirectional")
    page.tab("fill")
    page.set("fill-text", "The l____rn is out, and the * is coming in.")
    page.click("fill-start")
    page.until(lambda: page.all("#fill-results li"), "the fillings are listed")
    page.tab("proofread")
    page.set("proofread-text", DRAFT)
    page.click("proofread-start")
    page.until(lambda: page.all("#proofread-findings li"), "the findings are listed")
    for width, _ in (WIDE, PHONE):
        for scheme in ("light", "dark"):
            page.colours(scheme)
            for tab in ("write", "read", "gates", "fill", "proofread"):
                _take(page, tab, width, folder / f"{tab}-{width}-{scheme}.png")


def _take(page: Page, tab: str, width: int, file: Path):
    """The whole page, down to its end."""
    page.choose_model("demo" if tab in ("write", "read", "gates") else "demo-bidirectional")
    page.tab(tab)
    page.size(width, 900)
    page.size(width, max(800, page.script("return document.documentElement.scrollHeight")))
    # What is drawn follows the size; a character that can be pointed at shows its alternatives.
    page.next_frame()
    if tab == "write":
        page.hover(page.find("tab-write"))
        page.hover(page.all("#story .c")[47])
        page.until(lambda: page.find("alternatives").is_displayed(), "the alternatives are shown")
    page.driver.save_screenshot(str(file))
