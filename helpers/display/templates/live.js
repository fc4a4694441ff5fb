// Shows what the server sends; asks nothing else of it, and sends nothing.
"use strict";
const main = document.querySelector("main");
const state = document.getElementById("state");
const problem = document.getElementById("problem");
const SILENCE_MS = 90000, RETRY_MS = 3000, HIDDEN_MS = 60000;
let source = null, silence = 0, sleep = 0, heard = new Date();

const clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function warn(text) {
  problem.textContent = text ? `▲ ${text}` : "";
  problem.hidden = !text;
  main.classList.toggle("stale", Boolean(text));
  if (text) state.textContent = "";
}

// What folds is the same thing although its numbers change.
const title = (fold) => fold.querySelector("summary").textContent.replace(/[\d,]+/g, "#");

function keepFolds(old, fresh) {
  const was = new Map([...old.querySelectorAll("details")].map((fold) => [title(fold), fold.open]));
  for (const fold of fresh.querySelectorAll("details")) fold.open = was.get(title(fold)) ?? fold.open;
}

// Makes one element like another, so that what stays the same keeps its focus and its selection.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const [was, is] = [[...old.childNodes], [...fresh.childNodes]];
  is.forEach((child, i) => (was[i] ? morph(was[i], child) : old.append(child)));
  was.slice(is.length).forEach((child) => child.remove());
}

function show(view) {
  if (view.version !== main.dataset.version) return location.reload();
  for (const [name, html] of Object.entries(view.parts ?? {})) {
    const old = document.getElementById(name), fresh = old.cloneNode(false);
    fresh.innerHTML = html;
    keepFolds(old, fresh);
    morph(old, fresh);
  }
  heard = new Date();
  state.textContent = view.is_notified ? "● follows the metastore" : "● looks every 10 s";
  warn(view.problem && `What is shown may be out of date. ${view.problem} Trying again.`);
}

async function whyClosed() {
  try {
    const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
      return warn(`Your login to Jupyter has ended: load this page again. It was last current at ${clock(heard)}.`);
    }
  } catch { /* the server does not answer */ }
  follow();
}

function follow() {
  source?.close();
  source = new EventSource(main.dataset.events);
  source.onmessage = (event) => {
    clearTimeout(silence);
    silence = setTimeout(() => warn(`Nothing has been heard since ${clock(heard)}.`), SILENCE_MS);
    show(JSON.parse(event.data));
  };
  source.onerror = () => {
    warn(`The connection to Jupyter was lost at ${clock(heard)}. Trying again.`);
    if (source.readyState === EventSource.CLOSED) setTimeout(whyClosed, RETRY_MS);
  };
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button.copy");
  if (!button) return;
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // only https and localhost have a clipboard
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "copied";
  setTimeout(() => (button.textContent = "copy"), 1500);
});

// A page that nobody sees needs no connection to the database.
document.addEventListener("visibilitychange", () => {
  clearTimeout(sleep);
  if (document.hidden) sleep = setTimeout(() => { source?.close(); source = null; clearTimeout(silence); }, HIDDEN_MS);
  else if (!source) follow();
});
follow();
