// The main page: shows the console's messages, and sends the requests of its controls.

import { showAnswer } from "/answer.js";
import { Correction } from "/correction.js";
import { byId, fill, make } from "/elements.js";
import { Link } from "/link.js";
import { scoreText, showDiagnostics, showErrors, showHistory, showTruths } from "/lists.js";
import { Stage } from "/stage.js";

const TRACKED_KEPT_MS = 1500;

const state = {
  entries: new Map(), corrections: new Map(), questions: new Map(), pictures: new Map(),
  statuses: {}, selected: null, live: null, tracked: new Map(), node: null, hidden: new Set(), mine: new Set(),
};

const stage = new Stage(byId("stage"), { point: onPoint, box: onBox });
const link = new Link({ message: onMessage, image: onImage, state: onState });

function onState(isConnected) {
  if (!isConnected) {
    byId("node-state").textContent = "not connected";
    say("problem", "The console cannot be reached; this page reconnects automatically.");
  }
}

function onMessage(values) {
  const handlers = {
    hello: onHello, node: onNode, thought: onThought, answer: ({ entry }) => onEntry(entry), dropped: onDropped,
    tracked: onTracked, ended: ({ query_id: id }) => state.tracked.delete(id), truths: onTruths,
  };
  const handler = handlers[values.type];
  if (handler) handler(values);
}

function onHello(values) {
  state.statuses = values.statuses;
  const known = new Set(values.history.map((entry) => entry.number));
  const isSameConsole = values.history.every((entry) => {
    const before = state.entries.get(entry.number);
    return !before || before.query_id === entry.query_id;
  });
  if (!isSameConsole) forget([...state.entries.keys()]);
  forget([...state.entries.keys()].filter((number) => !known.has(number)));
  for (const entry of values.history) keepEntry(entry);
  const mode = byId("mode").value;
  fill(byId("mode"), ...values.modes.map((name) => make("option", { value: name }, name)));
  byId("mode").value = mode || "once";
  fill(byId("method"), ...values.methods.map((name) => make("option", { value: name }, name)));
  fill(byId("examples"), ...values.examples.map((text) => make("button", { type: "button", onclick: () => example(text) }, text)));
  onNode(values.node);
  onTruths(values.truths);
  byId("review").hidden = !values.has_review;
  if (state.selected !== null && !state.entries.has(state.selected)) goLive();
  refresh();
}

function onNode(node) {
  state.node = node;
  byId("node-name").textContent = node.name;
  const camera = node.diagnostics.find((status) => status.name === "camera");
  const rate = camera && camera.values.find(([key]) => key === "rate_hz");
  const text = node.problem ? "not ready" : node.is_paused ? "paused" : rate ? `active, camera ${rate[1]} Hz` : "active";
  byId("node-state").textContent = text;
  byId("method").disabled = Boolean(node.problem || !node.method);
  if (document.activeElement !== byId("method")) byId("method").value = node.method;
  byId("pause").setAttribute("aria-pressed", String(node.is_paused));
  byId("pause").textContent = node.is_paused ? "Resume" : "Pause";
  say("problem", node.problem || (state.live ? "" : node.camera));
  showDiagnostics(byId("diagnostics"), node.diagnostics);
  showErrors(byId("errors"), node.errors);
}

function onThought({ question, thought, done }) {
  fill(byId("thought"), make("div", { className: "question" }, question), thought || (done ? "" : "…"));
}

function onEntry(entry) {
  const before = state.entries.get(entry.number);
  keepEntry(entry);
  const isDone = !entry.is_open && entry.question && (!before || before.is_open || state.mine.has(entry.number));
  const wasWaitedFor = state.mine.has(entry.number) || state.selected === null;
  const stands = entry.mode === "track" || entry.mode === "watch";
  if (isDone && wasWaitedFor && state.selected !== entry.number && !(stands && entry.status === "ok")) select(entry.number);
  if (isDone) state.mine.delete(entry.number);
  refresh();
}

