/** An address that carries the beginning, the model and the settings of writing, so that it writes the same elsewhere. */

import { byId } from "./dom.js";
import { session, settings } from "./state.js";

const NAMES = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed", "stop"];
const field = (name) => byId("write-settings").querySelector(`[name="${name}"]`);

/** The address of what is set now, with the seed of the last text. */
export function link() {
  const values = new URLSearchParams({ model: byId("model").value, prompt: byId("prompt").value });
  for (const name of NAMES) {
    const { value, defaultValue } = field(name);
    if (name === "seed" || value !== defaultValue) values.set(name, value);
  }
  return `${location.origin}${location.pathname}#write?${values}`;
}

/**
 * Takes the settings out of such an address, to where the fields look for them; the address is then an ordinary one.
 * @param {string} hash
 */
export function takeLink(hash) {
  const [tab, query] = hash.split("?");
  if (tab !== "#write" || !query) return;
  const values = new URLSearchParams(query);
  for (const name of NAMES)
    settings.save(`field.${field(name).id || name}`, values.get(name) ?? field(name).defaultValue);
  settings.save("field.new_seed", false);
  if (values.has("model")) settings.save("model", values.get("model"));
  session.save("field.prompt", values.get("prompt") ?? "");
  session.save("story", []);
  history.replaceState(null, "", tab);
}
