/** Which models the server has, and which is chosen. */

import { call } from "./api.js";
import { byId, element, whole } from "./dom.js";
import { settings } from "./state.js";

/** Limits of the server, in characters; these until it has answered. */
export const limits = { prompt: 8192, max_tokens: 16384, logprobs: 5, score: 32768, inspect: 4096 };

/** Fires `change` when another model is chosen or the list has come. */
export const models = new EventTarget();

let list = [];
const select = byId("model");

/** The chosen model as /v1/models gives it; undefined before the list has come. */
export const model = () => list.find(({ id }) => id === select.value) ?? list[0];

/** Whether the chosen model can do this: one of `completions`, `score`, `inspect`, `fill`, `proofread`. */
export const can = (what) => Boolean(model()?.chargru.can.includes(what));

/** The first model that can do this, if one can. */
export const whoCan = (what) => list.find(({ chargru }) => chargru.can.includes(what));

export function choose(id) {
  select.value = id;
  changed();
}

function changed() {
  settings.save("model", select.value);
  const { cell, layers, hidden, parameters, corpus, validation_loss: loss, bidirectional } = model().chargru;
  const facts = [
    `${cell.toUpperCase()}, ${layers} × ${hidden} units`,
    `${whole(parameters)} parameters`,
    `has read ${corpus}`,
  ];
  if (loss !== null && loss !== undefined) {
    facts.push(`${(loss / Math.LN2).toFixed(2)} bits per character${bidirectional ? " given both sides" : ""}`);
  }
  byId("model-facts").textContent = facts.join(" · ");
  models.dispatchEvent(new Event("change"));
}

/** Asks the server for its models. Safe to repeat. */
export async function loadModels() {
  const answer = await call("/v1/models");
  Object.assign(limits, answer.limits);
  list = answer.data;
  const wanted = select.value || settings.load("model", null);
  select.replaceChildren(...list.map(({ id }) => element("option", { value: id }, id)));
  select.value = list.some(({ id }) => id === wanted) ? wanted : (list[0]?.id ?? "");
  if (list.length) changed();
}

select.addEventListener("change", changed);

/**
 * A panel that only some models can serve: says so where the chosen one cannot.
 * @param {HTMLElement} panel with a part `data-can` and a part `data-cannot`
 * @param {string} what as in `can`
 */
export function needs(panel, what) {
  const refuse = panel.querySelector("[data-cannot]");
  models.addEventListener("change", () => {
    const able = can(what);
    refuse.hidden = able;
    panel.querySelector("[data-can]").hidden = !able;
    if (able) return;
    const other = whoCan(what);
    const why = `${select.value} reads a text from left to right only. This needs a model that has learnt to read from both sides: `;
    refuse.replaceChildren(element("p", {}, why, element("code", {}, "chargru train poems.txt --bidirectional"), "."));
    if (other) {
      const button = element("button", { type: "button", className: "primary" }, `Use ${other.id}`);
      button.addEventListener("click", () => choose(other.id));
      refuse.append(button);
    } else {
      refuse.append(element("p", {}, "Then serve its checkpoint beside this one."));
    }
  });
}
