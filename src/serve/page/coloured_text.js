/**
 * A text whose characters are coloured by their probability. Each line is an element of its own, so that the browser
 * lays out only the last one while a text grows; what is appended is drawn once a frame.
 */

import { Alternatives } from "./alternatives.js";
import { step } from "./colour.js";
import { element } from "./dom.js";
import { textOf } from "./items.js";

/** Characters drawn in one frame at most: about 10 ms of a slow machine. */
const IN_A_FRAME = 3000;

export class ColouredText {
  /** @type {HTMLElement[]} one for each character drawn */
  #spans = [];
  /** @type {import("./items.js").Item[]} */
  #items = [];
  #frame = 0;
  #alternatives;
  /** Index of the character that the keyboard is at. */
  #current = 0;

  /**
   * @param {HTMLElement} container
   * @param {{ onTake?: (index: number, token: string, logprob: number) => void, onDrawn?: (before: DOMRect) => void,
   *   lineEnd?: (items: import("./items.js").Item[]) => string }} [options]
   *   `onTake`: an alternative of the character at `index` was chosen; `onDrawn`: characters were added, `before` is
   *   where the text ended; `lineEnd`: what to show beside a line
   */
  constructor(container, options = {}) {
    this.container = container;
    this.options = options;
    this.#alternatives = new Alternatives(this, options.onTake);
    container.addEventListener("keydown", (event) => this.#key(event));
    container.addEventListener("focusin", (event) => this.#arriveAt(this.indexOf(event.target)));
    container.addEventListener("copy", (event) => this.#copy(event));
  }

  get items() {
    return this.#items;
  }

  /** Index of the character that an element shows; -1 for another element. */
  indexOf(node) {
    return node instanceof HTMLElement && node.classList.contains("c") ? node.index : -1;
  }

  span(index) {
    return this.#spans[index];
  }

  /** @param {import("./items.js").Item[]} items */
  append(items) {
    for (const item of items) this.#items.push(item);
    if (!this.#frame && this.#spans.length < this.#items.length)
      this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Shows other items; those at the beginning that are the same stay as they are drawn. */
  replace(items) {
    const differs = items.findIndex((item, index) => item !== this.#items[index]);
    const same = differs < 0 ? items.length : differs;
    this.truncate(same);
    this.append(items.slice(same));
  }

  /** Drops all characters from index `length` on. */
  truncate(length) {
    this.#alternatives.close();
    this.#items.length = Math.min(length, this.#items.length);
    if (length >= this.#spans.length) return;
    const line = this.#spans[length].parentElement;
    while (line.nextElementSibling) line.nextElementSibling.remove();
    while (this.#spans[length].nextSibling) this.#spans[length].nextSibling.remove();
    this.#spans[length].remove();
    if (!line.firstChild) line.remove();
    this.#spans.length = length;
    this.#current = Math.min(this.#current, Math.max(0, length - 1));
    if (length) this.#spans[this.#current].tabIndex = 0;
  }

  #draw() {
    const before = this.container.getBoundingClientRect();
    const end = Math.min(this.#items.length, this.#spans.length + IN_A_FRAME);
    let line = this.container.lastElementChild;
    for (let index = this.#spans.length; index < end; index += 1) {
      const item = this.#items[index];
      if (!line || this.#items[index - 1]?.text === "\n") {
        line = this.container.appendChild(element("div", { className: "line" }));
      }
      const span = element("span", { className: `c ${step(item.logprob)}`, textContent: item.text, index });
      if (item.given) span.classList.add("given");
      if (item.text === "\n") span.classList.add("newline");
      if (index === this.#current) span.tabIndex = 0;
      line.append(span);
      this.#spans.push(span);
      if (this.options.lineEnd && (item.text === "\n" || index === this.#items.length - 1)) {
        line.dataset.end = this.options.lineEnd(this.#items.slice(line.firstChild.index, index + 1));
      }
    }
    this.#frame = end < this.#items.length ? requestAnimationFrame(() => this.#draw()) : 0;
    this.options.onDrawn?.(before);
  }

  #arriveAt(index) {
    if (index < 0 || index === this.#current) return;
    this.#spans[this.#current]?.removeAttribute("tabindex");
    this.#current = index;
    this.#spans[index].tabIndex = 0;
  }

  /** Moves the focus to a character. */
  focus(index) {
    this.#arriveAt(index);
    this.#spans[index]?.focus();
  }

  #key(event) {
    const index = this.indexOf(event.target);
    if (index < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    const line = event.target.parentElement;
    const first = line.firstChild.index;
    const beside = (other) => other && Math.min(other.firstChild.index + index - first, other.lastChild.index);
    const target = {
      ArrowLeft: () => index - 1,
      ArrowRight: () => index + 1,
      Home: () => first,
      End: () => line.lastChild.index,
      ArrowUp: () => beside(line.previousElementSibling),
      ArrowDown: () => beside(line.nextElementSibling),
    }[event.key]?.();
    if (target === undefined) return;
    event.preventDefault();
    if (this.#spans[target]) this.focus(target);
  }

  /** What is copied is the text alone, without a further line end for each line's element. */
  #copy(event) {
    const selection = document.getSelection();
    const chosen = this.#spans.filter((span) => selection.containsNode(span, true));
    if (!chosen.length) return;
    event.clipboardData.setData("text/plain", textOf(this.#items.slice(chosen[0].index, chosen.at(-1).index + 1)));
    event.preventDefault();
  }
}
