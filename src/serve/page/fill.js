/** The panel that fills gaps: the likeliest fillings of a text, with their probabilities. */

import { call } from "./api.js";
import { byId, element, numberIn, percent } from "./dom.js";
import { model, needs } from "./models.js";
import { Task } from "./panel.js";
import { keepField, session } from "./state.js";

const panel = byId("fill");
const text = byId("fill-text");

/** The filled text with each gap marked; unmarked where the gaps are not found again in the text. */
function marked({ text: pattern, max_gap: maxGap }, { text: filled, gaps }) {
  const known = pattern.split(maxGap === 0 ? /_+/ : /[_*]+/);
  const parts = known.flatMap((piece, index) =>
    index ? [element("mark", {}, gaps[index - 1] ?? ""), piece] : [piece],
  );
  const same = parts.map((part) => part.textContent ?? part).join("") === filled;
  return element("p", { className: "prose" }, ...(same ? parts : [filled]));
}

function filling(request, answer) {
  const share = element("i", { className: "share" });
  share.style.width = `${100 * answer.probability}%`;
  const track = element("span", { className: "track" }, share);
  return element(
    "li",
    {},
    marked(request, answer),
    element("p", { className: "note" }, track, percent(answer.probability)),
  );
}

export function startFill() {
  const status = byId("fill-status");
  const results = byId("fill-results");
  const task = new Task(panel, (words) => (status.textContent = words));

  const fill = () =>
    task
      .run(async (options) => {
        const fields = { num: byId("fill-num"), max_gap: byId("fill-max-gap"), temperature: byId("fill-temperature") };
        const request = { model: model()?.id, text: text.value };
        for (const [name, field] of Object.entries(fields)) request[name] = numberIn(field);
        status.textContent = "Filling.";
        results.replaceChildren();
        const { fillings } = await call("/v1/fill", request, options);
        status.textContent =
          fillings.length === 1 ? "One filling." : `${fillings.length} fillings, the likeliest first.`;
        results.replaceChildren(...fillings.map((each) => filling(request, each)));
      })
      .then((outcome) => outcome === "done" || (status.textContent = ""));

  needs(panel, "fill");
  if (!text.value) text.value = "The l____rn is out.";
  keepField(text, session);
  for (const id of ["fill-num", "fill-max-gap", "fill-temperature"]) keepField(byId(id), session);
  byId("fill-start").addEventListener("click", fill);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) fill();
    else if (event.key === "Escape") task.stop();
  });
}
