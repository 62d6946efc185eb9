/** The colour scale of surprise: steps of bits, whose colours text.css has (`.s0` to `.s6`). */

import { element } from "./dom.js";

/** Upper ends of all steps but the last, in bits: 1 bit is a probability of one half. */
const STEPS = [0.5, 1, 2, 3, 5, 8];

/** @param {number} logprob natural logarithm of a probability */
export const bits = (logprob) => -logprob / Math.LN2;

/** The class of a character of this log-probability; none for null. */
export function step(logprob) {
  if (logprob === null) return "";
  const surprise = bits(logprob);
  const index = STEPS.findIndex((end) => surprise < end);
  return `s${index < 0 ? STEPS.length : index}`;
}

/** Draws the legend into every element marked `data-legend`. */
export function drawLegends() {
  for (const place of document.querySelectorAll("[data-legend]")) {
    const swatches = ["0", ...STEPS.map(String)].map((from, index) =>
      element(
        "span",
        { className: `swatch s${index}`, title: `from ${from} bits on` },
        index === STEPS.length ? `${from}+` : from,
      ),
    );
    place.replaceChildren(
      element("span", {}, "foreseen"),
      element(
        "span",
        { className: "swatches", role: "img", ariaLabel: "Colour scale: 0 to 8 bits and more" },
        ...swatches,
      ),
      element("span", {}, "surprising, in bits"),
    );
  }
}
