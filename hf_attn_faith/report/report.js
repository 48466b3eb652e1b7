// The text explorer: what is carried in #data, filtered and drawn. Everything of the data goes in by textContent.
"use strict";
const LN2 = Math.LN2, PRINTED = 10;
const theme = document.getElementById("theme");
theme.hidden = false;
const dark = () => (document.documentElement.dataset.theme ||
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; nameTheme(); });
nameTheme();

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const kinds = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
  let at = start;
  for (const [name, kind, size] of data.columns) {
    const bytes = size * kinds[kind].BYTES_PER_ELEMENT;
    data[name] = new kinds[kind](buffer.slice(at, at + bytes));
    at += bytes;
  }
  return data;
}

function start(data) {
  const models = data.models.length;
  // Where the tokens of each carried text begin, if each were there once.
  const begins = [0];
  for (const text of data.index) begins.push(begins.at(-1) + data.length[text]);
  const values = {
    length: (text) => data.length[text],
    attention: (text) => data.attention[text] / 255,
    jsd: (text) => (data.jsd[text] / 255) * LN2,
    tvd: (text) => data.tvd[text] / 255,
  };
  const ranges = {
    length: "tokens", attention: "maximum attention of the base",
    jsd: `JSD to the base (nats), mean of ${data.distances_of}`, tvd: `TVD to the base, mean of ${data.distances_of}`,
  };
  const orders = {
    drawn: "as drawn", "jsd-": "largest JSD first (extremes)", "tvd-": "largest TVD first (extremes)",
    "attention-": "largest attention first (extremes)", "length-": "longest first (extremes)",
  };
  const state = { text: "", label: "", predicted: "", outcome: "", order: "drawn", scale: "shared", models: "one", view: "words" };
  for (const name of Object.keys(ranges)) state[`${name}_min`] = state[`${name}_max`] = "";
  const defaults = { ...state };
  const controls = {};
  const filters = make("form", { className: "filters" });
  filters.addEventListener("submit", (event) => event.preventDefault());

  function select(name, label, options) {
    controls[name] = make("select", { name }, ...Object.entries(options).map(([value, text]) => make("option", { value }, text)));
    filters.append(make("label", {}, label, controls[name]));
  }
  // No option may be a number: these would come first.
  const labels = Object.fromEntries([["", "any"], ...data.labels.map((label, number) => [`n${number}`, label])]);
  select("label", "true label", labels);
  select("predicted", "predicted by the base", labels);
  select("outcome", "the base is", { "": "right or wrong", right: "right", wrong: "wrong" });
  select("order", "order", orders);
  select("scale", "colours", { shared: "one scale for all models", own: "each model its own scale" });
  const groups = Map.groupBy(data.models.slice(1), (model) => model.group);
  const named = { one: "one of each group", all: `all ${models}` };
  for (const [group, members] of groups) {
    named[group] = `base and ${group} (${members.length})`;
    for (const { name } of members) named[name] = `base and ${name}`;
  }
  select("models", "models", named);
  if (data.continues) select("view", "words", { words: "whole (pieces added)", pieces: "in the model's pieces" });
  for (const [name, label] of Object.entries(ranges)) {
    const bounds = ["min", "max"].map((bound) => controls[`${name}_${bound}`] = make("input", {
      type: "number", step: "any", min: 0, name: `${name}_${bound}`, "aria-label": `${label}, ${bound === "min" ? "from" : "to"}`,
    }));
    filters.append(make("fieldset", {}, make("legend", {}, label), make("div", {}, bounds[0], "to", bounds[1])));
  }
  const previous = make("button", { type: "button" }, "Previous text");
  const next = make("button", { type: "button" }, "Next text");
  const reset = make("button", { type: "button" }, "No filter");
  const status = make("span", { role: "status" });
  const told = make("p", { className: "soft", role: "status" });
  const shown = make("div");
  const help = make("p", { className: "soft key" }, "Arrow keys within a text go along it and say each weight in every model.");
  document.getElementById("explorer").append(filters, make("div", { className: "steps" }, previous, next, reset, status), help, told, shown);
  document.getElementById("explorer").hidden = false;

  function matches(text) {
    if (state.label && data.label[text] !== Number(state.label.slice(1))) return false;
    if (state.predicted && data.predicted[text] !== Number(state.predicted.slice(1))) return false;
    if (state.outcome && (data.label[text] === data.predicted[text]) !== (state.outcome === "right")) return false;
    return Object.keys(ranges).every((name) => {
      const [low, high] = [state[`${name}_min`], state[`${name}_max`]];
      return (low === "" || values[name](text) >= Number(low)) && (high === "" || values[name](text) <= Number(high));
    });
  }
  function found() {
    const order = [...data.index.keys()].filter((n) => matches(data.index[n]));
    if (state.order !== "drawn") {
      const value = values[state.order.slice(0, -1)];
      order.sort((a, b) => value(data.index[b]) - value(data.index[a]));
    }
    return order;
  }
  function chosen() {
    const wanted = state.models === "all" ? data.models : state.models === "one" ? [...groups.values()].map(([first]) => first)
      : data.models.filter(({ name, group }) => state.models === name || state.models === group);
    return [...data.models.keys()].filter((m) => m === 0 || wanted.includes(data.models[m]));
  }
  function weights(n, m) {
    const from = begins[n] * models + m * data.length[data.index[n]];
    return units(n).map(({ at, size }) => data.weight.subarray(from + at, from + at + size).reduce((sum, byte) => sum + (byte / 255) ** 2, 0));
  }
  const number = (value) => value.toFixed(2);
  const top = (w) => w.reduce((a, b) => Math.max(a, b), 0);
  const whole = () => data.continues && state.view === "words";
  // What is shown as one, a token or the pieces of a word: its first token, and how many they are.
  function units(n) {
    const found = [];
    for (let at = 0; at < data.length[data.index[n]]; at++) {
      if (whole() && data.continues[begins[n] + at]) found.at(-1).size++;
      else found.push({ at, size: 1 });
    }
    return found;
  }
  function said(n, { at, size }) {
    if (data.words) return data.words[(whole() ? data.word : data.token)[begins[n] + at]];
    return size > 1 ? `${at + 1}–${at + size}` : String(at + 1);
  }

  function row(n, m, w, largest) {
    const model = data.models[m], at = n * models + m, text = data.index[n];
    const right = data.answer[at] === data.label[text];
    const who = make("div", { className: "who" }, make("strong", {}, model.name));
    who.append(make("bdi", {}, data.labels[data.answer[at]]), ` ${number(data.probability[at] / 65535)} ${right ? "✓ right" : "✗ wrong"}`);
    if (model.role !== "base") {
      who.append(make("br"), `JSD ${number((data.text_jsd[at] / 65535) * LN2)}, TVD ${number(data.text_tvd[at] / 65535)}`);
    }
    // A scale of its own makes even uniform weights dark.
    who.append(make("br"), `largest weight: ${number(top(w))}`);
    if (model.role === "adversary") {
      who.append(make("span", { className: "warning" }, model.failed
        ? "⚠ an adversary that failed to train: no evidence" : "⚠ an adversary: trained to attend elsewhere"));
    }
    const tokens = make("ol", { className: "tokens", dir: data.words ? "auto" : "ltr", "aria-label": `Tokens and weights, ${model.name}` });
    units(n).forEach((unit, position) => {
      const weight = w[position], word = make("span", { className: "word" }, said(n, unit));
      word.style.setProperty("--s", largest ? weight / largest : 0);
      tokens.append(make("li", {}, word, make("span", { className: "weight" }, number(weight))));
    });
    return make("div", { className: `model ${model.role}` }, who, tokens);
  }

  function card(n) {
    const text = data.index[n], all = chosen().map((m) => [m, weights(n, m)]);
    const shared = Math.max(...all.map(([, w]) => top(w)));
    const head = make("h3", {}, `Row ${data.rows[n]} of the test split: true label `, make("bdi", {}, data.labels[data.label[text]]), `, ${data.length[text]} tokens`);
    return make("div", { className: "text" }, head, ...all.map(([m, w]) => row(n, m, w, state.scale === "shared" ? shared : top(w))));
  }

  // One tab stop a text; the arrow keys go on from there, the same token is marked in every row.
  function walk(card) {
    const rows = [...card.querySelectorAll(".tokens")], first = rows[0].children;
    if (!first.length) return;
    first[0].tabIndex = 0;
    rows[0].addEventListener("keydown", (event) => {
      const back = getComputedStyle(rows[0]).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
      const step = { ArrowLeft: 1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = [...first].indexOf(document.activeElement) + (event.key === back ? -1 : step);
      const to = Math.min(Math.max(at, 0), first.length - 1);
      first[to].tabIndex = 0;
      first[to].focus();
    });
    rows[0].addEventListener("focusin", (event) => {
      const at = [...first].indexOf(event.target);
      for (const item of card.querySelectorAll(".same")) item.classList.remove("same");
      rows.forEach((row) => row.children[at].classList.add("same"));
      [...first].forEach((item, number) => { if (number !== at) item.removeAttribute("tabindex"); else item.tabIndex = 0; });
      [...first].forEach((item) => { if (!item.hasAttribute("tabindex")) item.tabIndex = -1; });
      const names = [...card.querySelectorAll(".who strong")].map((name) => name.textContent);
      told.textContent = `${whole() ? "Word" : "Token"} ${at + 1}: ` + rows.map((row, m) => `${names[m]} ${row.children[at].lastChild.textContent}`).join("; ");
    });
  }

  function show() {
    const order = found(), all = data.label.length;
    let at = order.findIndex((n) => String(data.rows[n]) === state.text);
    if (at < 0) at = 0;
    state.text = order.length ? String(data.rows[order[at]]) : "";
    const matching = data.label.reduce((sum, _, text) => sum + matches(text), 0);
    status.textContent = order.length
      ? `${at + 1} of ${order.length.toLocaleString("en")} carried texts that match (${matching.toLocaleString("en")} of all ${all.toLocaleString("en")} match).`
      : `No carried text matches (${matching.toLocaleString("en")} of all ${all.toLocaleString("en")} match).`;
    if (state.order !== "drawn") status.textContent += " Extremes, not typical texts.";
    previous.disabled = at === 0;
    next.disabled = at >= order.length - 1;
    told.textContent = "";
    shown.replaceChildren(...order.slice(at, at + 1).map(card));
    if (order.length) walk(shown.firstChild);
    previous.onclick = () => go(order[at - 1]);
    next.onclick = () => go(order[at + 1]);
    for (const [name, control] of Object.entries(controls)) control.value = state[name];
  }
  function keep() {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) if (value !== defaults[name]) parameters.set(name, value);
    history.replaceState(null, "", `#${parameters}`);
  }
  function go(n) {
    state.text = String(data.rows[n]);
    show();
    keep();
  }
  function read() {
    if (!location.hash.includes("=")) return false;
    Object.assign(state, defaults);
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      const known = controls[name] instanceof HTMLSelectElement ? [...controls[name].options].some((option) => option.value === value) : name in state;
      if (known) state[name] = value;
    }
    return true;
  }
  filters.addEventListener("change", (event) => {
    if (event.target.name === "order") state.text = "";  // what comes first, not where one was
    for (const [name, control] of Object.entries(controls)) state[name] = control.value;
    show();
    keep();
  });
  reset.addEventListener("click", () => { Object.assign(state, defaults); show(); keep(); });
  addEventListener("hashchange", () => { if (read()) show(); });
  addEventListener("beforeprint", () => {
    const order = found(), appendix = document.getElementById("appendix");
    appendix.replaceChildren(
      make("h3", {}, `Appendix: the first ${Math.min(PRINTED, order.length)} of ${order.length} carried texts that match`),
      ...order.slice(0, PRINTED).map(card),
    );
  });
  addEventListener("afterprint", () => document.getElementById("appendix").replaceChildren());
  // A mark of a figure shows its models here.
  for (const mark of document.querySelectorAll("[data-models]")) {
    const choose = () => {
      state.models = mark.dataset.models;
      show();
      keep();
      controls.models.focus();
    };
    mark.setAttribute("tabindex", 0);
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", `${mark.dataset.models} in single texts`);
    mark.closest("svg").setAttribute("role", "group");
    mark.addEventListener("click", choose);
    mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
  }
  for (const figure of document.querySelectorAll("figure:has([data-models])")) {
    figure.append(make("p", { className: "soft key" }, "A mark of a seed or of adversaries shows them in the single texts below."));
  }
  const linked = read();
  show();
  if (linked) document.getElementById("texts").scrollIntoView();
}

const source = document.getElementById("data");
if (source) unpack(JSON.parse(source.textContent)).then(start);
