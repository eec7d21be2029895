"use strict";
// Ask, show what was found, walk from row to row on the map.

const GROUPS = ["#4a6fd4", "#e8a21c", "#e4614f", "#53b8a5", "#3f9e4d", "#ee86b0", "#9a63d8", "#86b3ee", "#98694d", "#b3b833", "#2b8ca3", "#c94b86"];
const RAMP = [[68, 57, 130], [50, 104, 142], [33, 145, 140], [84, 195, 104], [233, 222, 62]];
const HINTS = {
  id: ["Row id", "An id of the index. Enter searches."],
  text: ["Text", "Enter searches, Shift and Enter begin a new line."],
  values: ["Values", "One line per view, its numbers with commas or spaces between, or its text; leave out the views you lack, write - for a missing number."],
};
const at = (id) => document.getElementById(id);
const kept = { token: sessionStorage.getItem("token"), about: null, trail: [] };

/** An element with attributes and children; children that are texts never become markup. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

/** Ask the server; a problem is thrown as its message. */
async function ask(path, body) {
  const headers = kept.token ? { authorization: `Bearer ${kept.token}` } : {};
  const how = body ? { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) } : { headers };
  let answer;
  try {
    answer = await fetch(path, how);
  } catch {
    throw new Error("the server does not answer");
  }
  const said = await answer.json().catch(() => null);
  if (answer.status === 401) at("door").hidden = false;
  if (!answer.ok) throw new Error(said?.error?.message ?? `the server answers ${answer.status}`);
  return said;
}

/** Run something asked for by a person, and tell what goes wrong. */
async function attempt(work) {
  try {
    await work();
  } catch (problem) {
    say(problem.message, true);
  }
}

// The form ------------------------------------------------------------------------------------------------

const kind = () => document.querySelector("#kinds input:checked")?.value ?? "id";

function drawForm() {
  const kinds = kept.about.text ? { text: "a text", id: "a row" } : { id: "a row", values: "values" };
  const choices = Object.entries(kinds).map(([value, words], place) => {
    const box = make("input", { type: "radio", name: "kind", value });
    box.checked = place === 0;
    return make("label", {}, box, words);
  });
  at("kinds").replaceChildren(at("kinds").firstElementChild, ...choices);
  drawHint();
}

function drawHint() {
  const [name, hint] = HINTS[kind()];
  at("asked").textContent = name;
  at("hint").textContent = hint;
  const views = Object.entries(kept.about.views);
  at("given").rows = { id: 1, text: 3, values: Math.max(2, views.length) }[kind()];
  at("given").placeholder = kind() === "values" ? views.map(([view, form]) => `${view}: ${form}${typeof form === "string" ? "" : " numbers"}`).join("\n") : "";
}

/** What a view that is not of numbers holds: a text as it stands, or a JSON list. */
function plain(view, text) {
  if (!text.startsWith("[")) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${view} is not a JSON list`);
  }
}

/** "labs: 1, 2, -" per line, or a JSON object, as {labs: [1, 2, null]}. */
function values(text) {
  if (text.trim().startsWith("{")) {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error("this is not a JSON object");
    }
  }
  const found = {};
  for (const line of text.split("\n").filter((line) => line.trim())) {
    const [, view, numbers] = line.match(/^\s*([^:]+?)\s*:(.*)$/) ?? [];
    if (!view) throw new Error(`write "view: numbers", not "${line.trim()}"`);
    if (typeof kept.about.views[view] === "string") {
      found[view] = plain(view, numbers.trim());
      continue;
    }
    found[view] = numbers.split(/[\s,;]+/).filter(Boolean).map((part) => {
      if (part === "-") return null;
      if (!Number.isFinite(Number(part))) throw new Error(`"${part}" of ${view} is not a number`);
      return Number(part);
    });
  }
  return found;
}

function asked() {
  const text = at("given").value;
  if (!text.trim()) throw new Error("write what to look for");
  if (kind() === "id") return { id: text.trim() };
  return { input: kind() === "text" ? text : values(text) };
}

// What was found ------------------------------------------------------------------------------------------

async function search(query, name) {
  say("searching …");
  const found = await ask("/search", { ...query, k: Number(at("many").value) });
  const title = name ?? String(found.query.id ?? "what you gave");
  at("room").hidden = false;
  drawQuery(found.query, title);
  at("found").replaceChildren(...found.hits.map((hit) => drawHit(query, hit)));
  const cut = found.query.truncated ? " (its end was not read: it is longer than the model reads)" : "";
  say(found.hits.length ? `The ${found.hits.length} rows nearest to ${title}${cut}` : "Nothing was found");
  remember(query, title);
  await atlas.show(found);
}

function list(metadata) {
  const rows = Object.entries(metadata).filter(([, value]) => value !== null);
  return make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, shown(value))]));
}

const shown = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value));

function drawQuery(query, title) {
  at("query").replaceChildren(make("div", {}, make("strong", {}, title), list(query.metadata)));
}

function drawHit(query, hit) {
  const walk = make("button", { type: "button", class: "walk", "aria-label": `walk to ${hit.id}` }, String(hit.id));
  walk.addEventListener("click", () => go(hit.id));
  const length = make("i");
  length.style.width = `${Math.max(0, Math.min(1, hit.score)) * 100}%`;
  const head = make("div", { class: "head" }, walk, make("span", { class: "score" }, hit.score.toFixed(4)));
  const entry = make("li", {}, head, make("div", { class: "length", "aria-hidden": "true" }, length), list(hit.metadata));
  if (kept.about.can.includes("why")) drawWhy(query, hit, head, entry);
  return entry;
}

function drawWhy(query, hit, head, entry) {
  const pairs = make("div", { class: "pairs", id: `why-${hit.rank}`, hidden: "" });
  const why = make("button", { type: "button", class: "why", "aria-expanded": "false", "aria-controls": pairs.id, "aria-label": `why ${hit.id}` }, "Why?");
  why.addEventListener("click", () => attempt(async () => {
    const open = pairs.hidden;
    if (open && !pairs.childElementCount) pairs.replaceChildren(...explain(hit, (await ask("/why", { ...query, hit: hit.id })).pairs));
    pairs.hidden = !open;
    why.setAttribute("aria-expanded", String(open));
  }));
  head.append(why);
  entry.append(pairs);
}

/** The training pairs in words. */
function explain(hit, pairs) {
  const intro = make("p", { class: "note" }, "Training rows with one view near the query and another near this row:");
  return [intro, ...pairs.map((pair) => {
    const near = `${pair.query_view} is near the query (${pair.query_similarity.toFixed(2)}), ${pair.hit_view} near ${hit.id} (${pair.hit_similarity.toFixed(2)})`;
    return make("div", {}, make("p", {}, make("strong", {}, String(pair.id)), ` ${near}`), list(pair.metadata));
  })];
}

/** Walk to a row of the index; the browser's back button walks back. */
function go(id) {
  const hash = `#id=${encodeURIComponent(id)}`;
  if (location.hash === hash) follow();
  else location.hash = hash;
}

