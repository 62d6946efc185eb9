/** What the panels share: messages next to what they concern, and one request at a time. */

import { ApiError, Unreachable } from "./api.js";
import { element } from "./dom.js";

let count = 0;

function clear(panel) {
  for (const field of panel.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-errormessage");
  }
  for (const note of panel.querySelectorAll(".error")) note.remove();
  panel.querySelector("[data-message]").hidden = true;
}

/** Shows an error at the field that it concerns, else in the panel's message. */
export function showError(panel, error) {
  const param = error instanceof ApiError ? error.param : null;
  const field = param && panel.querySelector(`[data-param="${CSS.escape(param)}"]`);
  if (field) {
    const note = element("span", { className: "error", id: `error-${(count += 1)}`, role: "alert" }, error.message);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-errormessage", note.id);
    field.after(note);
    const closed = field.closest("details:not([open])");
    if (closed) closed.open = true;
    return;
  }
  const message = panel.querySelector("[data-message]");
  message.textContent = error.message;
  message.hidden = false;
}

/** One request of a panel at a time: a new one ends the one before. */
export class Task {
  #controller = null;

  /**
   * @param {HTMLElement} panel
   * @param {(text: string) => void} say shows what goes on
   */
  constructor(panel, say) {
    this.panel = panel;
    this.say = say;
  }

  get running() {
    return this.#controller !== null;
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }

  /**
   * @param {(options: { signal: AbortSignal, onBusy: (seconds: number) => void }) => Promise<void>} work
   * @returns {Promise<"done" | "stopped" | "failed">}
   */
  async run(work) {
    this.stop();
    const controller = (this.#controller = new AbortController());
    clear(this.panel);
    const { signal } = controller;
    const onBusy = (seconds) => this.say(`The server is busy. Trying again in ${Math.ceil(seconds)} s.`);
    try {
      await work({ signal, onBusy });
      return signal.aborted ? "stopped" : "done";
    } catch (error) {
      if (signal.aborted) return "stopped";
      if (!(error instanceof ApiError || error instanceof Unreachable)) console.error(error);
      showError(this.panel, error);
      return "failed";
    } finally {
      if (this.#controller === controller) this.#controller = null;
    }
  }
}
