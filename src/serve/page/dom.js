/** Small helpers for elements and numbers. */

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Record<string, any>} [properties] properties of the element; `data` becomes its dataset
 * @param {...(Node | string)} children
 */
export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}

/** The characters (Unicode code points) of a text, which is what the server counts. */
export const characters = (text) => Array.from(text);

/** @param {number} number */
export const whole = (number) => Math.round(number).toLocaleString("en");

/** A probability in percent: 62 %, 3.1 %, 0.02 %, < 0.01 %. */
export function percent(probability) {
  const value = 100 * probability;
  if (value >= 99.95) return value === 100 ? "100 %" : "> 99.9 %";
  if (value >= 9.95) return `${value.toFixed(0)} %`;
  if (value >= 0.995) return `${value.toFixed(1)} %`;
  return value >= 0.005 ? `${value.toFixed(2)} %` : "< 0.01 %";
}

/** The token that ends a document. */
export const END = "<eod>";

/** A character as it can be shown alone: those that cannot be seen by a sign. */
export function visible(character) {
  return { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", [END]: "∎" }[character] ?? character.replace(/^bytes:/, "");
}

/** A character in words, for who hears the page. */
export function spoken(character) {
  return { " ": "space", "\n": "line end", "\t": "tab", "\r": "carriage return", [END]: "end" }[character] ?? character;
}

/** The text of a field as a number, or undefined when there is none. */
export function numberIn(field) {
  return field.value.trim() === "" ? undefined : Number(field.value);
}
