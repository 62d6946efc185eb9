/** The settings of writing: their fields, what is kept of them, and the request that they make. */

import { byId, numberIn } from "./dom.js";
import { limits } from "./models.js";
import { keepField, settings } from "./state.js";

const panel = byId("write-settings");
const field = (name) => panel.querySelector(`[name="${name}"]`);
const NUMBERS = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"];

/** A stop text as it is typed: `\n`, `\t` and `\\` stand for characters. */
const unescape = (text) => text.replace(/\\([nt\\])/g, (_, letter) => ({ n: "\n", t: "\t", "\\": "\\" })[letter]);

/** A seed of six digits, which can be read out and typed again. */
const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;

/**
 * The fields of a request. Where each run gets a new seed, it is drawn here and shown in its field.
 * @returns {Record<string, any>}
 */
export function sampling() {
  if (field("new_seed").checked) setSeed(newSeed());
  const request = {};
  for (const name of NUMBERS) {
    const value = numberIn(field(name));
    if (value !== undefined) request[name] = value;
  }
  const stop = field("stop").value.split("\n").filter(Boolean).map(unescape);
  if (stop.length) request.stop = stop;
  return request;
}

function setSeed(seed) {
  field("seed").value = String(seed);
  field("seed").dispatchEvent(new Event("input"));
}

/** @param {{ colours: (on: boolean) => void, mono: (on: boolean) => void }} show */
export function startSampling(show) {
  const fields = [...panel.querySelectorAll("[name]")];
  const range = byId("temperature-range");
  const apply = () => {
    range.value = field("temperature").value;
    field("seed").readOnly = field("new_seed").checked;
    field("max_tokens").max = String(limits.max_tokens);
    show.colours(field("colours").checked);
    show.mono(field("mono").checked);
  };
  for (const each of fields) keepField(each, settings);
  range.addEventListener("input", () => {
    field("temperature").value = range.value;
    field("temperature").dispatchEvent(new Event("input"));
  });
  panel.addEventListener("input", apply);
  byId("write-reset").addEventListener("click", () => {
    for (const each of fields) {
      each.value = each.defaultValue;
      each.checked = each.defaultChecked;
      each.dispatchEvent(new Event("input"));
    }
    apply();
  });
  // Beside the text where there is room, else closed above it.
  const wide = window.matchMedia("(min-width: 60rem)");
  panel.open = wide.matches;
  wide.addEventListener("change", () => (panel.open = wide.matches));
  apply();
}
