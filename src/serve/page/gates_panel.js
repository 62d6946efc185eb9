/** The panel that shows the gates and the hidden state of a layer over a text. GatesView draws them. */

import { call } from "./api.js";
import { byId, characters, element } from "./dom.js";
import { GatesView } from "./gates.js";
import { limits, model, models } from "./models.js";
import { Task } from "./panel.js";
import { keepField, session } from "./state.js";

const NAMES = {
  z: "update gate",
  r: "reset gate",
  n: "candidate",
  h: "hidden state",
  i: "input gate",
  f: "forget gate",
  g: "candidate",
  o: "output gate",
  c: "cell state",
};

const panel = byId("gates");
const text = byId("gates-text");
const layer = byId("gates-layer");
const gate = byId("gates-gate");

/** Fills a choice and keeps what is chosen, where it is still there. */
function offer(select, entries, usual) {
  const wanted = select.value || session.load(`field.${select.id}`, usual);
  select.replaceChildren(...entries.map(([value, label]) => element("option", { value }, label)));
  select.value = entries.some(([value]) => value === wanted) ? wanted : usual;
}

function choose(unit) {
  layer.value = String(unit.layer);
  gate.value = unit.gate;
}

/** @param {() => string} writtenText taken where no text is given yet */
export function startGates(writtenText) {
  const status = byId("gates-status");
  const place = byId("gates-view");
  const task = new Task(panel, (words) => (status.textContent = words));
  let view = null;
  /** What was found in which text, by which model; shown again while both are the same. */
  let kept = { of: "", found: null };

  const draw = (answer, of, unit) => {
    place.hidden = false;
    view ??= new GatesView(place);
    view.onRequest = (wanted) => {
      choose(wanted);
      look(false, wanted.unit);
    };
    view.show({ ...answer, found: kept.of === of ? kept.found : null, unit });
  };

  const look = (find, unit) =>
    task
      .run(async (options) => {
        const asked = { model: model()?.id, text: text.value };
        const ask = (find) =>
          call("/v1/inspect", { ...asked, layer: Number(layer.value), gate: gate.value, find }, options);
        const of = `${asked.model}\n${asked.text}`;
        status.textContent = find ? "Reading, and looking for units." : "Reading.";
        let answer = await ask(find);
        let said = "";
        if (find) {
          kept = { of, found: answer.found };
          const best = answer.found?.[0];
          if (!best) said = "No unit follows anything: the text is too short for that, or too even.";
          unit = best?.unit;
          if (best && (best.layer !== answer.layer || best.gate !== answer.gate)) {
            choose(best);
            answer = await ask(false);
          }
        }
        draw(answer, of, unit);
        status.textContent = said;
      })
      .then((outcome) => outcome === "done" || (status.textContent = ""));

  models.addEventListener("change", () => {
    const { layers, gates } = model().chargru;
    const numbers = Array.from({ length: layers }, (_, index) => String(index + 1));
    offer(
      layer,
      numbers.map((number) => [number, number]),
      String(layers),
    );
    offer(
      gate,
      gates.map((name) => [name, NAMES[name] ? `${name}, ${NAMES[name]}` : name]),
      "h",
    );
  });
  keepField(text, session);
  for (const select of [layer, gate]) {
    select.addEventListener("change", () => {
      session.save(`field.${select.id}`, select.value);
      if (view) look(false);
    });
  }
  panel.addEventListener("shown", () => {
    if (!text.value) text.value = characters(writtenText()).slice(0, limits.inspect).join("");
  });
  byId("gates-start").addEventListener("click", () => look(false));
  byId("gates-find").addEventListener("click", () => look(true));
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) look(false);
    else if (event.key === "Escape") task.stop();
  });
}