function keepEntry(entry) {
  const before = state.entries.get(entry.number);
  state.entries.set(entry.number, entry);
  const isNew = !before || before.is_open !== entry.is_open || before.has_image !== entry.has_image;
  if (isNew) {
    state.corrections.set(entry.number, new Correction(entry));
    state.pictures.delete(entry.number);
  }
  if (!state.questions.has(entry.number)) state.questions.set(entry.number, entry.question);
}

function onDropped({ number }) {
  forget([number]);
  if (state.selected === number) goLive();
  refresh();
}

function forget(numbers) {
  for (const number of numbers) {
    for (const kept of [state.entries, state.corrections, state.questions, state.pictures]) kept.delete(number);
  }
}

function onTracked(values) {
  state.tracked.set(values.query_id, { regions: values.regions, at: performance.now() });
}

function onTruths(truths) {
  showTruths(byId("truths"), truths, (name) => ask("delete", { name }, "truth-note"));
  byId("score").textContent = scoreText(truths.score);
  byId("folder").textContent = truths.folder;
}

async function onImage(bitmap, stampNs, sizeWh) {
  if (state.selected === null && stage.isBusy) return; // the user is drawing on the current one
  state.live = { bitmap, stampNs, sizeWh };
  if (state.selected === null) await drawLive();
}

async function drawLive() {
  const layers = [];
  for (const [id, { regions, at }] of state.tracked) {
    if (performance.now() - at > TRACKED_KEPT_MS) state.tracked.delete(id);
    else for (const region of regions) layers.push({ mask: region.mask, index: layers.length, isOn: true });
  }
  const { bitmap, sizeWh } = state.live;
  await stage.show(bitmap, sizeWh, layers);
}

async function drawEntry() {
  const { selected } = state;
  const entry = state.entries.get(selected);
  const correction = state.corrections.get(selected);
  if (!entry) return;
  if (!entry.has_image) {
    await stage.show(null, [640, 480], []);
    return;
  }
  if (!state.pictures.has(selected)) state.pictures.set(selected, loadPicture(selected));
  const bitmap = await state.pictures.get(selected);
  if (state.selected !== selected || !bitmap) return;
  const layers = correction.targets.map(({ mask, index, isOn, isShown }) => ({ mask, index, isOn: isOn && isShown }));
  const edited = correction.targets[correction.selected];
  await stage.show(bitmap, entry.size_wh, layers, edited ? [edited] : []);
}

async function loadPicture(number) {
  const response = await fetch(`/answers/${number}/image.jpg`);
  return response.ok ? createImageBitmap(await response.blob()) : null;
}

function refresh() {
  const entry = state.entries.get(state.selected);
  byId("live").setAttribute("aria-pressed", String(state.selected === null));
  byId("shown").textContent = entry ? `answer ${entry.number}` : "live image";
  showHistory(byId("history"), state.entries.values(), state.selected, state.statuses, select);
  if (!entry) return;
  const correction = state.corrections.get(entry.number);
  const question = state.questions.get(entry.number);
  showAnswer(byId("answer"), { entry, correction, statuses: state.statuses, question }, {
    mark: (mark) => ask("mark", { number: entry.number, mark }),
    select: (index) => change(() => correction.select(index)),
    toggle: (index, isOn) => change(() => correction.switchOn(index, isOn)),
    show: (index, isShown) => change(() => { correction.targets[index].isShown = isShown; }),
    undo: () => change(() => correction.undo()),
    question: (text) => state.questions.set(entry.number, text),
    save,
    cancel: () => ask("cancel", { number: entry.number }),
  });
  drawEntry();
}

function change(work) {
  work();
  refresh();
}

function select(number) {
  state.selected = number;
  refresh();
}

function goLive() {
  state.selected = null;
  refresh();
  if (state.live) drawLive();
}

async function onPoint(xy, isInside) {
  await edit((correction) => correction.point(xy, isInside));
}

