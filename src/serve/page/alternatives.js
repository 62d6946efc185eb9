/** The small window beside a character: its probability, and what else the model held likely there. */

import { bits } from "./colour.js";
import { END, byId, element, percent, spoken, visible } from "./dom.js";

const popover = byId("alternatives");

/** The window is one for the whole page; `owner` is who shows it now. */
let owner = null;

export const closeAlternatives = () => owner?.close();
document.addEventListener("keydown", (event) => event.key === "Escape" && closeAlternatives());

export class Alternatives {
  #text;
  #onTake;
  #index = -1;
  #opening = 0;
  #closing = 0;
  /** Where the pointer was last. */
  #at = "";

  /**
   * @param {import("./coloured_text.js").ColouredText} text
   * @param {((index: number, token: string, logprob: number) => void) | undefined} onTake without it nothing can be taken
   */
  constructor(text, onTake) {
    this.#text = text;
    this.#onTake = onTake;
    const { container } = text;
    container.addEventListener("pointermove", (event) => this.#point(event));
    container.addEventListener("pointerleave", (event) => this.#leave(event));
    container.addEventListener("focusin", (event) => this.#show(text.indexOf(event.target)));
    container.addEventListener("focusout", (event) => {
      if (!popover.contains(event.relatedTarget)) this.#closeSoon();
    });
    container.addEventListener("click", (event) => {
      const index = text.indexOf(event.target);
      if (index >= 0 && document.getSelection().isCollapsed) text.focus(index);
    });
    container.addEventListener("keydown", (event) => this.#keyInText(event));
    popover.addEventListener("pointerenter", () => owner === this && clearTimeout(this.#closing));
    popover.addEventListener("pointerleave", (event) => owner === this && this.#leave(event));
    popover.addEventListener("keydown", (event) => owner === this && this.#keyInList(event));
    popover.addEventListener("focusout", (event) => {
      if (owner === this && !popover.contains(event.relatedTarget)) this.#closeSoon();
    });
    popover.addEventListener("click", (event) => owner === this && this.#take(event));
    window.addEventListener("scroll", () => owner === this && this.#place(), { passive: true });
  }

  /** Shows the character under a pointer that has moved: text that grows under a pointer at rest asks for nothing. */
  #point(event) {
    const at = `${event.screenX} ${event.screenY}`;
    if (event.pointerType === "touch" || at === this.#at) return;
    this.#at = at;
    clearTimeout(this.#opening);
    const index = this.#text.indexOf(event.target);
    if (index >= 0 && index !== this.#index)
      this.#opening = setTimeout(() => this.#show(index), owner === this ? 30 : 120);
  }

  /** A finger that is lifted leaves nothing. */
  #leave(event) {
    if (event.pointerType === "touch") return;
    this.#at = `${event.screenX} ${event.screenY}`;
    clearTimeout(this.#opening);
    this.#closeSoon();
  }

  #show(index) {
    const item = this.#text.items[index];
    if (!item || item.logprob === null || popover.contains(document.activeElement)) return;
    clearTimeout(this.#closing);
    owner?.release();
    owner = this;
    this.#index = index;
    const span = this.#text.span(index);
    span.classList.add("shown");
    span.setAttribute("role", "button");
    span.ariaLabel = `${spoken(item.text)}, ${percent(Math.exp(item.logprob))}`;
    const words = `${bits(item.logprob).toFixed(1)} bits`;
    popover.replaceChildren(
      element("p", {}, element("b", {}, visible(item.text)), ` ${percent(Math.exp(item.logprob))} · ${words}`),
      ...item.top.map(([token, logprob]) => this.#row(item, token, logprob)),
    );
    popover.ariaLabel = "Alternatives";
    popover.hidden = false;
    this.#place();
  }

  #row(item, token, logprob) {
    const share = element("i", { className: "share" });
    share.style.width = `${100 * Math.exp(logprob)}%`;
    const parts = [
      element("span", { className: "token" }, visible(token)),
      element("span", { className: "track" }, share),
    ];
    const row = element("button", { type: "button", data: { token, logprob } }, ...parts, percent(Math.exp(logprob)));
    row.ariaLabel = `${spoken(token)}, ${percent(Math.exp(logprob))}`;
    row.classList.toggle("written", token === item.text);
    // Part of a character cannot be written alone; the end of a text and the written character change nothing.
    row.disabled =
      !this.#onTake || token === item.text || token === END || (token.length > 1 && token.startsWith("bytes:"));
    return row;
  }

  /** Below the character, or above where the window ends or the buttons would be covered. */
  #place() {
    const span = this.#text.span(this.#index);
    if (!span) return;
    const at = span.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = popover;
    const right = document.documentElement.clientWidth - width - 8;
    const below = at.bottom + 4;
    const bar = this.#text.container.closest(".work")?.querySelector(".bar");
    const end = bar ? bar.getBoundingClientRect().top : window.innerHeight;
    const top = below + height > end && at.top - height - 4 > 0 ? at.top - height - 4 : below;
    popover.style.left = `${Math.max(8, Math.min(at.left - 12, right))}px`;
    popover.style.top = `${top}px`;
  }

  #keyInText(event) {
    const index = this.#text.indexOf(event.target);
    if (index < 0 || !["Enter", " "].includes(event.key) || event.ctrlKey || event.metaKey) return;
    if (owner !== this || this.#index !== index) this.#show(index);
    if (owner !== this) return;
    const first = popover.querySelector("button:not(:disabled)");
    if (!first) return;
    event.preventDefault();
    first.focus();
  }

  #keyInList(event) {
    const rows = [...popover.querySelectorAll("button:not(:disabled)")];
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) rows[(rows.indexOf(document.activeElement) + move + rows.length) % rows.length].focus();
    if (event.key === "Escape") {
      const index = this.#index;
      event.stopPropagation();
      this.close();
      this.#text.focus(index);
    }
    if (move || event.key === "Escape") event.preventDefault();
  }

  #take(event) {
    const row = event.target.closest("button");
    if (!row || row.disabled) return;
    const index = this.#index;
    this.close();
    this.#onTake(index, row.dataset.token, Number(row.dataset.logprob));
    // Who used a key is still at that character, which is drawn in the next frame.
    const byKey = event.detail === 0;
    if (byKey) requestAnimationFrame(() => this.#text.focus(index));
  }

  #closeSoon() {
    clearTimeout(this.#closing);
    this.#closing = setTimeout(() => owner === this && this.close(), 200);
  }

  /** Leaves the window to another text. */
  release() {
    clearTimeout(this.#opening);
    clearTimeout(this.#closing);
    const span = this.#text.span(this.#index);
    span?.classList.remove("shown");
    span?.removeAttribute("role");
    span?.removeAttribute("aria-label");
    this.#index = -1;
    owner = null;
  }

  close() {
    if (owner !== this) return;
    this.release();
    popover.hidden = true;
  }
}
