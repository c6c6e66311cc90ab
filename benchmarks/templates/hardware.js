"use strict";
window.onerror = message => { document.documentElement.dataset.error = message; };

const { rows, less } = JSON.parse(document.querySelector("#data").textContent);
const form = document.querySelector("#filter");
const prices = [...document.querySelectorAll("#prices input")];
const machines = prices.map(input => input.dataset.machine);
const ACROSS = ["specs", "precisions", "versions"];
const FIELDS = ["figure", "machine", "what", "trainer"];

// ---- what may stand side by side ----------------------------------------------------

function asked() {
  const wanted = Object.fromEntries(FIELDS.map(name => [name, form.elements[name].value]));
  for (const name of ACROSS) wanted[name] = form.elements[name].checked;
  return wanted;
}

// A spec's hash holds its precision: across precisions, the others' specs may stand
// together where each precision has but one
function panels(shown, wanted) {
  const found = new Map();
  for (const row of shown) {
    const key = JSON.stringify([row.what, row.shape, row.lengths,
      wanted.versions ? 0 : row.versions,
      wanted.precisions ? "" : row.precision,
      wanted.specs || wanted.precisions ? "" : row.spec]);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(row);
  }
  if (!wanted.precisions || wanted.specs) return [...found.values()];
  return [...found.values()].flatMap(those => {
    const specs = new Map();
    for (const row of those) specs.set(row.precision,
      (specs.get(row.precision) ?? new Set()).add(row.spec));
    if ([...specs.values()].every(set => set.size === 1)) return [those];
    return Object.values(Object.groupBy(those, row => row.spec));
  });
}

// ---- figures ------------------------------------------------------------------------

function figureOf(row, name) {
  if (name !== "tokens_per_dollar") return row.figures[name] ?? null;
  const price = Number(prices[machines.indexOf(row.machine)].value);
  const speed = row.figures.tokens_per_second;
  if (!speed || !(price > 0)) return null;
  const times = value => value * 3600 / price;
  return { value: times(speed.value), interval: speed.interval?.map(times) ?? null };
}

// Like is divided by like: the same trainer, profile, devices and so on, elsewhere
const LIKE = ["trainer", "profile", "devices", "spec", "precision", "versions"];

function reference(row, those, wanted) {
  const free = { spec: wanted.specs || wanted.precisions,
    precision: wanted.precisions, versions: wanted.versions };
  const near = those.filter(other => other.machine === wanted.machine
    && LIKE.every(name => free[name] || other[name] === row[name]));
  const alike = other => LIKE.filter(name => other[name] === row[name]).length;
  return near.sort((a, b) => alike(b) - alike(a))[0];
}

// Of a ratio: half widths of logs add up as the sides of a right triangle do
function relative(figure, base, same) {
  const value = figure.value / base.value;
  if (same) return { value, interval: null };
  if (!figure.interval || !base.interval) return { value, interval: null };
  const half = ({ interval: [low, high] }) => Math.log(high / low) / 2;
  const both = Math.exp(Math.hypot(half(figure), half(base)));
  return { value, interval: [value / both, value * both] };
}

function shownOf(row, those, wanted) {
  const figure = figureOf(row, wanted.figure);
  if (!figure || !wanted.machine) return figure;
  const other = reference(row, those, wanted);
  const base = other && figureOf(other, wanted.figure);
  return base && base.value > 0 ? relative(figure, base, other === row) : null;
}

// ---- drawing ------------------------------------------------------------------------

