// Reads the values of the page, lets one choose a layer and a gate, and shows them by GatesView (gates.js).
const data = JSON.parse(document.getElementById("data").textContent);
const kinds = Object.keys(data.values).map((key) => key.split("."));
const distinct = (values) => [...new Set(values)];
const decoded = new Map();

/** The values of a layer and gate, [T][H]. */
function values(key) {
  if (!decoded.has(key)) {
    const { low, high, base64 } = data.values[key];
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const number = (byte) => low + (byte / 255) * (high - low);
    const row = (index) => Array.from(bytes.subarray(index * data.units, (index + 1) * data.units), number);
    decoded.set(key, data.tokens.map((_, index) => row(index)));
  }
  return decoded.get(key);
}

const view = new GatesView(document.getElementById("view"));
let [layer, gate] = [String(data.layer), data.gate];
if (!(`${layer}.${gate}` in data.values)) [layer, gate] = kinds[0];

function show(unit) {
  const key = `${layer}.${gate}`;
  view.show({
    tokens: data.tokens, values: values(key), units: data.units, layer: Number(layer), gate, unit,
    signed: data.values[key].signed, memory: data.memory[layer], found: data.found,
  });
  for (const button of document.querySelectorAll("#choice button")) {
    button.setAttribute("aria-pressed", String(button.value === layer || button.value === gate));
  }
}

/** Buttons for the layers or the gates, where there are several. */
function buttons(name, all, choose) {
  if (all.length < 2) return;
  const group = element("div", "", name);
  for (const one of all) {
    const button = element("button", "", WHAT[one] ? `${one} ${WHAT[one]}` : one);
    Object.assign(button, { type: "button", value: one });
    button.addEventListener("click", () => {
      choose(one);
      show();
    });
    group.append(button);
  }
  document.getElementById("choice").append(group);
}

buttons("layer", distinct(kinds.map(([one]) => one)), (one) => { layer = one; });
buttons("", data.gates.filter((one) => kinds.some(([, gate]) => gate === one)), (one) => { gate = one; });
view.onRequest = (found) => {
  if (!(`${found.layer}.${found.gate}` in data.values)) return;
  [layer, gate] = [String(found.layer), found.gate];
  show(found.unit);
};
// What is the most telling is shown first: a unit that knows where the text is, not which letter it has read.
const there = (found) => `${found.layer}.${found.gate}` in data.values;
const telling = ["speaker", "quotes", "brackets", "comment"];
const found = (data.found ?? []).filter((one) => there(one) && telling.includes(one.feature));
const best = found.sort((a, b) => b.f1 - a.f1)[0] ?? data.found?.find(there);
if (best && data.unit === null) view.onRequest(best);
else show(data.unit ?? undefined);
