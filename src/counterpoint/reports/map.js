// The map: colour by a column, point at a row or walk with the keyboard, zoom.

const GROUPS = ["#4a6fd4", "#e8a21c", "#e4614f", "#53b8a5", "#3f9e4d", "#ee86b0", "#9a63d8", "#86b3ee", "#98694d", "#b3b833", "#2b8ca3", "#c94b86"];
const RAMP = [[68, 57, 130], [50, 104, 142], [33, 145, 140], [84, 195, 104], [233, 222, 62]];
const STEP = 1.6;

/** A colour on the ramp, for a share from 0 to 1. */
function ramp(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1);
  const [low, high] = [RAMP[Math.floor(at)], RAMP[Math.floor(at) + 1]];
  return `rgb(${low.map((part, i) => Math.round(part + (high[i] - part) * (at % 1))).join(",")})`;
}

class Atlas {
  constructor(map) {
    this.map = map;
    this.field = document.getElementById("field");
    this.card = document.getElementById("card");
    this.legend = document.getElementById("legend");
    this.select = document.getElementById("colour");
    this.at = null; // the row that is shown
    this.pinned = false;
    this.only = null; // the group that is picked out
    this.listen();
  }

  get column() {
    return this.select ? this.map.columns[Number(this.select.value)] : null;
  }

  /** One colour per row: by group, by number, grey where the value is missing or not picked out. */
  colours() {
    const column = this.column;
    const grey = colour("line");
    if (!column) return this.map.ids.map(() => colour("accent"));
    if (column.kind === "groups") {
      const tone = (group) => (group < 0 || (this.only !== null && group !== this.only) ? grey : this.tone(group));
      return column.values.map(tone);
    }
    const [low, high] = this.range(column);
    return column.values.map((value) => (value === null ? grey : ramp((value - low) / (high - low || 1))));
  }

  tone(group) {
    return group === GROUPS.length - 1 && this.column.texts ? colour("muted") : GROUPS[group % GROUPS.length];
  }

  range(column) {
    const present = column.values.filter((value) => value !== null);
    return [present.reduce((a, b) => Math.min(a, b), Infinity), present.reduce((a, b) => Math.max(a, b), -Infinity)];
  }

  draw() {
    const layout = look();
    const bare = { visible: false, fixedrange: false };
    Object.assign(layout, { dragmode: coarse.matches ? false : "zoom", hovermode: "closest", hoverdistance: 14, margin: { l: 8, r: 8, t: 8, b: 8 } });
    layout.xaxis = { ...bare, range: this.field._fullLayout?.xaxis.range ?? this.extent(this.map.x) };
    layout.yaxis = { ...bare, range: this.field._fullLayout?.yaxis.range ?? this.extent(this.map.y) };
    const size = this.map.ids.length > 1500 ? 5 : 7;
    const rows = { type: "scatter", mode: "markers", x: this.map.x, y: this.map.y, hoverinfo: "none", marker: { size, color: this.colours(), opacity: 0.85 } };
    const ring = { symbol: "circle-open", size: 15, color: colour("ink"), line: { width: 2 } };
    const here = { type: "scatter", mode: "markers", x: [null], y: [null], hoverinfo: "skip", marker: ring };
    Plotly.react(this.field, [rows, here], layout, { ...still, doubleClick: false });
    this.mark();
    this.drawLegend();
    if (!this.heard) this.hear();
  }

  extent(values) {
    const low = Math.min(...values), high = Math.max(...values), margin = 0.04 * (high - low) || 1;
    return [low - margin, high + margin];
  }

  drawLegend() {
    const column = this.column;
    if (!column) return this.legend.replaceChildren();
    if (column.kind === "scale") {
      const bar = make("span", { className: "ramp" });
      bar.style.background = `linear-gradient(90deg, ${RAMP.map((part) => `rgb(${part.join(",")})`).join(",")})`;
      const [low, high] = this.range(column).map((end) => String(Number(end.toPrecision(4))));
      return this.legend.replaceChildren(make("span", { className: "end" }, low), bar, high);
    }
    const item = (name, group) => {
      const dot = make("i");
      dot.style.background = this.tone(group);
      const button = make("button", { type: "button", title: `show only ${name}` }, dot, name);
      button.setAttribute("aria-pressed", String(this.only === group));
      button.addEventListener("click", () => this.pick(this.only === group ? null : group, group));
      return button;
    };
    this.legend.replaceChildren(...column.names.map(item));
  }

