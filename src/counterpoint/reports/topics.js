"use strict";
// Draws the topics and answers clicks and the slider; every number comes from the page's own data.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 640, HEIGHT = 480, EDGE = 70;
  const at = (id) => document.getElementById(id);
  const slider = at("goal"), map = at("map"), list = at("list");
  let chosen = data.topics.length ? data.topics[0].topic : null;

  const element = (name, parent, attributes = {}, text = null) => {
    const made = name === "g" || name === "circle" || name === "text" || name === "title"
      ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    parent.appendChild(made);
    return made;
  };
  const counted = (number) => number.toLocaleString("en");
  const above = (topic) => topic.above[Number(slider.value)];

  const scale = (name, from, to) => {
    const values = data.topics.map((topic) => topic[name]);
    const low = Math.min(...values), wide = Math.max(...values) - low || 1;
    return (topic) => from + (to - from) * (topic[name] - low) / wide;
  };
  const x = scale("x", EDGE, WIDTH - EDGE), y = scale("y", HEIGHT - EDGE, EDGE);

  const choose = (topic) => { chosen = topic; draw(); };

  const drawMap = () => {
    map.replaceChildren();
    map.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    const most = Math.max(1, ...data.topics.map((topic) => topic.above[0]));
    for (const topic of [...data.topics].sort((a, b) => above(b) - above(a))) {
      const kinds = [topic.topic === chosen ? "chosen" : "", above(topic) ? "" : "empty"].filter(Boolean).join(" ");
      const group = element("g", map, { class: kinds, "data-topic": topic.topic });
      const radius = 7 + 42 * Math.sqrt(above(topic) / most);
      const circle = element("circle", group, { cx: x(topic), cy: y(topic), r: radius });
      element("title", circle, {}, `topic ${topic.topic}: ${counted(above(topic))} documents`);
      const label = topic.words.slice(0, 2).map((pair) => pair[0]).join(", ");
      element("text", group, { x: x(topic), y: y(topic) + 4 }, label);
      group.addEventListener("click", () => choose(topic.topic));
    }
  };

  const drawList = () => {
    const scrolled = list.scrollTop, focused = document.activeElement && document.activeElement.dataset.topic;
    list.replaceChildren();
    for (const topic of [...data.topics].sort((a, b) => above(b) - above(a) || a.topic - b.topic)) {
      const pressed = String(topic.topic === chosen);
      const button = element("button", element("li", list), { type: "button", "aria-pressed": pressed, "data-topic": topic.topic });
      element("b", button, {}, topic.topic);
      element("span", button, {}, topic.words.slice(0, 6).map((pair) => pair[0]).join(", "));
      element("small", button, {}, counted(above(topic)));
      button.addEventListener("click", () => choose(topic.topic));
      if (focused === String(topic.topic)) button.focus({ preventScroll: true });
    }
    list.scrollTop = scrolled;
  };

  const drawPanel = () => {
    const topic = data.topics.find((one) => one.topic === chosen);
    if (!topic) return;
    const aligned = topic.alignment === null ? "" : `, alignment ${topic.alignment.toFixed(2)}`;
    at("name").textContent = `Topic ${topic.topic}: ${counted(above(topic))} documents${aligned}`;
    const words = at("words"), documents = at("documents");
    words.replaceChildren();
    documents.replaceChildren();
    const most = topic.words[0][1] || 1;
    for (const [word, weight] of topic.words) element("li", words, { style: `--part:${(weight / most).toFixed(3)}` }, word);
    const shown = topic.examples.filter((one) => one.near >= Number(slider.value));
    for (const one of shown) {
      const row = element("li", documents);
      element("span", row, {}, one.text);
      const said = one.phrases.length ? `; says to the goal: ${one.phrases.join(", ")}` : "";
      element("small", row, {}, `${one.id}: ${Math.round(100 * one.share)} % of it${said}`);
    }
    if (!shown.length) element("li", documents, { class: "absent" }, "None of the documents kept here is so near to the goal.");
  };

  const draw = () => {
    const kept = data.topics.reduce((sum, topic) => sum + above(topic), 0);
    at("kept").textContent = `${counted(kept)} of ${counted(data.documents)} documents`;
    drawMap();
    drawList();
    drawPanel();
  };

  slider.addEventListener("input", draw);
  draw();
})();
