/** The panel that writes: a beginning, the text that streams in behind it, other courses, undo. */

import { stream } from "./api.js";
import { ColouredText } from "./coloured_text.js";
import { byId, characters, whole } from "./dom.js";
import { ItemReader, given, textOf } from "./items.js";
import { link, takeLink } from "./link.js";
import { limits, model } from "./models.js";
import { Task } from "./panel.js";
import { sampling, startSampling } from "./sampling.js";
import { keepField, session } from "./state.js";

/** States that undo can bring back. */
const UNDO_STEPS = 50;

const panel = byId("write");
const prompt = byId("prompt");
const story = byId("story");
const bar = panel.querySelector(".bar");
const say = (text) => (byId("write-status").textContent = text);
const task = new Task(panel, say);
const view = new ColouredText(story, { onTake: take, onDrawn: follow });

/** Counts what is begun: a run that was overtaken by something else says nothing at its end. */
let turn = 0;

/** @type {{ prompt: string, items: import("./items.js").Item[] }[]} */
const past = [];

/** The text on the sheet: the beginning and what was written behind it; before that, what the prompt holds. */
export const writtenText = () => (view.items.length ? textOf(view.items) : prompt.value);

/** How many characters the model wrote. */
const countWritten = () => view.items.filter((item) => !item.given).length;

function remember() {
  past.push({ prompt: prompt.value, items: [...view.items] });
  if (past.length > UNDO_STEPS) past.shift();
}

function keep() {
  const items = view.items;
  // Where the alternatives do not fit into the storage, the text alone is kept.
  session.save("story", items) ||
    session.save(
      "story",
      items.map((item) => ({ ...item, logprob: null, top: [] })),
    );
}

function drawCount() {
  const count = countWritten();
  byId("write-count").textContent = count ? `${whole(count)} characters` : "";
}

function drawButtons() {
  drawCount();
  const { running } = task;
  byId("write-start").hidden = running;
  byId("write-stop").hidden = !running;
  byId("write-continue").disabled = running || !view.items.length;
  byId("write-undo").disabled = !past.length;
  byId("write-edit").disabled = !view.items.length;
  byId("write-copy").disabled = !prompt.value && !view.items.length;
  story.ariaBusy = String(running);
}

/** Keeps the end of the text in sight while it grows, unless the reader has scrolled away from it. */
function follow(before) {
  drawCount();
  const end = bar.getBoundingClientRect().top;
  if (!task.running || before.bottom > end + 60) return;
  const below = story.getBoundingClientRect().bottom - bar.getBoundingClientRect().top;
  if (below > 0) window.scrollBy({ top: below, behavior: "instant" });
}

/** Writes on behind what stands there. */
async function run() {
  const own = (turn += 1);
  const settings = sampling();
  const started = performance.now();
  const count = () => view.items.length - before;
  const before = view.items.length;
  let reason = null;
  say("Writing.");
  const running = task.run(async (options) => {
    const context = characters(textOf(view.items)).slice(-limits.prompt).join("");
    const reader = new ItemReader();
    const request = { model: model()?.id, prompt: context, ...settings, logprobs: limits.logprobs };
    for await (const choice of stream(request, options)) {
      if (options.signal.aborted) return;
      view.append(reader.read(choice.text, choice.logprobs));
      reason = choice.finish_reason ?? reason;
    }
  });
  drawButtons();
  const outcome = await running;
  if (own !== turn) return;
  const seconds = (performance.now() - started) / 1000;
  const end = { stop: "ended by the model or a stop text", length: "the length was reached" }[reason];
  const how = { done: end ?? "done", stopped: "stopped", failed: "broken off" }[outcome];
  const seed = settings.seed === undefined ? "" : `, seed ${settings.seed}`;
  say(count() || outcome !== "failed" ? `${whole(count())} characters in ${seconds.toFixed(1)} s${seed}: ${how}.` : "");
  keep();
  drawButtons();
}

function start() {
  task.stop();
  if (view.items.length) remember();
  view.replace(given(prompt.value));
  run();
}

function goOn() {
  if (task.running || !view.items.length) return;
  remember();
  run();
}

/** Takes another character at `index` and goes on from there. */
function take(index, token, logprob) {
  task.stop();
  remember();
  const { top } = view.items[index];
  view.truncate(index);
  view.append([{ text: token, logprob, top }]);
  run();
}

function restore({ prompt: beginning, items }) {
  prompt.value = beginning;
  prompt.dispatchEvent(new Event("input"));
  view.replace(items);
}

function undo() {
  task.stop();
  turn += 1;
  const state = past.pop();
  if (!state) return;
  restore(state);
  keep();
  say("Undone.");
  drawButtons();
}

function edit() {
  task.stop();
  turn += 1;
  remember();
  restore({ prompt: writtenText(), items: [] });
  say("");
  keep();
  drawButtons();
  prompt.focus();
  prompt.setSelectionRange(prompt.value.length, prompt.value.length);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    // Browsers let only pages of https and of this machine copy.
    say(`The browser does not let the page copy. ${what === "Link" ? text : "Select the text and copy it."}`);
  }
}

export function startWrite() {
  takeLink(location.hash);
  keepField(prompt, session);
  startSampling({
    colours: (on) => story.classList.toggle("plain", !on),
    mono: (on) => panel.classList.toggle("mono", on),
  });
  view.append(session.load("story", []));
  prompt.addEventListener("input", drawButtons);
  byId("write-start").addEventListener("click", start);
  byId("write-stop").addEventListener("click", () => task.stop());
  byId("write-continue").addEventListener("click", goOn);
  byId("write-undo").addEventListener("click", undo);
  byId("write-edit").addEventListener("click", edit);
  byId("write-copy").addEventListener("click", () => copy(writtenText(), "Text"));
  byId("write-link").addEventListener("click", () => copy(link(), "Link"));
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    } else if (event.key === "Escape" && task.running) {
      task.stop();
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.target.matches("textarea, input")) {
      event.preventDefault();
      undo();
    }
  });
  window.addEventListener("pagehide", keep);
  drawButtons();
}