  /** Pick one group out, or none. */
  pick(only, focus) {
    this.only = only;
    this.draw();
    this.legend.children[focus]?.focus();
  }

  /** Show a row's picture, id and columns, and ring its point. */
  show(row) {
    this.at = row;
    this.mark();
    if (row === null) return;
    const id = this.map.ids[row];
    const list = make("dl");
    for (const column of this.map.columns) list.append(make("dt", {}, column.name), make("dd", {}, this.value(column, row)));
    const title = this.map.titles?.[row];
    if (title) list.prepend(make("dt", {}, "id"), make("dd", {}, id));
    this.card.replaceChildren(...picture(id), make("p", { className: "id" }, title ?? id), list);
  }

  value(column, row) {
    const value = column.values[row];
    if (value === null || value === -1 && column.kind === "groups") return "–";
    if (column.kind === "groups") return column.texts ? column.texts[row] : column.names[value];
    return String(Number(value.toPrecision(6)));
  }

  mark() {
    const here = this.at === null ? [[null], [null]] : [[this.map.x[this.at]], [this.map.y[this.at]]];
    Plotly.restyle(this.field, { x: [here[0]], y: [here[1]] }, [1]);
  }

  /** Scale the view about its centre, or about a row. */
  zoom(factor, about = null) {
    const axes = this.field._fullLayout;
    const scaled = ([low, high], centre) => [centre - (high - low) * factor / 2, centre + (high - low) * factor / 2];
    const middle = ([low, high]) => (low + high) / 2;
    const [x, y] = [axes.xaxis.range, axes.yaxis.range];
    const centre = about === null ? [middle(x), middle(y)] : [this.map.x[about], this.map.y[about]];
    Plotly.relayout(this.field, { "xaxis.range": scaled(x, centre[0]), "yaxis.range": scaled(y, centre[1]), dragmode: coarse.matches ? "pan" : "zoom" });
  }

  reset() {
    Plotly.relayout(this.field, { "xaxis.range": this.extent(this.map.x), "yaxis.range": this.extent(this.map.y), dragmode: coarse.matches ? false : "zoom" });
  }

  /** The nearest row that lies in a direction, within 45 degrees of it. */
  neighbour(dx, dy) {
    const { x, y } = this.map;
    if (this.at === null) return 0;
    let best = this.at, least = Infinity;
    for (let i = 0; i < x.length; i++) {
      const [right, up] = [x[i] - x[this.at], y[i] - y[this.at]];
      const along = right * dx + up * dy, across = Math.abs(right * dy) + Math.abs(up * dx);
      if (along > 0 && along >= across && along + across < least) [best, least] = [i, along + across];
    }
    return best;
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const acts = { "+": () => this.zoom(1 / STEP, this.at), "=": () => this.zoom(1 / STEP, this.at), "-": () => this.zoom(STEP, this.at), Escape: () => this.release() };
    if (ways[event.key]) this.hold(this.neighbour(...ways[event.key]));
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  }

  hold(row) {
    this.pinned = true;
    this.show(row);
  }

  release() {
    this.pinned = false;
    this.show(null);
  }

  find(input) {
    const row = this.map.ids.indexOf(input.value.trim());
    input.setCustomValidity(row < 0 && input.value.trim() ? "no row on the map has this id" : "");
    input.reportValidity();
    if (row >= 0) this.hold(row);
  }

  listen() {
    this.select?.addEventListener("change", () => this.pick(null));
    this.field.addEventListener("keydown", (event) => this.key(event));
    const find = document.getElementById("find");
    find.addEventListener("change", () => this.find(find));
    find.addEventListener("input", () => find.setCustomValidity(""));
    const zooms = { in: () => this.zoom(1 / STEP), out: () => this.zoom(STEP), all: () => this.reset() };
    for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);
  }

  /** Listen to the drawn map. */
  hear() {
    this.heard = true;
    this.field.on("plotly_hover", (event) => this.pinned || this.show(event.points[0].pointNumber));
    this.field.on("plotly_click", (event) => this.hold(event.points[0].pointNumber));
    this.field.on("plotly_doubleclick", () => this.reset());
  }
}

if (data.map) {
  const atlas = new Atlas(data.map);
  redraws.push(() => atlas.draw());
}
