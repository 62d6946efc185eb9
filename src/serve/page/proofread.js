/** The panel that proofreads: findings marked in the text, corrected one by one or all at once. */

import { call } from "./api.js";
import { byId, characters, element, numberIn, visible } from "./dom.js";
import { model, needs } from "./models.js";
import { Task } from "./panel.js";
import { keepField, session } from "./state.js";

/**
 * @typedef {object} Finding
 * @property {number} line
 * @property {number} column
 * @property {number} offset in characters
 * @property {string} kind
 * @property {string} found
 * @property {string | null} suggestion
 * @property {number | null} nats
 */

const panel = byId("proofread");
const text = byId("proofread-text");
const status = byId("proofread-status");
const shown = (part) => characters(part).map(visible).join("");

/** How many times likelier the suggestion is: 4,181 or 7·10⁶. */
function likelier(nats) {
  const ratio = Math.exp(nats);
  if (ratio < 1e6) return Math.round(ratio).toLocaleString("en");
  const power = Math.floor(nats / Math.LN10);
  const digits = String(power).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  return `${Math.max(1, Math.round(ratio / 10 ** power))}·10${digits}`;
}

/** @param {Finding} finding */
function words({ kind, found, suggestion, nats }) {
  if (suggestion === null) return `“${shown(found)}” is a character that the model does not know`;
  const what =
    {
      insertion: `“${shown(suggestion)}” is missing`,
      deletion: `“${shown(found)}” is too much`,
    }[kind] ?? `“${shown(found)}” instead of “${shown(suggestion)}”`;
  return nats === null ? what : `${what}; without that ${likelier(nats)} times likelier`;
}

/** What was looked at, and what of it is still open. */
class Draft {
  /** @type {Finding[]} */
  findings = [];
  past = [];

  /** Corrects one finding, and moves those behind it. */
  correct(finding) {
    this.past.push({ text: text.value, findings: this.findings });
    const all = characters(text.value);
    const length = characters(finding.found).length;
    all.splice(finding.offset, length, finding.suggestion);
    this.set(all.join(""), this.moved(finding, characters(finding.suggestion).length - length));
  }

  moved(finding, by) {
    const rest = this.findings.filter((each) => each !== finding);
    return rest.map((each) => (each.offset > finding.offset ? { ...each, offset: each.offset + by } : each));
  }

  correctAll() {
    const before = { text: text.value, findings: this.findings };
    // From the end, so that what stands before stays where it is.
    for (const finding of [...this.findings].reverse()) if (finding.suggestion !== null) this.correct(finding);
    this.past = [...this.past.filter(({ findings }) => findings.length > before.findings.length), before];
  }

  undo() {
    const state = this.past.pop();
    if (state) this.set(state.text, state.findings);
  }

  set(newText, findings) {
    text.value = newText;
    this.findings = findings;
    session.save("field.proofread-text", newText);
    this.draw();
  }

  draw() {
    const all = characters(text.value);
    const parts = [];
    let at = 0;
    for (const finding of this.findings) {
      const end = finding.offset + characters(finding.found).length;
      parts.push(all.slice(at, finding.offset).join(""), this.mark(finding));
      at = end;
    }
    byId("proofread-view").replaceChildren(...parts, all.slice(at).join(""));
    byId("proofread-findings").replaceChildren(...this.findings.map((finding) => this.row(finding)));
    byId("proofread-all").disabled = !this.findings.some(({ suggestion }) => suggestion !== null);
    byId("proofread-undo").disabled = !this.past.length;
    byId("proofread-result").hidden = false;
    const count = this.findings.length;
    status.textContent = count === 0 ? "Nothing found." : count === 1 ? "One finding." : `${count} findings.`;
  }

  mark(finding) {
    const mark = element("mark", { title: words(finding) }, finding.found === "" ? "‸" : finding.found);
    if (finding.suggestion === null) mark.classList.add("unknown");
    return mark;
  }

  row(finding) {
    const place = element("span", { className: "place" }, `${finding.line}:${finding.column}`);
    const row = element("li", {}, place, element("span", {}, words(finding)));
    if (finding.suggestion !== null) {
      const button = element("button", { type: "button", ariaLabel: `Correct: ${words(finding)}` }, "Correct");
      button.addEventListener("click", () => {
        const index = this.findings.indexOf(finding);
        this.correct(finding);
        const left = byId("proofread-findings").querySelectorAll("button");
        (left[Math.min(index, left.length - 1)] ?? byId("proofread-undo")).focus();
      });
      row.append(button);
    }
    return row;
  }
}

export function startProofread() {
  const task = new Task(panel, (words) => (status.textContent = words));
  const draft = new Draft();

  const proofread = () =>
    task
      .run(async (options) => {
        const request = { model: model()?.id, text: text.value, false_alarms: numberIn(byId("proofread-alarms")) };
        status.textContent = "Proofreading.";
        const { findings } = await call("/v1/proofread", request, options);
        draft.past = [];
        draft.set(request.text, findings);
      })
      .then((outcome) => outcome === "done" || (status.textContent = ""));

  needs(panel, "proofread");
  keepField(text, session);
  keepField(byId("proofread-alarms"), session);
  text.addEventListener("input", () => (byId("proofread-result").hidden = true));
  byId("proofread-start").addEventListener("click", proofread);
  byId("proofread-all").addEventListener("click", () => draft.correctAll());
  byId("proofread-undo").addEventListener("click", () => draft.undo());
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) proofread();
    else if (event.key === "Escape") task.stop();
  });
}
