"use strict";
window.onerror = message => { document.documentElement.dataset.error = message; };

const FIELDS = ["state", "chapter", "trainer", "text"];
const form = document.querySelector("#filter");
const chapters = [...document.querySelectorAll("tbody[data-chapter]")];

// The page's address after #, such as #state=fail&text=resume, is the filter
function asked() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FIELDS.map(name => [name, wanted.get(name) ?? ""]));
}

// A law without a cell in sight is not run there
function hasState(row, state) {
  const cells = [...row.querySelectorAll("td[data-state]:not([hidden])")];
  if (!cells.length) return state === "not run";
  return cells.some(cell => cell.dataset.state === state
    || (state === "bad" && "bad" in cell.dataset));
}

function show(wanted) {
  const text = wanted.text.trim().toLowerCase();
  for (const part of document.querySelectorAll("#laws [data-trainer]"))
    part.hidden = wanted.trainer !== "" && part.dataset.trainer !== wanted.trainer;
  let shown = 0;
  for (const chapter of chapters) {
    const asked = !wanted.chapter || chapter.dataset.chapter === wanted.chapter;
    let any = false;
    for (const row of chapter.querySelectorAll("tr[data-law]")) {
      const holds = asked && row.textContent.toLowerCase().includes(text)
        && (!wanted.state || hasState(row, wanted.state));
      row.hidden = !holds;
      any ||= holds;
      shown += holds;
    }
    chapter.hidden = !any;
  }
  const all = document.querySelectorAll("tr[data-law]").length;
  document.querySelector("#shown").textContent = `${shown} of ${all} laws shown`;
}

function readAddress() {
  const wanted = asked();
  for (const name of FIELDS) form.elements[name].value = wanted[name];
  show(wanted);
}

function readForm() {
  const wanted = Object.fromEntries(
    FIELDS.map(name => [name, form.elements[name].value]).filter(([, value]) => value));
  history.replaceState(null, "", `#${new URLSearchParams(wanted)}`);
  show(asked());
}

// An age grows after the page was made
function tellAges() {
  const told = new Intl.RelativeTimeFormat("en");
  for (const time of document.querySelectorAll("time[datetime]")) {
    const minutes = (Date.now() - Date.parse(time.dateTime)) / 60000;
    const [unit, length] = minutes >= 2880 ? ["day", 1440]
      : minutes >= 120 ? ["hour", 60] : ["minute", 1];
    const age = time.parentElement.querySelector(".age");
    age.textContent = told.format(-Math.floor(minutes / length), unit);
  }
}

form.hidden = false;
form.addEventListener("input", readForm);
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("reset", () => setTimeout(readForm));
addEventListener("hashchange", () => {
  readAddress();
  document.querySelector("#laws").scrollIntoView();  // a link above it was followed
});
readAddress();
tellAges();
