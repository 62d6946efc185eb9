/** The panel that measures a text: each character by its surprise, each line by its bits per character. */

import { call } from "./api.js";
import { bits } from "./colour.js";
import { ColouredText } from "./coloured_text.js";
import { byId, characters, whole } from "./dom.js";
import { ItemReader } from "./items.js";
import { limits, model } from "./models.js";
import { Task } from "./panel.js";
import { keepField, session } from "./state.js";

const panel = byId("read");
const text = byId("read-text");

/** Bits per character of those that have a probability, or NaN. */
function mean(items) {
  const known = items.filter(({ logprob }) => logprob !== null);
  return known.reduce((sum, { logprob }) => sum + bits(logprob), 0) / known.length;
}

const lineEnd = (items) => (Number.isNaN(mean(items)) ? "" : mean(items).toFixed(2));

function words(answer, items) {
  const perCharacter = answer.bits_per_character;
  const figures = [`${perCharacter.toFixed(2)} bits per character`, `${whole(items.length)} characters`];
  figures.push(`as uncertain as ${(2 ** perCharacter).toFixed(1)} equally likely characters`);
  if (answer.pseudo_likelihood) figures.push("each character judged by both of its sides");
  return figures.join(" · ");
}

/** @param {() => string} writtenText */
export function startRead(writtenText) {
  const figures = byId("read-figures");
  const task = new Task(panel, (words) => (byId("read-status").textContent = words));
  const view = new ColouredText(byId("read-view"), { lineEnd });

  const measure = () =>
    task
      .run(async (options) => {
        const request = { model: model()?.id, text: text.value, logprobs: limits.logprobs };
        byId("read-status").textContent = "Measuring.";
        const answer = await call("/v1/score", request, options);
        const items = new ItemReader(0).read(request.text, answer);
        byId("read-result").hidden = false;
        figures.textContent = words(answer, items);
        view.replace(items);
      })
      .finally(() => (byId("read-status").textContent = ""));

  keepField(text, session);
  const takeWritten = () => {
    text.value = characters(writtenText()).slice(-limits.score).join("");
    text.dispatchEvent(new Event("input"));
  };
  panel.addEventListener("shown", () => text.value || takeWritten());
  byId("read-start").addEventListener("click", measure);
  byId("read-written").addEventListener("click", () => {
    takeWritten();
    measure();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) measure();
    else if (event.key === "Escape") task.stop();
  });
}
