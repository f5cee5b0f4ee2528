// The page for accepting or rejecting questions.

import { byId, fill, make } from "/elements.js";
import { Link } from "/link.js";

const STATES = ["open", "accepted", "rejected"];
const DECISIONS = { accepted: true, rejected: false, open: null };
const NAMES = { accepted: "Accept", rejected: "Reject", open: "Open again" };
const KEYS = { a: "accepted", r: "rejected", o: "open" };
const shown = { state: "open", first: 0 };
let pageSize = 0;

/** A link that ignores live images. It never requests the next one, so only the first is sent. */
class ImagelessLink extends Link {
  draw() {}
}

const link = new ImagelessLink({
  message: ({ type }) => type === "hello" && load(),
  image() {},
  state(isConnected) { byId("link").textContent = isConnected ? "connected" : "not connected"; },
});

async function load() {
  try {
    const page = await link.request("review", shown);
    shown.first = page.first;
    show(page);
    complain("");
  } catch (error) {
    complain(error.message);
  }
}

async function decide(id, state) {
  if (state === shown.state) return;
  try {
    await link.request("decide", { id, accepted: DECISIONS[state] });
  } catch (error) {
    complain(error.message);
    return;
  }
  await load();
}

function complain(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

function show({ folder, counts, first, size, questions }) {
  pageSize = size;
  byId("folder").textContent = folder;
  const total = counts[shown.state];
  byId("place").textContent = total ? `${first + 1} to ${first + questions.length} of ${total}` : "none";
  byId("back").disabled = first === 0;
  byId("next").disabled = first + questions.length >= total;
  fill(byId("state"), ...STATES.map((state) => make("option", { value: state, selected: state === shown.state }, `${state} (${counts[state]})`)));
  const focused = [...byId("questions").children].findIndex((one) => one.contains(document.activeElement));
  byId("questions").replaceChildren(...questions.map(card));
  const cards = byId("questions").children;
  if (focused >= 0 && cards.length) cards[Math.min(focused, cards.length - 1)].focus();
}

function card(one) {
  const item = make("li", { className: "card chip question", tabIndex: 0, "data-id": one.id },
    make("img", { src: `/review/${encodeURIComponent(one.id)}.jpg`, alt: `targets: ${one.targets.join(", ")}`, loading: "lazy" }),
    make("strong", {}, one.question),
    make("span", {}, one.answer),
    make("small", { className: "dim" }, `${one.targets.join(", ")} · ${one.kind} · ${one.split} · ${one.source}`),
    make("div", { className: "tools" }, ...STATES.filter((state) => state !== shown.state).map((state) => make("button", {
      type: "button", "data-decision": state, onclick: () => decide(one.id, state),
    }, NAMES[state]))),
  );
  item.addEventListener("keydown", (event) => {
    const state = KEYS[event.key.toLowerCase()];
    if (state && !event.ctrlKey && !event.metaKey && !event.altKey) decide(one.id, state);
  });
  return item;
}

function move(count) {
  shown.first = Math.max(0, shown.first + count);
  load();
}

byId("back").addEventListener("click", () => move(-pageSize));
byId("next").addEventListener("click", () => move(pageSize));
byId("state").addEventListener("change", () => {
  shown.state = byId("state").value;
  shown.first = 0;
  load();
});
