/** Asks for the key of a server that wants one. */

import { keys } from "./api.js";
import { byId } from "./dom.js";

/** One question at a time, however many requests wait for the answer. */
let asked = null;

export function askForKeys() {
  const dialog = byId("key-dialog");
  const input = byId("key-input");
  const note = byId("key-note");

  const ask = (wrong) =>
    new Promise((resolve) => {
      note.textContent = wrong ? "The server did not take that key." : "It is kept until this tab is closed.";
      input.value = "";
      const finish = (key) => {
        dialog.close();
        asked = null;
        resolve(key);
      };
      byId("key-form").onsubmit = (event) => {
        event.preventDefault();
        finish(input.value.trim());
      };
      byId("key-cancel").onclick = () => finish(null);
      dialog.oncancel = () => finish(null);
      dialog.showModal();
    });
  keys.ask = (wrong) => (asked ??= ask(wrong));
}