async function onBox(box) {
  await edit((correction) => correction.box(box));
}

/** Change a correction and request its new mask. In live view the current image is held first. */
async function edit(work) {
  let number = state.selected;
  if (number === null) {
    const held = state.live && (await ask("hold", { stamp_ns: state.live.stampNs }));
    if (!held) return;
    number = held.number;
    select(number);
  }
  const correction = state.corrections.get(number);
  if (!correction || !state.entries.get(number).has_image) {
    hint("This answer has no image to draw on; go back to the live image.");
    return;
  }
  const index = work(correction);
  refresh();
  hint("segmenting …");
  const made = await ask("prompt", correction.prompt(index));
  if (made) {
    correction.take(index, made);
    hint("");
  }
  refresh();
}

async function save() {
  const entry = state.entries.get(state.selected);
  if (!entry) return;
  const isEmpty = entry.mark === "nothing";
  const pieces = isEmpty ? [] : state.corrections.get(entry.number).pieces;
  const saved = await ask("save", { number: entry.number, question: state.questions.get(entry.number), pieces });
  if (saved) hint(`saved as ${saved.name}`);
}

/** The result of a request. If it is refused, shows the reason and returns null. */
async function ask(name, values = {}, note = "hint") {
  try {
    const result = await link.request(name, values);
    if (result.text) say(note, result.text);
    return result;
  } catch (error) {
    say(note, error.message);
    return null;
  }
}

function hint(text) {
  say("hint", text);
}

function say(id, text) {
  byId(id).textContent = text;
  if (id === "problem") byId(id).hidden = !text;
}

function example(text) {
  byId("question").value = text;
  byId("question").focus();
}

async function onAsk(event) {
  event.preventDefault();
  const text = byId("question").value;
  const asked = await ask("ask", { text, mode: byId("mode").value });
  if (!asked) return;
  hint("");
  state.mine.add(asked.number);
  const entry = state.entries.get(asked.number);
  if (entry && !entry.is_open) onEntry(entry);
}

byId("ask").addEventListener("submit", onAsk);
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) onAsk(event);
});
byId("method").addEventListener("change", async () => {
  hint("the node loads its models for this method …");
  const name = byId("method").value;
  byId("method").blur();
  await ask("method", { name });
});
byId("clear").addEventListener("click", () => ask("clear"));
byId("pause").addEventListener("click", pause);
byId("live").addEventListener("click", goLive);
byId("undo").addEventListener("click", () => ask("undo", {}, "truth-note"));
byId("masks").addEventListener("change", () => { stage.isMasked = byId("masks").checked; stage.draw(); });
byId("opacity").addEventListener("input", () => { stage.opacity = byId("opacity").value / 100; stage.draw(); });
window.addEventListener("resize", () => stage.draw());

function pause() {
  ask("pause", { on: !(state.node && state.node.is_paused) });
}

function step(by) {
  const numbers = [...state.entries.keys()];
  const at = state.selected === null ? numbers.length : numbers.indexOf(state.selected);
  const next = numbers[at + by];
  if (next !== undefined) select(next);
  else if (by > 0) goLive();
}

function mark(name) {
  if (state.selected !== null) ask("mark", { number: state.selected, mark: name });
}

const KEYS = {
  "/": () => byId("question").focus(), l: goLive, p: pause, r: () => mark("right"), w: () => mark("wrong"),
  n: () => mark("nothing"), s: save, "[": () => step(-1), "]": () => step(1), m: () => byId("masks").click(),
  u: () => { const correction = state.corrections.get(state.selected); if (correction) change(() => correction.undo()); },
};

document.addEventListener("keydown", (event) => {
  const isTyping = ["INPUT", "TEXTAREA", "SELECT"].includes(event.target.tagName) && event.target.type !== "checkbox";
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const work = KEYS[event.key];
  if (!work) return;
  event.preventDefault();
  work();
});
