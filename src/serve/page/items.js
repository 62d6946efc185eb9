/** Characters of a text with what the model says of each, from the `logprobs` of the API. */

import { characters } from "./dom.js";

/**
 * @typedef {object} Item
 * @property {string} text one character
 * @property {number | null} logprob natural logarithm of its probability; null where nothing is known
 * @property {boolean} [given] whether it was given to the model, and not written by it
 * @property {[string, number][]} top the likeliest tokens with their log-probabilities, likeliest first
 */

/** A token that is a byte inside a character. Its offset is that behind the character, which has begun before it. */
const CONTINUES = /^bytes:\\x[89ab]/i;

/** Joins tokens to characters: a character of a model of bytes can have several tokens. */
export class ItemReader {
  /** @type {Map<number, {logprob: number | null, top: [string, number][]}>} by offset in characters */
  #known = new Map();
  /** Offset of the next character of the text. */
  #next;
  /** Offset of the character that the last token began. */
  #begun = null;

  /** @param {number | null} [start] offset of the first character; null: that of the first token */
  constructor(start = null) {
    this.#next = start;
  }

  /**
   * @param {string} text
   * @param {{tokens: string[], token_logprobs: (number | null)[], top_logprobs?: ({[token: string]: number} | null)[] | null, text_offset: number[]} | null} logprobs
   * @returns {Item[]} one for each character of `text`
   */
  read(text, logprobs) {
    logprobs?.text_offset.forEach((behind, index) => {
      const continues = this.#begun !== null && CONTINUES.test(logprobs.tokens[index]);
      const offset = continues ? this.#begun : behind;
      this.#begun = offset;
      this.#next ??= offset;
      const logprob = logprobs.token_logprobs[index];
      const earlier = this.#known.get(offset);
      if (earlier) {
        // A further byte of a character: the probabilities multiply.
        earlier.logprob = earlier.logprob === null || logprob === null ? null : earlier.logprob + logprob;
      } else {
        const top = Object.entries(logprobs.top_logprobs?.[index] ?? {}).sort((a, b) => b[1] - a[1]);
        this.#known.set(offset, { logprob, top });
      }
    });
    return characters(text).map((character) => {
      const known = this.#known.get(this.#next);
      this.#known.delete(this.#next);
      if (this.#next !== null) this.#next += 1;
      return { text: character, logprob: known?.logprob ?? null, top: known?.top ?? [] };
    });
  }
}

/** @param {Item[]} items */
export const textOf = (items) => items.map((item) => item.text).join("");

/** The characters of a text that was given. */
export const given = (text) => characters(text).map((text) => ({ text, logprob: null, top: [], given: true }));