function follow() {
  if (!location.hash.startsWith("#id=")) return;
  const id = decodeURIComponent(location.hash.slice(4));
  attempt(() => search({ id }, id));
}

function remember(query, title) {
  if (kept.trail.at(-1)?.title !== title) kept.trail.push({ query, title });
  kept.trail = kept.trail.slice(-8);
  at("trail").hidden = kept.trail.length < 2;
  at("trail").firstElementChild.replaceChildren(...kept.trail.map((step) => {
    const back = make("button", { type: "button" }, step.title);
    back.addEventListener("click", () => attempt(() => search(step.query, step.title)));
    return make("li", {}, back);
  }));
}

// The map -------------------------------------------------------------------------------------------------

class Atlas {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = null; // everything drawn: the sample, and what was found
    this.here = null; // the row under the pointer or the keyboard's cursor
    this.found = null;
    canvas.addEventListener("mousemove", (event) => this.point(this.under(event)));
    canvas.addEventListener("mouseleave", () => this.point(null));
    canvas.addEventListener("click", (event) => this.enter(this.under(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  async load(column = "") {
    const map = await ask(column ? `/map?column=${encodeURIComponent(column)}` : "/map");
    this.sample = map.ids.map((id, i) => ({ id, at: [map.x[i], map.y[i]], value: map.values ? map.values[i] : undefined }));
    this.colour = this.scale(column, map.values);
    this.gather();
  }

  /** Put what was found on the map. */
  async show(found) {
    this.found = found;
    this.here = null;
    if (!this.sample) await this.load();
    else this.gather();
  }

  gather() {
    const known = new Map(this.sample.map((row) => [row.id, row]));
    const further = this.found ? [this.found.query, ...this.found.hits].filter((row) => row.id !== null && !known.has(row.id)) : [];
    this.rows = [...this.sample, ...further];
    this.draw();
  }

  /** A colour per value: by group when there are few, by size when they are numbers. */
  scale(column, cells) {
    const grey = () => this.tone("--point");
    at("legend").replaceChildren();
    if (!column) return grey;
    const present = [...new Set(cells.filter((cell) => cell !== null))];
    if (present.length <= GROUPS.length) {
      present.sort();
      at("legend").append(...present.map((value, i) => this.key_of(GROUPS[i], shown(value))));
      return (row) => (present.includes(row.value) ? GROUPS[present.indexOf(row.value)] : grey());
    }
    if (!present.every((value) => typeof value === "number")) {
      at("legend").textContent = `${present.length} different values`;
      return grey;
    }
    const [low, high] = [Math.min(...present), Math.max(...present)];
    const bar = make("i", { class: "ramp" });
    bar.style.background = `linear-gradient(90deg, ${RAMP.map((part) => `rgb(${part.join(",")})`).join(",")})`;
    at("legend").append(shown(low), bar, shown(high));
    return (row) => (typeof row.value === "number" ? ramp((row.value - low) / (high - low || 1)) : grey());
  }

  key_of(colour, name) {
    const dot = make("i");
    dot.style.background = colour;
    return make("span", {}, dot, name);
  }

  tone(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  /** Pixels of a place on the map. */
  pixels([x, y]) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [width / 2 + x * (width / 2 - 16), height / 2 - y * (height / 2 - 16)];
  }

  draw() {
    if (!this.rows || !this.canvas.clientWidth) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const dense = devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [width * dense, height * dense];
    const pen = this.canvas.getContext("2d");
    pen.scale(dense, dense);
    pen.globalAlpha = 0.8;
    for (const row of this.rows) this.dot(pen, row.at, this.rows.length > 800 ? 2.2 : 3.5, this.colour(row));
    pen.globalAlpha = 1;
    for (const hit of this.found?.hits ?? []) this.ring(pen, hit.at, 6, this.tone("--accent"));
    if (this.found) this.cross(pen, this.found.query.at);
    if (this.here) this.ring(pen, this.here.at, 10, this.tone("--ink"));
  }

  dot(pen, place, size, colour) {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(...this.pixels(place), size, 0, 2 * Math.PI);
    pen.fill();
  }

  ring(pen, place, size, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...this.pixels(place), size, 0, 2 * Math.PI);
    pen.stroke();
  }

  cross(pen, place) {
    const [x, y] = this.pixels(place);
    pen.strokeStyle = this.tone("--ink");
    pen.lineWidth = 2.5;
    pen.beginPath();
    for (const [dx, dy] of [[9, 0], [0, 9]]) {
      pen.moveTo(x - dx, y - dy);
      pen.lineTo(x + dx, y + dy);
    }
    pen.stroke();
  }

  /** The row nearest to the pointer, within a finger's width. */
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    let best = null, least = 20;
    for (const row of this.rows ?? []) {
      const [x, y] = this.pixels(row.at);
      const distance = Math.hypot(x - (event.clientX - box.left - 1), y - (event.clientY - box.top - 1));
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  }

  point(row) {
    if (row === this.here) return;
    this.here = row;
    at("point").textContent = row ? `Here: ${row.id}${row.value === undefined || row.value === null ? "" : `, ${shown(row.value)}`}` : "";
    this.draw();
  }

  enter(row) {
    if (row) go(row.id);
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (ways[event.key]) this.point(this.neighbour(...ways[event.key]));
    else if (event.key === "Enter") this.enter(this.here);
    else if (event.key === "Escape") this.point(null);
    else return;
    event.preventDefault();
  }

  /** The nearest row that lies in a direction, within 45 degrees of it. */
  neighbour(dx, dy) {
    const from = this.here ?? { at: this.found.query.at };
    let best = this.here, least = Infinity;
    for (const row of this.rows) {
      const [right, up] = [row.at[0] - from.at[0], row.at[1] - from.at[1]];
      const along = right * dx + up * dy, across = Math.abs(right * dy) + Math.abs(up * dx);
      if (along > 0 && along >= across && along + across < least) [best, least] = [row, along + across];
    }
    return best;
  }
}

/** A colour on the ramp, for a share from 0 to 1. */
function ramp(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1);
  const [low, high] = [RAMP[Math.floor(place)], RAMP[Math.floor(place) + 1]];
  return `rgb(${low.map((part, i) => Math.round(part + (high[i] - part) * (place % 1))).join(",")})`;
}

// The start -----------------------------------------------------------------------------------------------

const atlas = new Atlas(at("field"));

async function open() {
  kept.about = await ask("/about");
  const { run, method, index } = kept.about;
  at("door").hidden = true;
  document.title = `${run} – Counterpoint`;
  at("run").textContent = run;
  if (!index) {
    at("about").textContent = `${method}; no index is served, so there is nothing to search. Start the server with --index.`;
    return;
  }
  const how = index.kind === "exact" ? "search is exact" : `approximate search, recall ${index.recall}`;
  at("about").textContent = `${method}; ${index.rows.toLocaleString("en")} rows, ${how}`;
  const columns = index.columns.map((name) => make("option", { value: name }, name));
  at("column").append(...columns);
  at("colours").hidden = !columns.length;
  drawForm();
  at("ask").hidden = false;
  say("");
  follow();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const query = asked();
    if (query.id !== undefined) go(query.id);
    else await search(query);
  });
});
at("given").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || (kind() === "values" && !event.ctrlKey)) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
at("kinds").addEventListener("change", drawHint);
at("column").addEventListener("change", () => attempt(() => atlas.load(at("column").value)));
at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  kept.token = at("token").value;
  sessionStorage.setItem("token", kept.token);
  attempt(open);
});
addEventListener("hashchange", follow);
attempt(open);
