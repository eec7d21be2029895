// Rows to be found and the rows that were found for them, side by side.

const SHOWN = 12;

const words = (id) => (Object.hasOwn(data.captions, id) ? data.captions[id] : "");
const wordy = (id) => words(id).length > 24;

/** A row as its picture, or as its id where it has none, with words beneath. */
function tile(id, kind, ...lines) {
  const shown = picture(id);
  const face = shown.length ? shown : [make("div", { className: "blank" }, id)];
  return make("figure", { className: wordy(id) ? `${kind} wordy` : kind, title: id }, ...face, make("figcaption", {}, ...lines));
}

/** One example: the true row, then what was found, the true one marked. */
function hunt(example) {
  const found = example.found.map((id) => (id === example.query ? tile(id, "true", "✓ true") : tile(id, "", words(id))));
  const rank = Number(example.rank);
  const outcome = make("strong", {}, rank === 1 ? "first" : `place ${rank}`);
  return make("div", { className: "hunt" }, tile(example.query, "", words(example.query), make("br"), outcome), make("div", { className: "tiles" }, ...found));
}

/** Show the examples of the chosen views. */
function showExamples(select) {
  const route = (example) => `${example.given.join(" + ")} → ${example.target}`;
  const chosen = data.examples.filter((example) => route(example) === select.value);
  const first = chosen.filter((example) => Number(example.rank) === 1).length;
  document.getElementById("from").textContent = select.selectedOptions[0].dataset.given;
  document.getElementById("tally").textContent =
    `Left the row that is looked for and the place it came at, then what was found, best first. In ${first} of these ${chosen.length} examples it came first.`;
  document.getElementById("found").replaceChildren(...chosen.slice(0, SHOWN).map(hunt));
}

const given = document.getElementById("given");
if (given) {
  given.addEventListener("change", () => showExamples(given));
  showExamples(given);
}
