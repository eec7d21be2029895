"use strict";
// Text from data reaches the page as text nodes and attributes only, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
const still = { displayModeBar: false, responsive: true };
const redraws = [];

/** Make an element with properties and children. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** The picture of a row, or nothing. */
function picture(id) {
  const bytes = Object.hasOwn(data.pictures, id) && data.pictures[id];
  return bytes ? [make("img", { src: `data:image/png;base64,${bytes}`, alt: `picture of ${id}` })] : [];
}

/** A colour of the style sheet. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** What every chart looks like in the present theme. */
function look() {
  const axis = {
    gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, tickfont: { color: colour("soft"), size: 11 },
    fixedrange: true, automargin: true, nticks: 5,
  };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false,
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 12 },
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), font: { color: colour("ink") } },
    margin: { l: 36, r: 10, t: 30, b: 36 }, xaxis: { ...axis, showgrid: false }, yaxis: axis,
  };
}

/** What lines have in common in every kind of chart: the first has the accent. */
function trace(line, place) {
  const tone = place === 0 ? colour("accent") : colour("muted");
  return { name: safe(line.name), x: line.x, y: line.y, line: { color: tone, width: 2 }, marker: { color: tone } };
}

/** Plotly reads a little markup in its texts; keep it from text that comes from data. */
function safe(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const kinds = {
  line(line, place) {
    const lone = line.y.length < 40;
    return { ...trace(line, place), mode: lone ? "lines+markers" : "lines", hovertemplate: "%{y:.4g}<extra></extra>" };
  },
  bars(line, place) {
    const hovertemplate = "%{y:.0%} of rows<extra>%{fullData.name}</extra>";
    return { ...trace(line, place), mode: "lines", fill: "tozeroy", line: { ...trace(line, place).line, shape: "hvh" }, hovertemplate };
  },
  intervals(line, place) {
    const base = trace(line, place);
    const bounded = line.low.every((low, i) => low !== null && line.high[i] !== null);
    const bars = { type: "data", symmetric: false, thickness: 1.5, width: 4, color: base.line.color };
    const error = bounded && { ...bars, array: line.high.map((h, i) => h - line.y[i]), arrayminus: line.low.map((l, i) => line.y[i] - l) };
    const marker = { ...base.marker, size: 8 };
    return { ...base, marker, mode: "lines+markers", error_y: error || undefined, hovertemplate: "%{y:.1%}<extra>%{fullData.name}</extra>" };
  },
};

/** Draw one chart where the page left a place for it. */
function draw(place) {
  const figure = JSON.parse(place.dataset.figure);
  const layout = look();
  layout.title = { text: safe(figure.title), x: 0, xanchor: "left", y: 0.98, yanchor: "top", font: { size: 13, color: colour("ink") } };
  layout.xaxis.title = { text: safe(figure.x), font: { color: colour("soft"), size: 12 }, standoff: 6 };
  if (figure.kind !== "line") {
    layout.showlegend = true;
    layout.legend = { orientation: "h", x: 1, xanchor: "right", y: 1.02, yanchor: "bottom", font: { size: 11, color: colour("soft") } };
    layout.yaxis.tickformat = ".0%";
  }
  if (figure.kind === "bars") {
    layout.xaxis.range = [0, 1];
    layout.yaxis.rangemode = "tozero";
  }
  if (figure.categories) Object.assign(layout.xaxis, { type: "category", categoryarray: figure.categories });
  const marks = figure.marks || [];
  layout.shapes = marks.map((mark) => ({ type: "line", x0: mark.at, x1: mark.at, yref: "paper", y0: 0, y1: 1, line: { color: colour("line"), dash: "dot" } }));
  layout.annotations = marks.map((mark) => ({ x: mark.at, y: 1, yref: "paper", yanchor: "top", xanchor: "left", showarrow: false, text: safe(mark.name), font: { size: 10, color: colour("soft") } }));
  Plotly.react(place, figure.lines.map((line, i) => kinds[figure.kind](line, i)), layout, still);
}

/** Let a select show one panel of its group. */
function choose(select) {
  const show = () => {
    for (const panel of document.querySelectorAll("[data-panel]")) {
      if (panel.dataset.panel === select.dataset.shows) panel.hidden = panel.dataset.key !== select.value;
    }
  };
  select.addEventListener("change", show);
  show();
}

document.querySelectorAll("select[data-shows]").forEach(choose);
redraws.push(() => document.querySelectorAll(".chart").forEach(draw));
dark.addEventListener("change", () => redraws.forEach((redraw) => redraw()));
addEventListener("load", () => redraws.forEach((redraw) => redraw()));
