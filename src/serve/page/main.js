/** Starts the page: its panels, the models, the theme, the watch over the connection. */

import { drawLegends } from "./colour.js";
import { watchConnection } from "./connection.js";
import { byId } from "./dom.js";
import { startFill } from "./fill.js";
import { startGates } from "./gates_panel.js";
import { askForKeys } from "./key.js";
import { loadModels } from "./models.js";
import { showError } from "./panel.js";
import { startProofread } from "./proofread.js";
import { startRead } from "./read.js";
import { settings } from "./state.js";
import { startTabs } from "./tabs.js";
import { startWrite, writtenText } from "./write.js";

/** The themes that the button goes through; `system` follows the browser's choice. */
const THEMES = ["system", "light", "dark"];

function startTheme() {
  const button = byId("theme");
  const draw = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = { system: "◐ System", light: "○ Light", dark: "● Dark" }[theme];
    button.ariaLabel = `Theme: ${theme}`;
    document.dispatchEvent(new Event("themechange"));
  };
  draw(settings.load("theme", "system"));
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(settings.load("theme", "system")) + 1) % THEMES.length];
    settings.save("theme", next);
    draw(next);
  });
}

/** Without the models nothing can be asked: says why, and tries again when the server is back. */
const askForModels = () => loadModels().catch((error) => showError(byId("write"), error));

startTheme();
drawLegends();
askForKeys();
startWrite();
startRead(writtenText);
startGates(writtenText);
startFill();
startProofread();
startTabs();
watchConnection(askForModels);
askForModels();
