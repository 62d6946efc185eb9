// Draws the gates and states of one layer over a text: a heat map of units by characters, the text
// coloured by one unit, how long units keep what they hold, and the units that follow a feature of the text.
// Needs gates.css. Used by the playground of `chargru serve` and by the pages of `chargru inspect`.

const CELL = 9; // Width of a character in the heat map, in pixels.
const HEAD = 18; // Height of the row of characters above it.
const WHAT = {
  z: "update gate", r: "reset gate", n: "candidate", h: "hidden state", i: "input gate",
  f: "forget gate", g: "candidate", o: "output gate", c: "cell state",
};

/** An element with a class, a text and children. */
function element(name, className = "", text = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** A number with three digits that matter: 0.0123, 1.23, 123. */
function short(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** How a token is named: a space, a newline and bytes that are no text are made visible. */
function visible(token) {
  return { " ": "␣", "\n": "⏎", "\t": "⇥", "": "end of document" }[token] ?? token;
}

/** The values at these shares of the sorted values. */
function quantiles(values, shares) {
  const sorted = Float64Array.from(values).sort();
  return shares.map((share) => sorted[Math.round(share * (sorted.length - 1))] ?? 0);
}

/** The mean of each column of [T][H]. */
function means(values) {
  const sums = new Float64Array(values[0]?.length ?? 0);
  for (const row of values) row.forEach((value, unit) => { sums[unit] += value / values.length; });
  return sums;
}

/** The correlation of each column with column `unit`. */
function likeness(values, unit) {
  const mean = means(values);
  const [products, squares] = [new Float64Array(mean.length), new Float64Array(mean.length)];
  for (const row of values) {
    const own = row[unit] - mean[unit];
    row.forEach((value, other) => {
      products[other] += own * (value - mean[other]);
      squares[other] += (value - mean[other]) ** 2;
    });
  }
  return products.map((product, other) => (squares[other] > 0 ? product / Math.sqrt(squares[other]) : 0));
}

/** What the tokens read as: tokens of single bytes are joined to characters. [{text, index of the last token}] */
function readable(tokens) {
  const letters = [];
  let bytes = [];
  const flush = (index) => {
    if (bytes.length) letters.push({ text: new TextDecoder().decode(new Uint8Array(bytes)), index });
    bytes = [];
  };
  tokens.forEach((token, index) => {
    const codes = /^bytes:((?:\\x[0-9a-f]{2})+)$/i.exec(token)?.[1];
    if (codes === undefined) {
      flush(index - 1);
      letters.push({ text: token, index });
      return;
    }
    const added = codes.split("\\x").slice(1).map((code) => parseInt(code, 16));
    if ((added[0] & 0xc0) !== 0x80) flush(index - 1);
    bytes.push(...added);
  });
  flush(tokens.length - 1);
  return letters;
}

export class GatesView {
  /**
   * @param {HTMLElement} container Whose children the view replaces.
   */
  constructor(container) {
    /** Called with {layer, gate, unit} when a found unit is chosen that is of another layer or gate. */
    this.onRequest = null;
    this.data = null;
    this.unit = 0;
    this.place = 0;
    this.root = element("div", "gates");
    this.build();
    container.replaceChildren(this.root);
    this.refresh = this.refresh.bind(this);
    new ResizeObserver(this.refresh).observe(this.scroller);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.refresh);
    new MutationObserver(this.refresh).observe(document.documentElement, { attributes: true });
  }

  /**
   * @param {object} data
   * @param {string[]} data.tokens [T]
   * @param {number[][]} data.values T rows of H numbers
   * @param {number} data.units H
   * @param {string} data.gate z, r, n, h, i, f, g, o or c
   * @param {number} data.layer Counted from 1
   * @param {boolean} [data.signed] Whether values lie on both sides of 0
   * @param {{characters: number[]}|null} [data.memory] How many characters each unit keeps
   * @param {object[]|null} [data.found] {feature, label, layer, gate, unit, score, positions, values?: number[]}
   * @param {number} [data.unit] The unit to begin with
   */
  show(data) {
    this.data = data;
    this.signed = data.signed ?? ["n", "h", "g", "c"].includes(data.gate);
    const largest = data.values.reduce((most, row) => row.reduce((m, v) => Math.max(m, Math.abs(v)), most), 0);
    // Gates and hidden states lie within 1; a cell state does not.
    const sizes = () => data.values.flatMap((row) => row.map(Math.abs));
    this.limit = largest <= 1.0005 ? 1 : quantiles(sizes(), [0.99])[0];
    const what = WHAT[data.gate] ?? "gate";
    const tokens = data.tokens.some((token) => token.startsWith("bytes:")) ? "bytes" : "characters";
    this.title.textContent =
      `Layer ${data.layer}, ${what} ${data.gate}: ${data.units} units over ${data.tokens.length} ${tokens}`;
    this.chooser.max = String(data.units - 1);
    this.order = this.ordered();
    this.writeText();
    this.drawMemory();
    this.writeFound();
    this.place = Math.min(this.place, Math.max(0, data.tokens.length - 1));
    this.choose(data.unit ?? Math.min(this.unit, data.units - 1));
  }

  /** Colours the text by a unit of the layer and gate that are shown. */
  choose(unit) {
    if (!this.data) return;
    this.unit = Math.max(0, Math.min(this.data.units - 1, Math.round(unit) || 0));
    this.column = this.data.values.map((row) => row[this.unit]);
    this.columnSigned = this.signed;
    this.columnName = `unit ${this.unit}`;
    this.selected = (this.data.found ?? []).findIndex(
      (found) => found.unit === this.unit && found.gate === this.data.gate && found.layer === this.data.layer);
    this.refresh();
  }

  /** Draws again, as after a change of colours or of the width. */
  refresh() {
    if (!this.data) return;
    this.chooser.value = String(this.unit);
    this.colours = ["--bg", "--fg", "--accent", "--positive", "--negative", "--muted"].map((name) => this.colour(name));
    this.drawMap();
    this.paintText();
    this.markMemory();
    [...this.foundRows.children].forEach((row, index) => {
      row.setAttribute("aria-selected", String(index === this.selected));
    });
  }

  build() {
    this.title = element("h3", "gates-title");
    this.chooser = element("input");
    Object.assign(this.chooser, { type: "number", min: "0", step: "1", value: "0" });
    this.chooser.setAttribute("aria-label", "unit");
    this.chooser.addEventListener("input", () => this.chooser.value !== "" && this.choose(Number(this.chooser.value)));
    const step = (text, label, by) => {
      const button = element("button", "", text);
      button.type = "button";
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => this.choose(this.unit + by));
      return button;
    };
    this.sorting = element("select");
    this.sorting.setAttribute("aria-label", "what the units of the heat map are ordered by");
    this.sorting.addEventListener("change", () => {
      this.order = this.ordered();
      this.refresh();
    });
    this.stretch = element("input");
    Object.assign(this.stretch, { type: "checkbox", checked: true });
    this.stretch.addEventListener("change", () => this.refresh());
    this.controls = element("div", "gates-controls", "",
      element("label", "", "unit ", this.chooser), step("‹", "unit before", -1), step("›", "next unit", 1),
      element("label", "", "ordered by ", this.sorting),
      element("label", "", "", this.stretch, " colours span the unit's own range"));

    this.canvas = element("canvas", "gates-map");
    this.spacer = element("div", "gates-spacer", "", this.canvas);
    this.scroller = element("div", "gates-scroller", "", this.spacer);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "application");
    this.scroller.setAttribute("aria-label",
      "heat map of units by characters: arrows up and down choose a unit, left and right a character");
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.data && this.drawMap()));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("click", (event) => {
      const at = this.at(event);
      if (at) { this.place = at.place; this.choose(at.unit); }
    });
    this.canvas.addEventListener("pointermove", (event) => this.say(this.at(event)));
    this.canvas.addEventListener("pointerleave", () => this.say(null));
    this.status = element("p", "gates-status");

    this.legend = element("div", "gates-legend");
    this.text = element("div", "gates-text");
    this.text.addEventListener("pointerover", (event) => this.say(this.atLetter(event)));
    this.text.addEventListener("pointerleave", () => this.say(null));
    this.text.addEventListener("click", (event) => {
      const at = this.atLetter(event);
      if (at) { this.place = at.place; this.reveal(); this.drawMap(); }
    });
    this.memory = element("figure", "gates-memory");
    this.foundRows = element("tbody");
    const headings = ["what it follows", "layer", "unit", "score"];
    this.foundTable = element("table", "gates-found", "",
      element("thead", "", "", element("tr", "", "", ...headings.map((name) => element("th", "", name)))),
      this.foundRows);
    this.foundPart = element("section", "", "", element("h4", "", "Units that follow something"), this.foundTable,
      element("p", "gates-note", "Choose one to colour the text by it. Units are chosen on the first half of the text and " +
        "scored on the second: by the area under the ROC curve (0.5 is chance, 1 perfect), counts by rank " +
        "correlation (0 is chance)."));
    this.memoryPart = element("section", "", "",
      element("h4", "", "How long units keep what they hold"), this.memory);
    this.root.append(this.title, this.controls, this.scroller, this.status, element("div", "gates-below", "",
      element("div", "", "", this.legend, this.text),
      element("div", "gates-side", "", this.foundPart, this.memoryPart)));
  }

  /** The order of the rows of the heat map: indices of units. */
  ordered() {
    const { units, values, memory } = this.data;
    const choices = [...(memory ? ["memory"] : []), "number", "mean", "likeness"];
    if (this.sorting.options.length !== choices.length) {
      this.sorting.replaceChildren(...choices.map((name) => element("option", "", name)));
    }
    const order = Array.from({ length: units }, (_, unit) => unit);
    const keys = {
      memory: () => memory.characters,
      number: () => order.map((unit) => -unit),
      mean: () => means(values),
      likeness: () => likeness(values, this.unit),
    }[this.sorting.value]();
    return order.sort((a, b) => keys[b] - keys[a] || a - b);
  }

  /** [red, green, blue] of a CSS variable, or of its fallback in gates.css. */
  colour(name) {
    const probe = element("canvas").getContext("2d", { willReadFrequently: true });
    probe.fillStyle = getComputedStyle(this.root).getPropertyValue(`--gates${name.slice(1)}`).trim() || "#888";
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  }

  /** The colour of a value from -1 to 1 (signed) or 0 to 1, and how strong it is. */
  paint(value, signed) {
    const [, , accent, positive, negative] = this.colours;
    const strength = Math.max(0, Math.min(1, signed ? Math.abs(value) : value));
    return { ink: signed ? (value < 0 ? negative : positive) : accent, strength };
  }

  drawMap() {
    const { tokens, values } = this.data;
    const units = this.order.length;
    const [width, row] = [this.scroller.clientWidth, Math.max(1, Math.min(12, Math.floor(420 / units)))];
    if (!width) return;
    const [height, ratio] = [units * row, window.devicePixelRatio || 1];
    this.row = row;
    this.spacer.style.width = `${Math.max(width, tokens.length * CELL)}px`;
    this.spacer.style.height = `${height + HEAD}px`;
    const first = Math.floor(this.scroller.scrollLeft / CELL);
    this.shift = first * CELL - this.scroller.scrollLeft;
    this.first = first;
    const count = Math.max(0, Math.min(tokens.length - first, Math.ceil(width / CELL) + 1));
    Object.assign(this.canvas, { width: width * ratio, height: (height + HEAD) * ratio });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height + HEAD}px` });
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    if (!count) return;
    const [paper, ink, , , , muted] = this.colours;
    const image = new ImageData(count, units);
    for (let column = 0; column < count; column++) {
      for (let y = 0; y < units; y++) {
        const { ink: hue, strength } = this.paint(values[first + column][this.order[y]] / this.limit, this.signed);
        const mixed = paper.map((part, index) => part + (hue[index] - part) * strength);
        image.data.set([...mixed, 255], (y * count + column) * 4);
      }
    }
    const small = element("canvas");
    Object.assign(small, { width: count, height: units });
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, this.shift, HEAD, count * CELL, height);
    context.font = "11px ui-monospace, monospace";
    context.textAlign = "center";
    for (let column = 0; column < count; column++) {
      const at = first + column;
      context.fillStyle = `rgb(${at === this.place ? ink : muted})`;
      const token = tokens[at].startsWith("bytes:") ? "·" : tokens[at] === "" ? "∎" : visible(tokens[at]);
      context.fillText(token, this.shift + (column + 0.5) * CELL, HEAD - 6);
    }
    context.strokeStyle = `rgb(${ink})`;
    const y = HEAD + this.order.indexOf(this.unit) * row;
    context.strokeRect(0.5, y - 0.5, width - 1, row + 1);
    context.strokeRect(this.shift + (this.place - first) * CELL, HEAD + 0.5, CELL, height - 1);
  }

  /** The unit and the character under the pointer. */
  at(event) {
    if (!this.data) return null;
    const box = this.canvas.getBoundingClientRect();
    const place = this.first + Math.floor((event.clientX - box.left - this.shift) / CELL);
    const unit = this.order[Math.floor((event.clientY - box.top - HEAD) / this.row)];
    return unit === undefined || !(place >= 0 && place < this.data.tokens.length) ? null
      : { unit, place, value: this.data.values[place][unit], name: `unit ${unit}` };
  }

  atLetter(event) {
    const place = event.target.dataset?.place;
    return place === undefined ? null
      : { unit: this.unit, place: Number(place), value: this.column[place], name: this.columnName };
  }

  /** Says what is under the pointer, or else which unit is chosen. */
  say(at) {
    const kept = this.data?.memory?.characters?.[at ? at.unit : this.unit];
    const memory = kept === undefined ? "" : ` · keeps ${short(kept)} characters (median)`;
    const own = this.columnName.startsWith("unit") ? memory : "";
    this.status.textContent = at
      ? `${at.name} at ${at.place} “${visible(this.data.tokens[at.place])}”: ${short(at.value)}`
      : this.columnName + own;
  }

  key(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!move || !this.data) return;
    event.preventDefault();
    this.place = Math.max(0, Math.min(this.data.tokens.length - 1, this.place + move[1]));
    this.reveal();
    const row = Math.max(0, Math.min(this.order.length - 1, this.order.indexOf(this.unit) + move[0]));
    this.choose(this.order[row]);
    this.say({ unit: this.unit, place: this.place, value: this.column[this.place], name: this.columnName });
  }

  /** Scrolls the heat map to the chosen character. */
  reveal() {
    const [x, { clientWidth, scrollLeft }] = [this.place * CELL, this.scroller];
    if (x < scrollLeft || x > scrollLeft + clientWidth - 2 * CELL) this.scroller.scrollLeft = x - clientWidth / 2;
  }

  writeText() {
    const letters = readable(this.data.tokens).map(({ text, index }) => {
      const letter = element("span", "", text);
      letter.dataset.place = String(index);
      return letter;
    });
    this.text.replaceChildren(...letters);
  }

  paintText() {
    const signed = this.columnSigned;
    const [low, high] = this.range();
    const scaled = (value) => signed ? 2 * (value - low) / (high - low) - 1 : (value - low) / (high - low);
    for (const letter of this.text.children) {
      const { ink, strength } = this.paint(scaled(this.column[letter.dataset.place]), signed);
      letter.style.backgroundColor = `rgba(${ink.join(",")},${(0.6 * strength).toFixed(3)})`;
    }
    const swatches = Array.from({ length: 21 }, (_, index) => {
      const { ink, strength } = this.paint(signed ? index / 10 - 1 : index / 20, signed);
      const swatch = element("i");
      swatch.style.backgroundColor = `rgba(${ink.join(",")},${(0.6 * strength).toFixed(3)})`;
      return swatch;
    });
    const ramp = element("span", "gates-ramp", "", ...swatches);
    this.legend.replaceChildren(`${this.columnName}: ${short(low)}`, ramp, short(high));
    this.say(null);
  }

  /** The values that have the colours of both ends. */
  range() {
    const whole = this.columnSigned ? [-1, 1] : [0, 1];
    if (!this.stretch.checked) {
      const size = this.column.some((value) => Math.abs(value) > 1.0005) ? this.limit : 1;
      return whole.map((end) => end * size);
    }
    const [low, high] = quantiles(this.column, [0.01, 0.99]);
    return high - low > 1e-6 ? [low, high] : [low - 0.5, high + 0.5];
  }

  drawMemory() {
    const kept = this.data.memory?.characters;
    this.memoryPart.hidden = !kept;
    if (!kept) return;
    // Four bins a factor of ten, from 0.1 to 10^5 characters.
    const bin = (value) => Math.max(0, Math.min(23, Math.floor((Math.log10(Math.max(value, 1e-9)) + 1) * 4)));
    this.bins = Array.from({ length: 24 }, () => 0);
    for (const value of kept) this.bins[bin(value)] += 1;
    this.binOf = kept.map(bin);
    const most = Math.max(...this.bins);
    const bars = this.bins.map((count, index) => {
      const bar = element("span", "gates-bar");
      bar.style.height = `${(100 * count) / most}%`;
      const [from, to] = [index, index + 1].map((edge) => short(10 ** (edge / 4 - 1)));
      bar.title = `${count} units keep ${from} to ${to} characters`;
      return bar;
    });
    this.bars = element("div", "gates-bars", "", ...bars);
    const ticks = ["0.1", "1", "10", "100", "1000", "10⁴", "10⁵"].map((text) => element("span", "", text));
    this.memory.replaceChildren(this.bars, element("div", "gates-ticks", "", ...ticks),
      element("figcaption", "gates-note", "Characters until 37% (1/e) is left of what a unit held, by the median of " +
        `its gate over the text: ${kept.length} units of layer ${this.data.layer}, ${most} in the highest bar.`));
  }

  markMemory() {
    if (!this.data.memory) return;
    const chosen = this.binOf[this.unit];
    [...this.bars.children].forEach((bar, index) => bar.classList.toggle("gates-chosen", index === chosen));
  }

  writeFound() {
    const found = this.data.found;
    this.foundPart.hidden = !found?.length;
    const rows = (found ?? []).map((one, index) => {
      const button = element("button", "", one.label);
      button.type = "button";
      button.addEventListener("click", () => {
        this.follow(index);
        this.text.scrollIntoView({ block: "nearest" });
      });
      const score = element("td", "", one.score.toFixed(3));
      const sense = one.high === false ? "The unit is low there. " : "";
      score.title = `${sense}${one.positions} positions.`;
      const layer = element("td", "", String(one.layer));
      const unit = element("td", "gates-unit", `${one.gate} ${one.unit}`);
      return element("tr", "", "", element("td", "", "", button), layer, unit, score);
    });
    this.foundRows.replaceChildren(...rows);
  }

  /** Colours the text by a found unit: of this layer and gate, or by the values that came with it. */
  follow(index) {
    const one = this.data.found[index];
    if (one.layer === this.data.layer && one.gate === this.data.gate) {
      this.choose(one.unit);
    } else if (one.values) {
      this.column = one.values;
      this.columnSigned = one.signed ?? ["n", "h", "g", "c"].includes(one.gate);
      this.columnName = `layer ${one.layer}, ${one.gate}, unit ${one.unit}`;
      this.selected = index;
      this.refresh();
    } else {
      this.onRequest?.({ layer: one.layer, gate: one.gate, unit: one.unit });
    }
  }
}