function element(name, attributes = {}, text = "") {
  const svg = ["svg", "rect", "line"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(text);
  return made;
}

function told(value, wanted) {
  if (wanted.machine) return `${value.toFixed(3)} ×`;
  if (wanted.figure.startsWith("peak_")) return `${(value / 2 ** 20).toFixed(1)} MiB`;
  if (wanted.figure === "mfu") return `${Number((100 * value).toPrecision(4))} %`;
  return Number(value.toPrecision(4)).toLocaleString("en");
}

function bar(row, figure, top, wanted) {
  const line = element("div", { class: "line", "data-machine": row.machine,
    "data-trainer": row.trainer, "data-value": figure.value });
  if (figure.interval) line.dataset.interval = figure.interval.join(" ");
  const number = machines.indexOf(row.machine);
  const unlike = [wanted.specs && `spec ${row.spec.slice(0, 8)}`,
    wanted.precisions && row.precision, wanted.versions && `versions ${row.versions}`];
  const parts = [row.trainer, row.profile, `machine ${number + 1}`,
    row.devices > 1 && `${row.devices} devices`, ...unlike];
  line.append(element("span", { title: row.machine }, parts.filter(Boolean).join(" · ")));
  const svg = element("svg", { class: "bar", viewBox: "0 0 100 10",
    preserveAspectRatio: "none", role: "img", "aria-label": told(figure.value, wanted) });
  const x = value => (100 * value / top).toFixed(2);
  svg.append(element("rect", { class: `m${number % 6}`, width: x(figure.value), height: 10 }));
  if (figure.interval) {
    const [low, high] = figure.interval.map(x);
    for (const [x1, x2, y1, y2] of [[low, high, 5, 5], [low, low, 2, 8], [high, high, 2, 8]])
      svg.append(element("line", { class: "whisker", x1, x2, y1, y2 }));
  }
  if (wanted.machine)
    svg.append(element("line", { class: "one", x1: x(1), x2: x(1), y1: 0, y2: 10 }));
  const ends = figure.interval?.map(end => told(end, wanted)).join(" to ");
  line.append(svg, element("span", { class: "value" },
    told(figure.value, wanted) + (ends ? ` (${ends})` : "")));
  return line;
}

function panel(those, wanted) {
  const bars = those.map(row => [row, shownOf(row, those, wanted)]).filter(([, f]) => f);
  if (!bars.length) return null;
  const sign = less.includes(wanted.figure) ? 1 : -1;
  bars.sort(([, a], [, b]) => sign * (a.value - b.value));
  const top = Math.max(...bars.map(([, f]) => f.interval?.[1] ?? f.value),
    wanted.machine ? 1 : 0) * 1.02 || 1;
  const [first] = those;
  const title = [first.what, first.shape, first.lengths];
  if (!wanted.precisions) title.push(first.precision);
  const card = element("article", { class: "card" });
  card.append(element("h3", {}, title.filter(Boolean).join(", ")));
  const told = [!wanted.specs && !wanted.precisions && `spec ${first.spec.slice(0, 8)}`,
    !wanted.versions && `versions ${first.versions}`,
    less.includes(wanted.figure) ? "less is better" : "more is better"];
  card.append(element("p", { class: "soft" }, told.filter(Boolean).join(", ")));
  for (const [row, figure] of bars) card.append(bar(row, figure, top, wanted));
  const left = those.length - bars.length;
  if (left) card.append(element("p", { class: "soft" },
    `${left} more without this figure${wanted.machine ? " here or on that machine" : ""}`));
  return card;
}

function draw() {
  const wanted = asked();
  const shown = rows.filter(row => (!wanted.what || row.what === wanted.what)
    && (!wanted.trainer || row.trainer === wanted.trainer));
  const cards = panels(shown, wanted).map(those => panel(those, wanted)).filter(Boolean);
  document.querySelector("#charts").replaceChildren(...cards);
  const bars = document.querySelectorAll("#charts .line").length;
  const hint = wanted.figure === "tokens_per_dollar" && !bars
    ? ": give a price above" : "";
  document.querySelector("#shown").textContent = `${bars} of ${rows.length} shown${hint}`;
}

// The page's address after #, such as #figure=mfu&versions=on, is what is asked for
function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) if (wanted.has(name)) form.elements[name].value = wanted.get(name);
  for (const name of ACROSS)
    if (wanted.has(name)) form.elements[name].checked = wanted.get(name) === "on";
  draw();
}

form.hidden = false;
form.addEventListener("input", draw);
form.addEventListener("submit", event => event.preventDefault());
for (const input of prices) input.addEventListener("input", draw);
addEventListener("hashchange", readAddress);
readAddress();
